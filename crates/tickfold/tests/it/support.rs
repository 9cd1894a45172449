//! The binary as its users meet it: a child process on port 0, signed POSTs over real sockets, the
//! command line, gRPC; and the golden fold that everything committed is compared with. Every derived
//! record that a test reads is compared with the JSON Schema of its topic.
//!
//! Nothing here sleeps to wait; it polls for the event, with a deadline that fails the test.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::Sha256;
use tickfold_core::fold::Partition;
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::RawRecord;
use tickfold_core::records::Topic;
use tickfold_core::time::Timestamp;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::log_scan::assert_silent;
use crate::schemas::assert_valid;

pub(crate) const SECRET: &str = "an-app-secret-of-tests";
pub(crate) const VERIFY_TOKEN: &str = "a-verify-token-of-tests";
/// The signal by which a process ends that is killed.
pub(crate) const SIGKILL: i32 = 9;
/// Partitions of the embedded log.
pub(crate) const PARTITIONS: u32 = 8;
pub(crate) const RAW: &str = "wa.webhook.raw.v1";
/// The path Meta would call.
pub(crate) const WEBHOOK: &str = "/webhook/main";
/// The account, number and party of bodies that do not care.
pub(crate) const WABA: &str = "215589900000101";
pub(crate) const NUMBER: &str = "318840000000202";
pub(crate) const PARTY: &str = "447700900123";
/// Long enough for a machine under load, short enough to fail a test in reasonable time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Full name of a derived topic.
pub(crate) fn topic(topic: Topic) -> String {
    format!("wa.{}", topic.name())
}

/// An hour ago, in seconds, the same during one run: event times far from the clock are unknown.
pub(crate) fn base() -> i64 {
    static BASE: OnceLock<i64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_secs()).unwrap() - 3_600
    })
}

/// Polls until the event, and returns what it gave; panics with `what` at the deadline.
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes a line past the capture of the test harness: figures are wanted from green runs too.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the counts are those of a soak.
pub(crate) fn is_soak() -> bool {
    std::env::var("TICKFOLD_SOAK").is_ok_and(|soak| soak == "1")
}

/// Appends a row to the table of a soak, if this is one.
pub(crate) fn soak_row(what: &str, attempted: u64, landed: u64, lost: u64, twice: u64) {
    let Some(path) = std::env::var_os("TICKFOLD_SOAK_TABLE") else { return };
    let mut table = File::options().append(true).create(true).open(path).unwrap();
    writeln!(table, "| {what} | {attempted} | {landed} | {lost} | {twice} |").unwrap();
}

/// A seeded generator (splitmix64); the seed belongs into every failure message.
#[derive(Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

// --- a node -----------------------------------------------------------------------------------

/// Nodes that run now in this test process, and whether one of them measures.
static RUNNING: Mutex<(usize, bool)> = Mutex::new((0, false));
static RUNNING_CHANGED: Condvar = Condvar::new();

/// Keeps other tests of this process from starting nodes, so that what is measured is one idle
/// node. `None` if the machine did not become quiet: the figure is then one under load.
#[derive(Debug)]
pub(crate) struct Quiet(());

impl Quiet {
    /// Waits until no node runs. Take it before starting one's own, with [`Node::start_in_quiet`].
    pub(crate) fn within(limit: Duration) -> Option<Self> {
        let state = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut (usize, bool)| state.0 > 0 || state.1;
        let (mut state, _) = RUNNING_CHANGED
            .wait_timeout_while(state, limit, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.0 > 0 || state.1 {
            return None;
        }
        state.1 = true;
        Some(Self(()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).1 = false;
        RUNNING_CHANGED.notify_all();
    }
}

/// A node's entry in [`RUNNING`].
#[derive(Debug)]
pub(crate) struct Counted(());

impl Counted {
    /// Never waits for other nodes, only for a measurement, and that waits for nothing.
    pub(crate) fn enter(in_quiet: bool) -> Self {
        let state = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = RUNNING_CHANGED
            .wait_while(state, |state| state.1 && !in_quiet)
            .unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
        RUNNING_CHANGED.notify_all();
    }
}

/// The binary under test, without any `TICKFOLD_*` of whoever runs the tests.
pub(crate) fn tickfold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickfold"));
    clean(&mut command);
    command
}

/// Takes the configuration of whoever runs the tests out of a command's environment.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TICKFOLD_") {
            command.env_remove(name);
        }
    }
}

