//! Faults from outside: what the disk does (order of write, sync and answer under strace, failing
//! syncs, a full file system, flipped bytes, a deleted state directory), and rubbish on the ports.
//!
//! kill -9 cannot show that a sync happened, since the page cache survives it; strace can. A
//! missing strace, ptrace or mount fails the test with that message: nothing is skipped silently.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    Node, Rng, WEBHOOK, assert_golden, clean, eventually, say, signature, status_body, up, up_args,
    with_secrets,
};
use crate::support_crash::{Clients, Load, Oracle, embedded_log, set_aside};

// --- strace: body, sync, answer -----------------------------------------------------------------

/// Where strace is, or why the test cannot run.
fn strace() -> Command {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "strace is needed and does not run: install the package `strace`"
    );
    Command::new("strace")
}

/// What was seen of one POST, by the client.
struct Sent {
    body: Vec<u8>,
    /// Of the client: names the connection in the trace.
    port: u16,
}

#[test]
fn faults_every_200_follows_an_fdatasync_that_follows_its_body() {
    let root = TempDir::new().unwrap();
    let trace = root.path().join("trace");
    let mut command = strace();
    command.args(["-f", "-y", "-s", "10000000", "-e"]);
    command.arg("trace=openat,accept4,write,pwrite64,writev,sendto,sendmsg,fdatasync,fsync");
    command.arg("-o").arg(&trace).arg("--").arg(env!("CARGO_BIN_EXE_tickfold"));
    command.args(up_args(root.path()));
    clean(&mut command);
    with_secrets(&mut command);
    let mut node = Node::spawn(root.path(), command)
        .unwrap_or_else(|ended| panic!("no node under strace (is ptrace permitted?): {ended:?}"));

    let mut sent: Vec<Sent> = (0..30).map(|n| post_alone(&node.http, n)).collect();
    let together = thread::scope(|scope| {
        let http = &node.http;
        let posts: Vec<_> = (30..60).map(|n| scope.spawn(move || post_alone(http, n))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect::<Vec<_>>()
    });
    sent.extend(together);
    // SIGTERM to the node and not to strace, which would let go of it.
    let pid = only_child(node.child.id());
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(node.wait().code, Some(0));

    let log = root.path().join("data/log/db");
    let text = fs::read(&trace).unwrap();
    let calls = calls(&String::from_utf8_lossy(&text));
    let found = check_order(&calls, &log, &sent).unwrap_or_else(|wrong| panic!("{wrong}"));
    say(&format!(
        "strace: {} of {} answers follow the fdatasync of their body; {} calls, {} syncs of the log",
        found.answers,
        sent.len(),
        calls.len(),
        found.syncs
    ));
    assert_eq!(found.answers, 60);
    assert!(found.syncs >= 31, "{} syncs", found.syncs);

    // Controls: the checker fails where the syncs of the log are taken out of the trace, and where
    // they all came too late, although everything else is still there.
    let is_sync =
        |call: &Call| call.is_sync() && call.path().is_some_and(|path| is_wal(path, &log));
    let without: Vec<Call> = calls.iter().filter(|call| !is_sync(call)).cloned().collect();
    assert!(without.len() + found.syncs == calls.len() && without.iter().any(Call::is_sync));
    let wrong = check_order(&without, &log, &sent).expect_err("no sync is noticed");
    assert!(wrong.contains("no sync"), "{wrong}");
    let mut late = calls;
    let end = late.iter().map(|call| call.end).max().unwrap();
    late.iter_mut().filter(|call| is_sync(call)).for_each(|call| call.end += end);
    let wrong = check_order(&late, &log, &sent).expect_err("late syncs are noticed");
    assert!(wrong.contains("no sync"), "{wrong}");
    let mut failed = late;
    for call in &mut failed {
        if is_sync(call) {
            call.end -= end;
            call.result = -1;
        }
    }
    assert!(check_order(&failed, &log, &sent).is_err(), "failed syncs are noticed");
}

/// Posts a body that is like no other, on a connection of its own.
fn post_alone(http: &str, n: u32) -> Sent {
    let body = status_body(&format!("wamid.strace.{n}"), "sent", i64::from(n)).into_bytes();
    let mut stream = TcpStream::connect(http).unwrap();
    let request = format!(
        "POST {WEBHOOK} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\nx-hub-signature-256: \
         {}\r\ncontent-length: {}\r\n\r\n",
        signature(&body),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    Sent { body, port: stream.local_addr().unwrap().port() }
}

/// The one child of a process.
fn only_child(of: u32) -> Pid {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    let mut children = children.split_whitespace();
    let child = children.next().unwrap().parse().unwrap();
    assert_eq!(children.next(), None);
    Pid::from_raw(child).unwrap()
}

/// A system call of the trace. strace holds a thread at entry and exit of each call until it has
/// written it down, so the order of lines is the order of events.
#[derive(Debug, Clone)]
struct Call {
    name: String,
    /// Everything between the parentheses.
    arguments: String,
    result: i64,
    /// Lines at which it began and ended.
    begin: usize,
    end: usize,
}

impl Call {
    fn is_sync(&self) -> bool {
        self.name == "fdatasync" || self.name == "fsync"
    }

    /// The file of the descriptor that is the first argument.
    fn path(&self) -> Option<&Path> {
        let (_, rest) = self.arguments.split_once('<')?;
        let (path, _) = rest.split_once('>')?;
        Some(Path::new(path))
    }

    /// The descriptor that is the first argument.
    fn descriptor(&self) -> Option<i64> {
        self.arguments.split(['<', ',']).next()?.parse().ok()
    }

    /// The bytes of all strings among the arguments.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = self.arguments.as_bytes();
        while let Some(at) = rest.iter().position(|&byte| byte == b'"') {
            rest = unescape(&rest[at + 1..], &mut bytes);
        }
        bytes
    }
}

/// Reads a string as strace writes it, up to the quote at its end, and returns what follows.
fn unescape<'a>(mut text: &'a [u8], bytes: &mut Vec<u8>) -> &'a [u8] {
    loop {
        let (&first, after) = text.split_first().expect("a string of the trace ends");
        text = after;
        match first {
            b'"' => return text,
            b'\\' => {
                let digits = text.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                if digits > 0 {
                    let value = text[..digits]
                        .iter()
                        .fold(0_u16, |value, digit| value * 8 + u16::from(digit - b'0'));
                    bytes.push(u8::try_from(value).unwrap());
                    text = &text[digits..];
                } else {
                    let escapes = b"n\nt\tr\rv\x0bf\x0c\"\"\\\\";
                    let pair = escapes.chunks(2).find(|pair| pair[0] == text[0]).unwrap();
                    bytes.push(pair[1]);
                    text = &text[1..];
                }
            }
            byte => bytes.push(byte),
        }
    }
}

