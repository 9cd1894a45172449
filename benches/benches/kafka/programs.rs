//! The programs: how each is started, named and stopped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::raw::Raw;
use crate::{Outcome, PARTITIONS};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Tickfold,
    /// Kafka Streams, with the state that its outputs need and nothing else.
    StreamsLean,
    /// Kafka Streams, with all the state that tickfold keeps.
    StreamsSame,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Tickfold, Self::StreamsLean, Self::StreamsSame];
    /// Those that are run beside ours.
    pub(crate) const PEERS: [Self; 2] = [Self::StreamsLean, Self::StreamsSame];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tickfold => "tickfold",
            Self::StreamsLean => "kafka-streams-lean",
            Self::StreamsSame => "kafka-streams-same",
        }
    }

    /// What [`Self::StreamsLean`] and [`Self::StreamsSame`] are told of their state.
    fn mode(self) -> Option<&'static str> {
        match self {
            Self::Tickfold => None,
            Self::StreamsLean => Some("lean"),
            Self::StreamsSame => Some("same"),
        }
    }

    /// Prefix of the derived topics. tickfold's stand beside its raw topic.
    pub(crate) fn prefix(self, raw: &Raw) -> String {
        match self.mode() {
            None => raw.prefix.clone(),
            Some(mode) => format!("{}-{mode}", raw.prefix),
        }
    }

    /// The group whose positions tell how far it is.
    pub(crate) fn group(self, prefix: &str) -> String {
        match self {
            Self::Tickfold => format!("{prefix}.tickfold"),
            Self::StreamsLean | Self::StreamsSame => format!("{prefix}.streams"),
        }
    }
}

/// Fails with what is missing.
pub(crate) fn check(programs: &[Program]) -> Outcome<()> {
    for program in programs {
        let needed = match program {
            Program::Tickfold => binary(),
            Program::StreamsLean | Program::StreamsSame => classes(),
        };
        if !needed.exists() {
            return Err(format!("no {}: run `make bench`", needed.display()).into());
        }
    }
    Ok(())
}

/// Creates the topics of a prefix, with the settings that a node wants.
pub(crate) fn create_topics(brokers: &str, prefix: &str) -> Outcome<()> {
    let mut command = Command::new(binary());
    command.args(["topics", "--create", "--kafka", brokers, "--timeout", "60"]);
    settings(&mut command, prefix);
    let ended = command.output()?;
    if ended.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("create topics: {}{}", text(&ended.stdout), text(&ended.stderr)).into())
}

/// A program that runs; it ends with this value.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(
        program: Program,
        brokers: &str,
        raw: &Raw,
        prefix: &str,
        state: &Path,
    ) -> Outcome<Self> {
        std::fs::create_dir_all(state)?;
        let mut command = match program.mode() {
            None => tickfold(brokers, prefix, state),
            Some(mode) => {
                create_topics(brokers, prefix)?;
                kafka_streams(brokers, raw, prefix, state, mode)
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the program ended: {status}").into()),
        }
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or("no process")?;
        kill_process(pid, Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed measurement leaves it running; one that was stopped is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node without ingress where the binary has that role, else a whole one.
fn tickfold(brokers: &str, prefix: &str, state: &Path) -> Command {
    let asked = Command::new(binary()).args(["processor", "--help"]).output();
    let role = asked.is_ok_and(|asked| asked.status.success());
    let mut command = Command::new(binary());
    command.arg(if role { "processor" } else { "up" }).args(["--kafka", brokers]);
    command.arg("--data-dir").arg(state);
    for address in ["HTTP", "GRPC", "ADMIN"] {
        command.env(format!("TICKFOLD_{address}_ADDR"), "127.0.0.1:0");
    }
    command.env("TICKFOLD_APP_SECRET", "bench-secret").env("TICKFOLD_VERIFY_TOKEN", "bench-token");
    command.env("TICKFOLD_TELEMETRY_LOG", "warn");
    settings(&mut command, prefix);
    command
}

fn settings(command: &mut Command, prefix: &str) {
    command.env("TICKFOLD_TOPIC_PREFIX", prefix);
    command.env("TICKFOLD_GROUP", Program::Tickfold.group(prefix));
    command.env("TICKFOLD_PARTITIONS", PARTITIONS.to_string());
    // The broker is alone.
    command.env("TICKFOLD_KAFKA_REPLICATION_FACTOR", "1");
    command.env("TICKFOLD_KAFKA_MIN_INSYNC_REPLICAS", "1");
}

fn kafka_streams(brokers: &str, raw: &Raw, prefix: &str, state: &Path, mode: &str) -> Command {
    let classes = classes();
    let jars = classes.with_file_name("lib");
    let mut command = Command::new("java");
    command.args(["-Xmx2g", "-XX:+UseParallelGC"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    command.arg(format!("-Dpeer.state={mode}"));
    command.arg(format!("-Dpeer.counts={}", counts(state).display()));
    let tuned = std::env::var("TICKFOLD_BENCH_STREAMS_JVM").unwrap_or_default();
    command.args(tuned.split_whitespace());
    command.arg("-cp").arg(format!("{}:{}/*", classes.display(), jars.display()));
    command.args(["peer.Main", brokers, &raw.topic, &format!("{prefix}.")]).arg(state);
    command
}

/// Where a Kafka Streams program writes what it held when it was stopped.
pub(crate) fn counts(state: &Path) -> PathBuf {
    state.join("counts")
}

fn binary() -> PathBuf {
    let named = std::env::var_os("TICKFOLD_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| target().join("release/tickfold"))
}

fn classes() -> PathBuf {
    Path::new(ROOT).join("target/kafka-streams/classes")
}

fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(ROOT).join("target"))
}