/// `tickfold up` with its secrets, on free ports, with the data directory `root/data`.
pub(crate) fn up(root: &Path) -> Command {
    let mut command = tickfold();
    command.args(up_args(root));
    with_secrets(&mut command);
    command
}

/// Arguments of [`up`], for a command that wraps the binary, such as strace.
pub(crate) fn up_args(root: &Path) -> Vec<String> {
    role_args("up", root)
}

/// Arguments of `up`, `ingress` or `processor` likewise.
pub(crate) fn role_args(role: &str, root: &Path) -> Vec<String> {
    let data = root.join("data").to_str().unwrap().to_owned();
    let mut args = vec![role.to_owned(), "--data-dir".to_owned(), data];
    for flag in ["--http-addr", "--grpc-addr", "--admin-addr"] {
        args.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    args
}

/// The secrets of [`up`].
pub(crate) fn with_secrets(command: &mut Command) {
    command.env("TICKFOLD_APP_SECRET", SECRET).env("TICKFOLD_VERIFY_TOKEN", VERIFY_TOKEN);
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The threads of a process, a line each: name, state, what it waits in. For one that does not get
/// on.
fn threads(child: &Child) -> String {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else {
        return "none".to_owned();
    };
    let mut lines: Vec<String> = tasks
        .flatten()
        .map(|task| {
            let read = |of: &str| std::fs::read_to_string(task.path().join(of)).unwrap_or_default();
            let stat = read("stat");
            let state = stat.rsplit_once(") ").map_or("?", |(_, state)| &state[..1]).to_owned();
            format!("{} {state} {}", read("comm").trim_end(), read("wchan"))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// A running `tickfold up`. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Node {
    /// Holds `data/`, and `stderr` of all starts.
    pub(crate) root: PathBuf,
    pub(crate) child: Child,
    /// `host:port` of the three listeners; `http` is empty for one that takes no webhooks.
    pub(crate) http: String,
    pub(crate) grpc: String,
    pub(crate) admin: String,
    /// What the names of its topics begin with; `wa` unless the command said otherwise.
    prefix: String,
    /// What was printed after the line that says it is up, until the end.
    rest: Option<thread::JoinHandle<String>>,
    /// Where its part of `stderr` begins.
    log_begin: u64,
    _counted: Counted,
}

impl Node {
    /// Starts a node on `root/data`, new or left by an earlier one.
    pub(crate) fn start(root: &Path) -> Self {
        Self::spawn(root, up(root)).unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
    }

    /// As [`Node::start`], for the holder of [`Quiet`].
    pub(crate) fn start_in_quiet(root: &Path, _quiet: &Quiet) -> Self {
        let counted = Counted::enter(true);
        Self::spawn_counted(root, up(root), counted)
            .unwrap_or_else(|ended| panic!("up ended: {ended:?}"))
    }

    /// Runs a command that becomes a node, or how it ended instead.
    pub(crate) fn spawn(root: &Path, command: Command) -> Result<Self, Ended> {
        Self::spawn_counted(root, command, Counted::enter(false))
    }

    fn spawn_counted(root: &Path, mut command: Command, counted: Counted) -> Result<Self, Ended> {
        let prefix = command.get_envs().find(|(name, _)| *name == "TICKFOLD_TOPIC_PREFIX");
        let prefix = prefix.and_then(|(_, prefix)| prefix).map(|prefix| prefix.to_string_lossy());
        let prefix = prefix.map_or_else(|| "wa".to_owned(), |prefix| prefix.into_owned());
        let mut log = File::options().create(true).append(true).open(stderr_path(root)).unwrap();
        let begin = log.metadata().unwrap().len();
        log.write_all(b"--- start\n").unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, first) = mpsc::channel();
        let rest = thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send(line);
            let mut rest = String::new();
            let _ = stdout.read_to_string(&mut rest);
            rest
        });
        let Ok(line) = first.recv_timeout(PATIENCE) else {
            let threads = threads(&child);
            let _ = child.kill();
            let _ = child.wait();
            let log = read_from(&stderr_path(root), begin);
            panic!("up printed nothing; its log:\n{log}\nits threads:\n{threads}");
        };
        if line.is_empty() {
            let code = child.wait().unwrap().code();
            let stderr = read_from(&stderr_path(root), begin);
            return Err(Ended { code, stdout: line, stderr });
        }
        let (http, grpc, admin) = addresses(&line).unwrap_or_else(|| panic!("odd line {line:?}"));
        let root = root.to_owned();
        let (rest, log_begin) = (Some(rest), begin);
        Ok(Self { root, child, http, grpc, admin, prefix, rest, log_begin, _counted: counted })
    }

    /// SIGTERM, and the orderly end that has to follow.
    pub(crate) fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let code = self.wait().code;
        assert_eq!(code, Some(0), "exit code after SIGTERM; log:\n{}", self.log());
    }

    /// kill -9.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end; `stdout` is what followed the first line.
    pub(crate) fn wait(&mut self) -> Ended {
        let status = eventually("the node ends", || self.child.try_wait().unwrap());
        let stdout = self.rest.take().map(|rest| rest.join().unwrap()).unwrap_or_default();
        Ended { code: status.code(), stdout, stderr: self.log() }
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Standard error of all starts on this root.
    pub(crate) fn log(&self) -> String {
        read_from(&stderr_path(&self.root), 0)
    }

    /// A connection to the webhook port.
    pub(crate) fn webhooks(&self) -> Http {
        Http::new(&self.http)
    }

    /// Posts one signed body on a connection of its own and expects 200, and where it is.
    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Vec<pb::Position> {
        let answer = self.webhooks().post_signed(body.as_ref()).unwrap();
        assert_eq!(answer.status, 200);
        answer.positions()
    }

    /// GET on the admin port.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        Http::new(&self.admin).send("GET", path, &[], b"").unwrap()
    }

    /// A gRPC client.
    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::connect(&self.grpc)
    }

    /// A client command against this node.
    pub(crate) fn cli(&self, args: &[&str]) -> Ended {
        let mut command = tickfold();
        command.args(args).args(["--grpc-addr", &self.grpc]);
        run(command, b"")
    }

    /// A client command that must succeed and print one JSON value.
    pub(crate) fn cli_json(&self, args: &[&str]) -> Value {
        let ended = self.cli(&[args, &["-o", "json"]].concat());
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {ended:?}"))
    }

    /// All records of a topic that are there now, by partition and offset, each fit for its schema.
    /// The name is that of a node with the usual prefix.
    pub(crate) fn tail(&self, topic: &str) -> Vec<Record> {
        let (_, name) = topic.split_once('.').unwrap();
        let args = [
            "tail",
            &format!("{}.{name}", self.prefix),
            "--from-beginning",
            "--until-end",
            "-o",
            "jsonl",
        ];
        let ended = self.cli(&args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        let lines = ended.stdout.lines();
        let mut records: Vec<Record> = lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        records.sort_by_key(|record| (record.partition, record.offset));
        validated(name, records)
    }

    /// Webhooks of the raw topic; ticks come when they like.
    pub(crate) fn raw_webhooks(&self) -> Vec<Record> {
        let mut records = self.tail(RAW);
        records.retain(Record::is_webhook);
        records
    }

    /// Values of a derived topic, tombstones as null.
    pub(crate) fn values(&self, of: Topic) -> Vec<Value> {
        self.tail(&topic(of)).iter().map(Record::json).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            say(&format!("log of the node of the failed test:\n{}", self.log()));
            return;
        }
        assert_silent(&read_from(&stderr_path(&self.root), self.log_begin));
    }
}