/// The calls of a trace, in the order of their ends.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (line, head));
            continue;
        }
        let (begin, whole) = match text.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((begin, head)) = begun.remove(thread) else { continue };
                let Some((_, tail)) = resumed.split_once(" resumed>") else { continue };
                (begin, format!("{head}{tail}"))
            }
            None => (line, text.to_owned()),
        };
        // Signals and exits are no calls.
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { continue };
        let Some(arguments) = arguments.trim_end().strip_suffix(')') else { continue };
        let end = result.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(result.len());
        let Ok(result) = result[..end].parse() else { continue };
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        calls.push(Call { name, arguments, result, begin, end: line });
    }
    calls
}

fn is_wal(path: &Path, log: &Path) -> bool {
    path.parent() == Some(log) && path.extension().is_some_and(|extension| extension == "log")
}

#[derive(Debug)]
struct Found {
    answers: usize,
    syncs: usize,
}

/// For each request: the write that put the last byte of its body into the log's WAL ended before
/// a sync of that file began, which succeeded before the answer's first byte was written.
fn check_order(calls: &[Call], log: &Path, sent: &[Sent]) -> Result<Found, String> {
    let mut wals: BTreeMap<&Path, Wal> = BTreeMap::new();
    let mut syncs: Vec<(&Path, &Call)> = Vec::new();
    let mut ports: HashMap<i64, u16> = HashMap::new();
    // When the first byte of a 200 was written, by the port of the client.
    let mut answers: HashMap<u16, usize> = HashMap::new();
    for call in calls {
        let wal = call.path().filter(|path| is_wal(path, log));
        match (call.name.as_str(), wal) {
            ("accept4", _) => {
                let port = call.arguments.split_once("htons(");
                let port = port.and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
                ports.extend(port.map(|port| (call.result, port)));
            }
            ("write" | "pwrite64", Some(path)) => {
                let written = usize::try_from(call.result)
                    .map_err(|_| format!("a write to {} failed", path.display()))?;
                wals.entry(path).or_default().add(&call.bytes()[..written], call.end);
            }
            ("fdatasync" | "fsync", Some(path)) if call.result == 0 => syncs.push((path, call)),
            ("write" | "writev" | "sendto" | "sendmsg", None) => {
                let port = call.descriptor().and_then(|descriptor| ports.get(&descriptor));
                let Some(port) = port else { continue };
                if call.bytes().starts_with(b"HTTP/1.1 200") {
                    answers.entry(*port).or_insert(call.begin);
                }
            }
            _ => {}
        }
    }
    let wals: Vec<(&Path, Logical)> =
        wals.into_iter().map(|(path, wal)| (path, wal.logical())).collect();
    for Sent { body, port } in sent {
        let what = String::from_utf8_lossy(body);
        let answered = answers.get(port).ok_or_else(|| format!("no 200 for {what}"))?;
        let found = wals.iter().find_map(|(path, wal)| Some((path, wal.written(body)?)));
        let (path, written) = found.ok_or_else(|| format!("no write of {what}"))?;
        let between = |(synced, call): &&(&Path, &Call)| {
            synced == path && call.begin > written && call.end < *answered
        };
        if syncs.iter().find(between).is_none() {
            return Err(format!("no sync between the write of {what} and its 200"));
        }
    }
    Ok(Found { answers: sent.len(), syncs: syncs.len() })
}

