//! The tickfold binary: command line, configuration, composition.

mod admin;
mod apps;
mod at_rest;
mod checkpoint;
mod cli;
mod client;
mod config;
mod console;
mod data_dir;
mod dead_letters;
mod demo;
mod doctor;
mod fail_points;
mod history;
mod ingress_admin;
mod load;
mod log;
mod metrics;
mod node;
mod options;
mod owners;
mod panics;
mod raw_topic;
mod recover;
mod reload;
mod rules;
mod secrets;
mod sign;
mod state_admin;
mod telemetry;
mod tokens;
mod topics;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use cli::{Cli, Command, Settings};
use client::print;
use config::Layers;
use node::Role;

/// Batches of small pieces, made on one thread and given back on another: jemalloc takes a quarter less
/// CPU for them than the allocator of the system. RocksDB and librdkafka use it too.
#[global_allocator]
static ALLOCATOR: jemallocator::Jemalloc = jemallocator::Jemalloc;

fn main() -> ExitCode {
    panics::abort_on_panic();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(settings) => run_node(Role::Up, &settings)?,
        Command::Ingress(settings) => run_node(Role::Ingress, &settings)?,
        Command::Processor(settings) => run_node(Role::Processor, &settings)?,
        Command::Stop(stop) => return runtime()?.block_on(client::stop(stop)),
        Command::Config { defaults: true, .. } => print(config::DEFAULTS),
        Command::Config { settings, defaults: false } => {
            let layers = layers(&settings)?;
            layers.read()?;
            print(&layers.print());
        }
        Command::Token { what } => return tokens::run(what),
        Command::Sign { header } => print(&sign::run(header)?),
        Command::Doctor(command) => {
            let layers = layers(&command.settings)?;
            return runtime()?.block_on(doctor::run(&layers, &command));
        }
        Command::Demo(demo) => return runtime()?.block_on(demo::run(demo)),
        Command::Load(load) => return runtime()?.block_on(load::run(*load)),
        Command::Get { what } => return runtime()?.block_on(client::get(what)),
        Command::Explain(explain) => return runtime()?.block_on(client::explain(explain)),
        Command::Find { what } => return runtime()?.block_on(client::find(what)),
        Command::List { what } => return runtime()?.block_on(client::list(what)),
        Command::Watch { what } => return runtime()?.block_on(client::watch(what)),
        Command::Tail(tail) => return runtime()?.block_on(client::tail(tail)),
        Command::Reload { client } => return runtime()?.block_on(client::reload(client)),
        Command::Dlq { what } => return runtime()?.block_on(client::dlq(what)),
        Command::Quarantine { what } => return runtime()?.block_on(client::quarantine(what)),
        Command::Topics(command) if command.check || command.create => {
            let (config, kafka) = (command.config.clone(), command.kafka.clone());
            let layers = layers(&Settings { config, kafka, ..Settings::default() })?;
            return runtime()?.block_on(topics::run(&layers, &command));
        }
        Command::Topics(command) => return runtime()?.block_on(client::topics(command.client)),
        Command::Checkpoint { what } => return runtime()?.block_on(checkpoint::run(what)),
        Command::Trim(trim) => return runtime()?.block_on(client::plan_trim(trim)),
        Command::Verify(command) => return runtime()?.block_on(verify::run(&command)),
        Command::Recover(command) => return runtime()?.block_on(recover::run(&command)),
        Command::Replay(replay) => return runtime()?.block_on(client::replay(*replay)),
        Command::Rules { what } => return runtime()?.block_on(client::rules(what)),
    }
    Ok(ExitCode::SUCCESS)
}

fn run_node(role: Role, settings: &Settings) -> Result<()> {
    let (runtime, layers) = (runtime()?, layers(settings)?);
    let ended = runtime.block_on(node::run(role, &layers));
    // A disk that hangs would be waited for without limit, and with it the supervisor's next start.
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    ended
}

/// Defaults, file, environment, flags.
fn layers(settings: &Settings) -> Result<Layers> {
    let mut layers = Layers::defaults()?;
    if let Some(path) = &settings.config {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read configuration file {name}"))?;
        layers.file(&name, &text)?;
    }
    layers.environment(environment)?;
    let flags = [
        ("kafka.brokers", "--kafka", settings.kafka.clone()),
        ("data_dir", "--data-dir", settings.data_dir.clone()),
        ("http_addr", "--http-addr", settings.http_addr.map(|address| address.to_string())),
        ("grpc_addr", "--grpc-addr", settings.grpc_addr.map(|address| address.to_string())),
        (
            "ingress.behind_proxy",
            "--behind-proxy",
            settings.behind_proxy.then(|| "true".to_owned()),
        ),
        ("admin_addr", "--admin-addr", settings.admin_addr.map(|address| address.to_string())),
    ];
    for (key, flag, value) in flags {
        if let Some(value) = value {
            layers.set(key, &value, flag)?;
        }
    }
    Ok(layers)
}

/// A variable of the process's environment.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How long the end of a node waits for work that blocks, when everything is stopped in order.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads for work that waits for the disk; further work waits for one of them.
const BLOCKING_THREADS_MAX: usize = 512;

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("start the async runtime")
}

/// The last line of a command that failed.
fn report(error: &anyhow::Error) {
    // There is nowhere to say that it could not be said.
    let _ = writeln!(std::io::stderr(), "tickfold: {error:#}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, RwLock};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::{BLOCKING_THREADS_MAX, runtime};

    #[test]
    fn work_that_blocks_beyond_the_most_threads_waits_for_one() {
        const BEYOND: usize = 5;
        let (held, running) = (Arc::new(RwLock::new(())), Arc::new(AtomicUsize::new(0)));
        let runtime = runtime().unwrap();
        let guard = held.write().unwrap();
        let work: Vec<_> = (0..BLOCKING_THREADS_MAX + BEYOND)
            .map(|_| {
                let (held, running) = (Arc::clone(&held), Arc::clone(&running));
                runtime.spawn_blocking(move || {
                    running.fetch_add(1, Ordering::SeqCst);
                    drop(held.read().unwrap());
                })
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while running.load(Ordering::SeqCst) < BLOCKING_THREADS_MAX {
            assert!(Instant::now() < deadline, "{running:?} run");
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(300));
        assert_eq!(running.load(Ordering::SeqCst), BLOCKING_THREADS_MAX);
        drop(guard);
        for one in work {
            runtime.block_on(one).unwrap();
        }
        assert_eq!(running.load(Ordering::SeqCst), BLOCKING_THREADS_MAX + BEYOND);
    }
}