fn stderr_path(root: &Path) -> PathBuf {
    root.join("stderr")
}

fn read_from(path: &Path, begin: u64) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let begin = usize::try_from(begin).unwrap().min(bytes.len());
    String::from_utf8_lossy(&bytes[begin..]).into_owned()
}

fn addresses(line: &str) -> Option<(String, String, String)> {
    let (role, line) = line.trim_end().strip_prefix("tickfold ")?.split_once(": ")?;
    let (http, line) = match role {
        "processor" => ("", line),
        "up" | "ingress" => {
            let (webhooks, line) = line.strip_prefix("webhooks ")?.split_once(", ")?;
            let (_, http) = webhooks.split_once("://")?;
            (http.split_once("/webhook/")?.0, line)
        }
        _ => return None,
    };
    let (grpc, admin) = line.strip_prefix("gRPC ")?.split_once(", admin http://")?;
    Some((http.to_owned(), grpc.to_owned(), admin.to_owned()))
}

/// Runs a command to its end with this standard input.
pub(crate) fn run(mut command: Command, stdin: &[u8]) -> Ended {
    let stdio = |command: &mut Command| -> io::Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let mut child = stdio(&mut command).unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    // In a thread of its own: a child that prints while it reads would block both of us.
    let writer = thread::spawn(move || {
        // A child that refused its arguments does not read.
        let _ = input.write_all(&stdin);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `tickfold` with these arguments, no secrets, no standard input.
pub(crate) fn cli(args: &[&str]) -> Ended {
    let mut command = tickfold();
    command.args(args);
    run(command, b"")
}

// --- HTTP -------------------------------------------------------------------------------------

/// The signature Meta would send; computed here, not by the crate that verifies it.
pub(crate) fn signature(body: &[u8]) -> String {
    signature_with(SECRET.as_bytes(), body)
}

/// The same with another secret.
pub(crate) fn signature_with(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256={hex}")
}

/// An answer of a server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Where a webhook that was taken stands, as queries take it.
    pub(crate) fn positions(&self) -> Vec<pb::Position> {
        let header = self.header("tickfold-positions").expect("each 200 says where it stands");
        let position = |text: &str| {
            let (partition, offset) = text.split_once(':').unwrap();
            pb::Position { partition: partition.parse().unwrap(), offset: offset.parse().unwrap() }
        };
        header.split(',').map(position).collect()
    }
}

/// A client with one connection, kept alive. Never repeats a request by itself: whether a request
/// without an answer was taken is for the test to judge.
#[derive(Debug)]
pub(crate) struct Http {
    addr: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    pub(crate) fn new(addr: &str) -> Self {
        Self { addr: addr.to_owned(), stream: None }
    }

    /// Whether the connection is kept for the next request.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Posts a body with its signature.
    pub(crate) fn post_signed(&mut self, body: &[u8]) -> io::Result<Answer> {
        let signature = signature(body);
        let headers =
            [("content-type", "application/json"), ("x-hub-signature-256", signature.as_str())];
        self.send("POST", WEBHOOK, &headers, body)
    }

    /// One request, one answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.addr)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        let sent = stream.get_mut().write_all(&bytes);
        // A server that refuses by the headers answers before it has read everything.
        let answer = read_answer(&mut stream).map_err(|error| sent.err().unwrap_or(error))?;
        if !answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let odd = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut line = || -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_ascii_end().to_owned())
    };
    let head = String::from_utf8(line()?).map_err(|_| odd("status line"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| odd(&head))?;
    let mut headers = Vec::new();
    loop {
        let header = String::from_utf8(line()?).map_err(|_| odd("header"))?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| odd(&header))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| odd("chunk"))?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk)?;
            answer.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().map_err(|_| odd("content-length"))?];
        stream.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