/// A file of RocksDB's log as it was written: its bytes, and after each write how many there were
/// and when it ended.
#[derive(Debug, Default)]
struct Wal {
    bytes: Vec<u8>,
    writes: Vec<(usize, usize)>,
}

impl Wal {
    fn add(&mut self, bytes: &[u8], end: usize) {
        self.bytes.extend_from_slice(bytes);
        self.writes.push((self.bytes.len(), end));
    }

    /// Takes out what RocksDB puts between: blocks of 32 KiB, in them records with a header of CRC
    /// u32, length u16 and type u8, and of recycled files (types 5 to 8) the file's number u32.
    fn logical(self) -> Logical {
        const BLOCK: usize = 32 * 1024;
        let mut logical = Logical { bytes: Vec::new(), ends: Vec::new() };
        let mut at = 0;
        while at + 7 <= self.bytes.len() {
            if BLOCK - at % BLOCK < 7 {
                at += BLOCK - at % BLOCK;
                continue;
            }
            let length = usize::from(u16::from_le_bytes([self.bytes[at + 4], self.bytes[at + 5]]));
            let header = if (5..=8).contains(&self.bytes[at + 6]) { 11 } else { 7 };
            let content = at + header..(at + header + length).min(self.bytes.len());
            at = content.end;
            logical.bytes.extend_from_slice(&self.bytes[content]);
            let (_, end) = self.writes.iter().find(|(bytes, _)| *bytes >= at).unwrap();
            logical.ends.push((logical.bytes.len(), *end));
        }
        logical
    }
}

/// The contents of a WAL without its framing, and which part was there at which time.
struct Logical {
    bytes: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Logical {
    /// When the first copy of these bytes was written to its end. That is the raw record: outputs
    /// hold parts of a body at most.
    fn written(&self, body: &[u8]) -> Option<usize> {
        let at = self.bytes.windows(body.len()).position(|window| window == body)? + body.len();
        self.ends.iter().find(|(bytes, _)| *bytes >= at).map(|(_, end)| *end)
    }
}

/// The framing is read as RocksDB documents it, over a block boundary too.
#[test]
fn faults_the_reader_of_traces_finds_bodies_over_block_boundaries() {
    let body: Vec<u8> = (0_u32..40_000).flat_map(|n| format!("{n},").into_bytes()).collect();
    let mut wal = Wal::default();
    let mut left = body.as_slice();
    let mut line = 1;
    while !left.is_empty() {
        let room = 32 * 1024 - wal.bytes.len() % (32 * 1024);
        let (content, after) = left.split_at(left.len().min(room - 7));
        let length = u16::try_from(content.len()).unwrap().to_le_bytes();
        wal.add(&[&[0; 4], &length[..], &[1], content].concat(), line);
        (left, line) = (after, line + 1);
    }
    let blocks = line - 1;
    assert_eq!(wal.logical().written(&body), Some(blocks));

    let lines = concat!(
        "7 write(9</d/log/db/000004.log>, \"a\\0\\\"\\n\\17b\", 6 <unfinished ...>\n",
        "8 accept4(5<socket:[1]>, {sa_family=AF_INET, sin_port=htons(44)}, [16], 0) = 12\n",
        "7 <... write resumed>) = 6\n",
        "7 fdatasync(9</d/log/db/000004.log>) = -1 EIO (Input/output error) (INJECTED)\n",
        "8 +++ exited with 0 +++\n",
    );
    let calls = calls(lines);
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[1].bytes(), b"a\0\"\n\x0fb");
    assert_eq!((calls[1].begin, calls[1].end, calls[1].result), (0, 2, 6));
    assert!(calls[2].is_sync() && calls[2].result == -1);
    assert!(is_wal(calls[2].path().unwrap(), Path::new("/d/log/db")));
}

