//! Carries out `sms_fallback` of `wa.action.v1`, each once: the example of a consumer of actions.
//!
//! What has to hold, whatever dies when, and how it does:
//! - **Nothing is lost**: offsets are committed after the gateway answered, and a gateway that does
//!   not answer is asked again.
//! - **Nothing is sent twice**: what was not committed is read again, so every call carries the
//!   `action_id` as its idempotency key, which the gateway remembers.
//! - **Nothing is sent too late**: not after `not_after`, and not once a `fallback_superseded` took
//!   it back. Those are looked for in everything that has gathered before anything is sent.
//! - **Nothing uncommitted is read**: `isolation.level=read_committed`.
//!
//! Each action that was dealt with is one line of JSON on standard output.

mod action;
mod gateway;
mod kafka;
mod lines;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Parser};
use serde_json::json;

use action::{Action, Decision};
use gateway::{Answer, Gateway};

/// Sends the SMS that tickfold asks for: sms_fallback of wa.action.v1, each once.
#[derive(Debug, Parser)]
#[command(version, group(ArgGroup::new("source").required(true).args(["kafka", "stdin"])))]
struct Args {
    /// Brokers, HOST:PORT, several with commas.
    #[arg(long, value_name = "BROKERS")]
    kafka: Option<String>,
    /// Reads what `tickfold tail wa.action.v1 -o jsonl` prints, where there is no Kafka.
    #[arg(long)]
    stdin: bool,
    /// Topic of actions.
    #[arg(long, default_value = "wa.action.v1")]
    topic: String,
    /// Consumer group, whose offsets say what was carried out.
    #[arg(long, default_value = "fallback-worker")]
    group: String,
    /// A name of this instance that stays: after a crash it has its partitions back at once.
    #[arg(long)]
    instance: Option<String>,
    /// HOST:PORT of the SMS gateway.
    #[arg(long, value_name = "HOST:PORT")]
    gateway: String,
}

/// What has gathered, and where it is read.
trait Source {
    /// Waits a little for actions and takes what there is; `None` at the end of all.
    fn gather(&mut self) -> Result<Option<Vec<Action>>>;

    /// Everything gathered so far was carried out.
    fn done(&mut self) -> Result<()>;
}

/// The most that is looked at together.
const GATHERED_MAX: usize = 500;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&json!({"error": format!("{error:#}")}));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let stop = Arc::new(AtomicBool::new(false));
    runtime.spawn(told_to_stop(Arc::clone(&stop)));
    let mut source: Box<dyn Source> = match &args.kafka {
        Some(brokers) => {
            let instance = args.instance.as_deref();
            Box::new(kafka::Topic::subscribe(brokers, &args.group, instance, &args.topic)?)
        }
        None => Box::new(lines::Lines::of_stdin()),
    };
    let gateway = Gateway::new(&args.gateway);
    while !stop.load(Ordering::Relaxed) {
        let Some(actions) = source.gather()? else { break };
        let superseded: HashSet<&str> =
            actions.iter().filter_map(|action| action.supersedes.as_deref()).collect();
        for action in &actions {
            let Some(done) = carry_out(action, &superseded, &gateway, &runtime, &stop) else {
                // Told to stop while the gateway is away: what is not committed is read again.
                return Ok(());
            };
            say(&json!({"action_id": action.action_id, "kind": action.kind, "done": done}));
        }
        source.done()?;
    }
    Ok(())
}

/// What became of an action; `None` if it was told to stop before that.
fn carry_out(
    action: &Action,
    superseded: &HashSet<&str>,
    gateway: &Gateway,
    runtime: &tokio::runtime::Runtime,
    stop: &AtomicBool,
) -> Option<&'static str> {
    let mut pause = Duration::from_millis(100);
    loop {
        // Judged anew before each attempt: time passes while a gateway is away.
        let (to, not_after) = match action.decide(superseded, jiff::Timestamp::now()) {
            Decision::Send { to, not_after } => (to, not_after),
            Decision::Leave(why) => return Some(why),
        };
        match runtime.block_on(gateway.send(
            &action.action_id,
            to,
            action.callback_data.as_deref(),
            not_after,
        )) {
            Ok(Answer::Taken) => return Some("sent"),
            Ok(Answer::Refused) => return Some("refused"),
            Ok(Answer::Again) => {}
            Err(error) => {
                say(&json!({"action_id": action.action_id, "error": format!("{error:#}")}))
            }
        }
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

async fn told_to_stop(stop: Arc<AtomicBool>) {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        () = terminated => (),
    }
    stop.store(true, Ordering::Relaxed);
}

#[expect(clippy::print_stdout, reason = "its output")]
fn say(line: &serde_json::Value) {
    println!("{line}");
}