// --- gRPC -------------------------------------------------------------------------------------

/// A blocking client of the query service.
#[derive(Debug)]
pub(crate) struct Rpc {
    runtime: tokio::runtime::Runtime,
    client: QueryServiceClient<Channel>,
}

impl Rpc {
    pub(crate) fn connect(addr: &str) -> Self {
        // A thread of its own drives the connection also between calls, as in any real client: one
        // that does not hear the server's goodbye holds up its end until the drain limit.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let connect = QueryServiceClient::connect(format!("http://{addr}"));
        let client = runtime.block_on(connect).unwrap();
        Self { runtime, client }
    }

    /// A message with its history; `None` if it is not known.
    pub(crate) fn message(&mut self, wamid: &str) -> Option<pb::Message> {
        self.try_message(wamid, &[]).unwrap().map(|response| response.message.unwrap())
    }

    /// The same as it was at a moment of the log.
    pub(crate) fn message_then(&mut self, wamid: &str, at: pb::Moment) -> Option<pb::Message> {
        self.get_message(wamid, &[], Some(at)).unwrap().map(|response| response.message.unwrap())
    }

    /// The answer to `GetMessage`, once these positions are applied.
    pub(crate) fn try_message(
        &mut self,
        wamid: &str,
        min_position: &[pb::Position],
    ) -> Result<Option<pb::GetMessageResponse>, tonic::Status> {
        self.get_message(wamid, min_position, None)
    }

