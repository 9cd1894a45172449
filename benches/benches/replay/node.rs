//! A node and what it is asked.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::replay_service_client::ReplayServiceClient;
use tonic::transport::Channel;

use crate::cpu::{self, Cpu};
use crate::{Outcome, PARTITIONS, binary, fill};

/// A page of the node answers in that time, or it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node that took less CPU time than this in a second is at rest.
const AT_REST: f64 = 0.05;

/// A node that runs; it ends with this value.
pub(crate) struct Node {
    child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
    admin: String,
}

impl Node {
    /// `up` in a directory, on the embedded log or on brokers, with settings by their names in the
    /// environment.
    pub(crate) fn start(
        dir: &Path,
        brokers: Option<&str>,
        settings: &[(&str, &str)],
    ) -> Outcome<Self> {
        let mut command = Command::new(binary());
        command.arg("up").arg("--data-dir").arg(dir.join("data"));
        for address in ["HTTP", "GRPC", "ADMIN"] {
            command.env(format!("TICKFOLD_{address}_ADDR"), "127.0.0.1:0");
        }
        command.env("TICKFOLD_APP_SECRET", "bench-secret").env("TICKFOLD_VERIFY_TOKEN", "token");
        command.env("TICKFOLD_TELEMETRY_LOG", "warn").env("TICKFOLD_TOPIC_PREFIX", fill::PREFIX);
        command.env("TICKFOLD_PARTITIONS", PARTITIONS.to_string());
        command.envs(settings.iter().copied());
        if let Some(brokers) = brokers {
            command.args(["--kafka", brokers]);
            command.env("TICKFOLD_KAFKA_REPLICATION_FACTOR", "1");
            command.env("TICKFOLD_KAFKA_MIN_INSYNC_REPLICAS", "1");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let of = |name: &str| -> Outcome<String> {
            let (_, rest) = line.split_once(name).ok_or_else(|| format!("it said {line:?}"))?;
            Ok(rest.split([',', '\n']).next().unwrap_or_default().to_owned())
        };
        let webhooks = of("webhooks http://")?;
        let http = webhooks.split('/').next().unwrap_or_default().to_owned();
        Ok(Self { http, grpc: of("gRPC ")?, admin: of("admin http://")?, child })
    }

    /// Ends it as a supervisor would.
    pub(crate) fn stop(mut self) -> Outcome<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }

    /// Records folded, over all partitions.
    pub(crate) fn position(&self) -> Outcome<u64> {
        let mut stream = TcpStream::connect(&self.admin)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /statusz HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no page")?;
        let page: Value = serde_json::from_str(body)?;
        let partitions = page.get("partitions").and_then(Value::as_array).ok_or("no partitions")?;
        Ok(partitions.iter().filter_map(|of| of.get("position")?.as_u64()).sum())
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> Outcome<Cpu> {
        cpu::of(self.child.id())
    }

    /// Waits until it has compacted what it folded, which would take its time from what is measured next.
    pub(crate) fn at_rest(&self) -> Outcome<()> {
        let mut last = self.cpu()?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu()?;
            if now - last < AT_REST {
                return Ok(());
            }
            last = now;
        }
    }

    /// Begins to fold everything again.
    pub(crate) fn replay(&self) -> Outcome<()> {
        self.ask(&["run", "--detach"]).map(drop)
    }

    /// Gives up what was folded again.
    pub(crate) fn discard(&self) -> Outcome<()> {
        self.ask(&["discard"]).map(drop)
    }

    /// Asks about replays over one connection: a process for each look would take its time from what is
    /// looked at.
    pub(crate) fn replays(&self) -> Outcome<Replays> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connect = ReplayServiceClient::connect(format!("http://{}", self.grpc));
        Ok(Replays { client: RefCell::new(runtime.block_on(connect)?), runtime })
    }

    /// Fails if what was folded again differs from what is live.
    pub(crate) fn compare(&self) -> Outcome<()> {
        self.ask(&["diff"]).map(drop)
    }

    fn ask(&self, args: &[&str]) -> Outcome<String> {
        let mut command = Command::new(binary());
        let ended = command.arg("replay").args(args).args(["--grpc-addr", &self.grpc]).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if ended.status.success() {
            return Ok(text(ended.stdout));
        }
        let said = format!("{}{}", text(ended.stdout), text(ended.stderr));
        Err(format!("replay {args:?}: {}: {said}", ended.status).into())
    }
}

pub(crate) struct Replays {
    runtime: tokio::runtime::Runtime,
    client: RefCell<ReplayServiceClient<Channel>>,
}

impl Replays {
    /// Records folded again, and whether that is all.
    pub(crate) fn folded(&self) -> Outcome<(u64, bool)> {
        let request = pb::GetReplayRequest::default();
        let told = self.runtime.block_on(self.client.borrow_mut().get_replay(request))?;
        let told = told.into_inner();
        match told.state() {
            pb::ReplayState::Done => Ok((told.records, true)),
            pb::ReplayState::Running => Ok((told.records, false)),
            state => Err(format!("{state:?}: {}", told.error).into()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