// --- failing syncs ------------------------------------------------------------------------------

#[test]
fn faults_failing_fdatasync_is_answered_503_and_the_next_start_is_clean() {
    let root = TempDir::new().unwrap();
    let load = Load::new(11);
    let mut oracle = Oracle::new();
    let mut node = Node::start(root.path());
    let posted = load.run(&node.http, 10, |_| ());
    assert_eq!(posted.refused, 0);
    posted.acknowledged.iter().for_each(|body| oracle.acknowledged(body));

    let injected = root.path().join("injected");
    let mut tracer = attach(&node, &injected, "error=EIO");
    // Some may have begun before: from the first failure on, none is answered 200.
    let mut http = node.webhooks();
    let mut refused = 0;
    let mut rng = Rng(12);
    eventually("a post is refused", || {
        let body = load.next(&mut rng);
        match http.post_signed(&body).unwrap().status {
            200 => oracle.acknowledged(&body),
            503 => refused += 1,
            other => panic!("{other}"),
        }
        (refused > 0).then_some(())
    });
    for _ in 0..20 {
        let answer = http.post_signed(&load.next(&mut rng)).unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
    }
    let reason = eventually("readyz is not ready", || {
        let answer = node.admin("/readyz");
        (answer.status == 503).then(|| answer.text())
    });
    let failures = fs::read_to_string(&injected).unwrap().matches("(INJECTED)").count();
    assert!(failures > 0, "no sync was made to fail");
    say(&format!("{failures} syncs failed, {} posts 503; readyz: {}", refused + 20, reason.trim()));

    // The disk still fails while it stops; it has to end all the same.
    node.signal(Signal::TERM);
    let ended = node.wait();
    say(&format!("stopped with exit code {:?}", ended.code));
    assert!(ended.code.is_some(), "{ended:?}");
    tracer.child.wait().unwrap();
    drop(node);
    whole_and_serving(root.path(), &load, &mut oracle);
}