    fn get_message(
        &mut self,
        wamid: &str,
        min_position: &[pb::Position],
        at: Option<pb::Moment>,
    ) -> Result<Option<pb::GetMessageResponse>, tonic::Status> {
        let request = pb::GetMessageRequest {
            wamid: wamid.to_owned(),
            view: pb::MessageView::History.into(),
            min_position: min_position.to_vec(),
            at,
        };
        match self.runtime.block_on(self.client.get_message(request)) {
            Ok(response) => Ok(Some(response.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }
}

// --- records and the golden fold ----------------------------------------------------------------

/// A line of `tail -o jsonl`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    timestamp: String,
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Where the key is not text: the digest of a body that names no account.
    #[serde(default)]
    pub(crate) key_base64: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// The JSON exactly as it was printed.
    #[serde(default)]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    value_base64: Option<String>,
}

impl Record {
    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::parse_rfc3339(&self.timestamp)
            .unwrap_or_else(|| panic!("timestamp {:?}", self.timestamp))
    }

    pub(crate) fn is_webhook(&self) -> bool {
        self.headers.get("wa-kind").is_some_and(|kind| kind == "webhook")
    }

    /// The same place and time, and nothing else: what a replay makes of a record that it leaves out.
    pub(crate) fn as_tick(&self) -> Self {
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = [("wa-kind", "control"), ("wa-control", "tick")].map(header);
        Self { headers: headers.into(), key: None, value: None, value_base64: None, ..self.clone() }
    }

    /// Value of a raw record.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        self.value_base64.as_ref().map(|text| STANDARD.decode(text).unwrap())
    }

    /// Value of a derived record, as text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.value.as_deref().map(RawValue::get)
    }

    /// Value of a derived record; null for a tombstone.
    pub(crate) fn json(&self) -> Value {
        self.text().map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    pub(crate) fn plain(&self) -> Plain {
        Plain {
            key: self.key.clone().unwrap_or_default(),
            value: self.text().map(str::to_owned),
            headers: self.headers.clone(),
            timestamp_ms: self.timestamp().as_millis(),
        }
    }
}

/// Refuses records of a derived topic that do not fit its schema.
fn validated(name: &str, records: Vec<Record>) -> Vec<Record> {
    if let Some(of) = Topic::ALL.into_iter().find(|of| of.name() == name) {
        records.iter().for_each(|record| assert_valid(of, record.text().map(str::as_bytes)));
    }
    records
}

#[test]
#[should_panic(expected = "does not fit its schema: action.v1: \"kind\" is a required property")]
fn a_record_that_does_not_fit_its_schema_fails_the_test_that_reads_it() {
    let line = |kind: &str| {
        let value = format!(
            r#"{{"event_id":"0-0-0","revision":0,"event_time":"2026-11-20T00:00:00Z","source_partition":0,"source_offset":0,"schema_version":1,"action_id":"a","subject":"s","cause":"c","rules_version":1{kind}}}"#
        );
        let line = format!(
            r#"{{"partition":0,"offset":0,"timestamp":"2026-11-20T00:00:00Z","key":"a","headers":{{}},"value":{value}}}"#
        );
        vec![serde_json::from_str(&line).unwrap()]
    };
    validated(Topic::Action.name(), line(r#","kind":"route""#));
    validated(Topic::Action.name(), line(""));
}

/// A derived record without its offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plain {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) timestamp_ms: i64,
}

impl Plain {
    /// Offset of the raw record that it comes from.
    pub(crate) fn source(&self) -> u64 {
        self.of_event_id(1)
    }

    /// Its place among what comes from that record.
    pub(crate) fn ordinal(&self) -> u64 {
        self.of_event_id(2)
    }

    /// Of `partition-offset-ordinal`.
    fn of_event_id(&self, part: usize) -> u64 {
        self.headers["ce_id"].split('-').nth(part).unwrap().parse().unwrap()
    }
}

/// All raw records folded on nothing in one thread: what has to be there.
#[derive(Debug, Default)]
pub(crate) struct Golden {
    /// Outputs by topic and partition, in order.
    pub(crate) outputs: BTreeMap<(Topic, u32), Vec<Plain>>,
    /// State by partition.
    pub(crate) state: BTreeMap<u32, Overlay>,
}

impl Golden {
    /// Folds the records of the raw topic, which must be sorted by offset.
    pub(crate) fn of(raw: &[Record]) -> Self {
        let mut golden = Self::default();
        for record in raw {
            let value = record.bytes();
            let headers = record.headers.iter();
            let raw = RawRecord {
                offset: record.offset,
                appended: record.timestamp(),
                headers: headers.map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
                value: value.as_deref(),
            };
            let partition = Partition { id: record.partition, count: PARTITIONS };
            let overlay = golden.state.entry(record.partition).or_default();
            for output in tickfold_core::fold(overlay, &Nothing, partition, &raw).unwrap() {
                let headers = output.headers.into_iter();
                let plain = Plain {
                    key: output.key,
                    value: output.value.map(|value| String::from_utf8(value.into()).unwrap()),
                    headers: headers
                        .map(|(name, value)| {
                            (name.to_owned(), String::from_utf8(value.into()).unwrap())
                        })
                        .collect(),
                    timestamp_ms: output.timestamp.as_millis(),
                };
                let place = (output.topic, record.partition);
                golden.outputs.entry(place).or_default().push(plain);
            }
        }
        golden
    }

    /// Number of outputs in all topics.
    pub(crate) fn count(&self) -> usize {
        self.outputs.values().map(Vec::len).sum()
    }
}

/// Committed derived records by topic and partition, in order.
pub(crate) fn derived(node: &Node) -> BTreeMap<(Topic, u32), Vec<Plain>> {
    let mut found: BTreeMap<(Topic, u32), Vec<Plain>> = BTreeMap::new();
    for of in Topic::ALL {
        for record in node.tail(&topic(of)) {
            found.entry((of, record.partition)).or_default().push(record.plain());
        }
    }
    found
}

/// What is wrong with committed outputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    /// Golden outputs that are not there.
    pub(crate) lost: usize,
    /// Outputs that are there more often than they should.
    pub(crate) twice: usize,
    /// The first place that differs.
    pub(crate) first: String,
}

/// Compares outputs byte for byte and in order; `None` is equal.
pub(crate) fn difference(
    golden: &BTreeMap<(Topic, u32), Vec<Plain>>,
    found: &BTreeMap<(Topic, u32), Vec<Plain>>,
) -> Option<Difference> {
    let mut difference = Difference::default();
    for of in Topic::ALL {
        for partition in 0..PARTITIONS {
            let side = |side: &BTreeMap<(Topic, u32), Vec<Plain>>| -> Vec<Plain> {
                side.get(&(of, partition)).cloned().unwrap_or_default()
            };
            let (golden, found) = (side(golden), side(found));
            if golden == found {
                continue;
            }
            let mut counts: BTreeMap<&Plain, i64> = BTreeMap::new();
            golden.iter().for_each(|plain| *counts.entry(plain).or_default() -= 1);
            found.iter().for_each(|plain| *counts.entry(plain).or_default() += 1);
            for count in counts.values() {
                difference.lost += usize::try_from(-count).unwrap_or(0);
                difference.twice += usize::try_from(*count).unwrap_or(0);
            }
            if difference.first.is_empty() {
                let at = (0..).find(|&index| golden.get(index) != found.get(index)).unwrap();
                let (golden, found) = (golden.get(at), found.get(at));
                let place = topic(of);
                difference.first =
                    format!("{place} {partition}, record {at}:\nwant {golden:?}\nhave {found:?}");
            }
        }
    }
    (!difference.first.is_empty()).then_some(difference)
}