/// strace beside a node, which lets go of it when killed.
pub(crate) struct Tracer {
    child: Child,
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Injects a fault into every sync of a running node, from now on until the tracer is dropped.
pub(crate) fn attach(node: &Node, output: &Path, fault: &str) -> Tracer {
    let mut command = strace();
    command.args(["-f", "-e", "trace=fdatasync,fsync"]);
    command.args(["-e", &format!("inject=fdatasync,fsync:{fault}")]);
    command.arg("-o").arg(output).args(["-p", &node.child.id().to_string()]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut tracer = Tracer { child };
    let tasks = format!("/proc/{}/task", node.child.id());
    eventually("strace holds every thread of the node (is ptrace permitted?)", || {
        let ended = tracer.child.try_wait().unwrap();
        assert!(ended.is_none(), "strace -p ended: {ended:?} (is ptrace permitted?)");
        let traced = fs::read_dir(&tasks).unwrap().all(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status"));
            // A thread that has just ended is traced by nobody and syncs nothing.
            status.is_ok_and(|status| !status.contains("TracerPid:\t0"))
        });
        traced.then_some(())
    });
    tracer
}

/// The next start is clean: every 200 is there, outputs and store are golden, new posts are taken.
fn whole_and_serving(root: &Path, load: &Load, oracle: &mut Oracle) {
    let node = Node::start(root);
    look(&node, oracle);
    let posted = load.run(&node.http, 5, |_| ());
    assert_eq!((posted.acknowledged.len(), posted.refused), (20, 0));
    posted.acknowledged.iter().for_each(|body| oracle.acknowledged(body));
    look(&node, oracle);
    assert_golden(&node);
    assert_eq!(node.admin("/readyz").status, 200);
    node.stop();
    let data_dir = root.join("data");
    oracle.look_at_stores(&data_dir, embedded_log(&data_dir)).unwrap();
    assert_eq!(set_aside(&data_dir), Vec::<String>::new());
}

/// Looks at a node that has to be right. The connection ends with it: a stop would wait for one.
fn look(node: &Node, oracle: &mut Oracle) {
    let mut clients = Clients::connect(&node.grpc).unwrap();
    let verdict = oracle.look(&mut clients).unwrap();
    assert!(verdict.is_right(), "{verdict:?}");
}

// --- full disk ----------------------------------------------------------------------------------

/// A small file system in memory, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"], at);
        Self(at.to_owned())
    }

    fn resize(&self, megabytes: u32) {
        mount(&["-o", &format!("remount,size={megabytes}m")], &self.0);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let plain = Command::new("umount").arg(&self.0).stderr(Stdio::null()).status();
        if !plain.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let output = Command::new("mount").args(arguments).arg(at).output();
    let output = output.unwrap_or_else(|error| panic!("run mount: {error}"));
    assert!(
        output.status.success(),
        "mounting a tmpfs needs root (CAP_SYS_ADMIN): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn faults_full_disk_is_answered_503_and_the_next_start_is_clean() {
    let root = TempDir::new().unwrap();
    let disk = Mounted::new(&root.path().join("data"), 64);
    let load = Load::new(21);
    let mut oracle = Oracle::new();
    let mut node = Node::start(root.path());
    let mut http = node.webhooks();
    let (mut accepted, mut refused) = (0, 0);
    // More than fits by far: the first refusal must come, and after it no 200 that is not kept.
    for n in 0..100 {
        let body = large(n);
        match http.post_signed(&body).unwrap().status {
            200 => {
                accepted += 1;
                oracle.acknowledged(&body);
            }
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    say(&format!("full disk: {accepted} posts of 1 MiB answered 200, {refused} answered 503"));
    assert!(accepted > 0 && refused > 0, "{accepted} 200s, {refused} 503s");
    assert!(accepted < 64, "{accepted} MiB on a disk of 64");
    assert_eq!(node.admin("/readyz").status, 503);
    assert_eq!(node.admin("/readyz/ingress").status, 503);
    node.signal(Signal::TERM);
    let ended = node.wait();
    assert!(ended.code.is_some(), "{ended:?}");
    drop(node);

    disk.resize(256);
    whole_and_serving(root.path(), &load, &mut oracle);
}

/// A status in a body of 1 MiB.
fn large(n: u32) -> Vec<u8> {
    let body = status_body(&format!("wamid.large.{n}"), "sent", i64::from(n));
    let padding = "p".repeat(1024 * 1024 - body.len());
    let head = body.strip_suffix('}').unwrap();
    format!(r#"{head},"padding":"{padding}"}}"#).into_bytes()
}

// --- rubbish ------------------------------------------------------------------------------------

#[test]
fn faults_rubbish_on_every_port_stops_nothing() {
    let root = TempDir::new().unwrap();
    let mut node = Node::start(root.path());
    let until = Instant::now() + Duration::from_secs(3);
    let thrown = thread::scope(|scope| {
        let ports = [&node.http, &node.grpc, &node.admin];
        let throwers: Vec<_> = (0_u64..)
            .zip(ports)
            .map(|(n, port)| scope.spawn(move || throw_rubbish(port, Rng(n + 31), until)))
            .collect();
        let mut posts = 0;
        while Instant::now() < until {
            node.post(status_body(&format!("wamid.rubbish.{posts}"), "sent", posts));
            posts += 1;
        }
        assert!(posts > 10, "{posts} posts between the rubbish");
        throwers.into_iter().map(|thrower| thrower.join().unwrap()).collect::<Vec<usize>>()
    });
    say(&format!("rubbish thrown at http, gRPC, admin: {thrown:?} connections"));
    assert!(thrown.iter().all(|thrown| *thrown > 20), "{thrown:?}");
    assert!(!node.has_ended());
    node.post(status_body("wamid.rubbish.0", "read", 1));
    assert_eq!(node.admin("/livez").status, 200);
    assert_eq!(node.admin("/readyz").status, 200);
    let golden = assert_golden(&node);
    assert!(golden.count() > 10);
    assert_eq!(node.rpc().message("wamid.rubbish.0").unwrap().state_text, "read");
    node.stop();
}

/// Connects, throws, and goes away, sometimes without a word; returns how often.
fn throw_rubbish(port: &str, mut rng: Rng, until: Instant) -> usize {
    let beginnings: [&[u8]; 8] = [
        b"",
        b"GET ",
        b"POST /webhook/main HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"half",
        b"POST /webhook/main HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        b"GET /readyz HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: -1\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ];
    let mut thrown = 0;
    // Some stay open for a while, and are dropped together.
    let mut open = Vec::new();
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(port) else { continue };
        let mut bytes = beginnings[rng.below(beginnings.len())].to_vec();
        let tail = rng.below(3_000);
        bytes.extend((0..tail).map(|_| rng.next().to_le_bytes()[0]));
        // It may hang up before it has read all of this.
        let _ = stream.write_all(&bytes);
        match rng.below(3) {
            0 => _ = stream.shutdown(Shutdown::Write),
            1 => open.push(stream),
            _ => {}
        }
        if open.len() > 40 {
            open.clear();
        }
        thrown += 1;
    }
    thrown
}

// --- lost and damaged directories ---------------------------------------------------------------

#[test]
fn faults_deleted_state_is_folded_again_and_nothing_is_emitted_again() {
    let root = TempDir::new().unwrap();
    let load = Load::new(41);
    let mut oracle = Oracle::new();
    let node = Node::start(root.path());
    let posted = load.run(&node.http, 40, |_| ());
    posted.acknowledged.iter().for_each(|body| oracle.acknowledged(body));
    let before = state_of(&node, &mut oracle);
    let ends = oracle.ends();
    assert!(oracle.outputs() > 160 && before.len() > 20);
    node.stop();

    for _ in 0..2 {
        fs::remove_dir_all(root.path().join("data/state")).unwrap();
        let node = Node::start(root.path());
        // The same oracle goes on: whatever is emitted again it would find twice.
        assert_eq!(state_of(&node, &mut oracle), before);
        assert_eq!(oracle.ends(), ends);
        node.kill9();
    }
    whole_and_serving(root.path(), &load, &mut oracle);
}

/// Every message as gRPC tells it, after a look of the oracle.
fn state_of(node: &Node, oracle: &mut Oracle) -> Vec<tickfold_proto::query::v1::Message> {
    look(node, oracle);
    let mut clients = Clients::connect(&node.grpc).unwrap();
    let wamids = oracle.wamids();
    wamids.chunks(500).flat_map(|w| clients.lookup(w, &[]).unwrap().found).collect()
}

#[test]
fn faults_flipped_byte_in_the_log_refuses_the_start_and_changes_nothing() {
    let root = TempDir::new().unwrap();
    let load = Load::new(51);
    let mut oracle = Oracle::new();
    let node = Node::start(root.path());
    let posted = load.run(&node.http, 30, |_| ());
    posted.acknowledged.iter().for_each(|body| oracle.acknowledged(body));
    node.kill9();

    let data = root.path().join("data");
    let newest = newest_wal(&data.join("log/db"));
    let sound = fs::read(&newest).unwrap();
    assert!(sound.len() > 100_000, "{} bytes in {}", sound.len(), newest.display());
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&newest, &damaged).unwrap();

    let before = contents(&data);
    for _ in 0..2 {
        let ended = Node::spawn(root.path(), up(root.path())).expect_err("a damaged log is served");
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let (_, place) = ended.stderr.split_once("first lost position wa.").unwrap_or_else(|| {
            panic!("no first lost position: {}", ended.stderr);
        });
        let (_, offset) = place.split_once('@').unwrap();
        assert!(offset.starts_with(|c: char| c.is_ascii_digit()), "{}", ended.stderr);
        say(&format!("a flipped byte: {}", ended.stderr.lines().last().unwrap()));
        let after = contents(&data);
        let changed: Vec<&PathBuf> = before
            .keys()
            .chain(after.keys())
            .filter(|path| before.get(*path) != after.get(*path))
            .collect();
        assert!(changed.is_empty(), "the refused start changed {changed:?}");
    }

    // With the byte as it was everything is there: the refusal took nothing away.
    fs::write(&newest, &sound).unwrap();
    whole_and_serving(root.path(), &load, &mut oracle);
}

/// The WAL with the highest number.
fn newest_wal(log: &Path) -> PathBuf {
    let files = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| is_wal(path, log)).max().unwrap()
}

/// All files below a directory, byte for byte; directories as nothing.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}