/// Waits until the outputs are those of the golden fold of raw, byte for byte and in order, and
/// returns the fold. Raw grows by itself, by ticks, so it is read anew for each comparison.
pub(crate) fn assert_golden(node: &Node) -> Golden {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let golden = Golden::of(&node.tail(RAW));
        let Some(difference) = difference(&golden.outputs, &derived(node)) else {
            return golden;
        };
        assert!(
            Instant::now() < deadline,
            "{} lost, {} too many; first: {}",
            difference.lost,
            difference.twice,
            difference.first
        );
    }
}

// --- bodies -----------------------------------------------------------------------------------

/// A body with one `messages` change of an account.
pub(crate) fn messages_of(waba: &str, value: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550100001","phone_number_id":"{NUMBER}"}},{value}}}}}]}}]}}"#
    )
}

/// A status as JSON, at so many seconds after [`base`].
pub(crate) fn status(wamid: &str, word: &str, after_s: i64) -> String {
    let errors = match word {
        "failed" => {
            r#","errors":[{"code":131026,"title":"Message undeliverable","error_data":{"details":"no WhatsApp"}}]"#
        }
        _ => "",
    };
    let time = base() + after_s;
    format!(
        r#"{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"{PARTY}"{errors}}}"#
    )
}

/// A body with one status of [`WABA`].
pub(crate) fn status_body(wamid: &str, word: &str, after_s: i64) -> String {
    status_body_of(WABA, wamid, word, after_s)
}

/// A body with one status of an account.
pub(crate) fn status_body_of(waba: &str, wamid: &str, word: &str, after_s: i64) -> String {
    messages_of(waba, &format!(r#""statuses":[{}]"#, status(wamid, word, after_s)))
}

#[test]
fn an_output_that_is_lost_repeated_altered_or_out_of_order_is_a_difference() {
    let plain = |key: &str, value: Option<&str>| Plain {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        headers: BTreeMap::new(),
        timestamp_ms: 5,
    };
    let golden = vec![plain("a", Some("1")), plain("b", Some("2")), plain("c", None)];
    let compare = |found: Vec<Plain>| {
        let side = |list: &[Plain]| BTreeMap::from([((Topic::Event, 3), list.to_vec())]);
        difference(&side(&golden), &side(&found)).map(|found| (found.lost, found.twice))
    };
    let [a, b, c] = golden.clone().try_into().unwrap();
    assert_eq!(compare(golden.clone()), None);
    assert_eq!(compare(vec![]), Some((3, 0)));
    assert_eq!(compare(vec![a.clone(), c.clone()]), Some((1, 0)));
    assert_eq!(compare(vec![a.clone(), b.clone(), b.clone(), c.clone()]), Some((0, 1)));
    assert_eq!(compare(vec![b.clone(), a.clone(), c.clone()]), Some((0, 0)));
    let late = Plain { timestamp_ms: 6, ..c };
    assert_eq!(compare(vec![a.clone(), b.clone(), late]), Some((1, 1)));
    assert_eq!(compare(vec![a, b, plain("c", Some(""))]), Some((1, 1)));
    // A partition or topic that nobody expected.
    let extra = BTreeMap::from([((Topic::Transition, 0), golden)]);
    let found = difference(&BTreeMap::new(), &extra).unwrap();
    assert_eq!((found.lost, found.twice), (0, 3));
}
