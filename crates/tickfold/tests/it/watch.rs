//! Watches of the binary on the embedded log: each transition once over kills, slow and idle watchers,
//! the time from a POST to the watch, the command.
//!
//! CI runs 100 watchers over 5 kills, `TICKFOLD_SOAK=1` 1,000 over 20.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_messages_response::Item as State;
use tickfold_proto::query::v1::watch_service_client::WatchServiceClient;
use tickfold_proto::query::v1::watch_transitions_response::Item as Told;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::support::{
    Http, Node, PATIENCE, Quiet, Rng, WABA, eventually, is_soak, say, soak_row, status_body,
    tickfold, topic,
};
use crate::support_crash::Load;
use crate::watch_support::{Token, Watchers, percentiles};

/// Accounts of the load, and all of them at once.
pub(crate) fn accounts() -> Vec<String> {
    let accounts = (0..12).map(|account| (215_589_900_000_100_u64 + account).to_string());
    accounts.chain([String::new()]).collect()
}

/// Watchers over so many kills of the node under load; how many kills landed.
fn over_kills(seed: u64, watchers: &mut Watchers, node: Node, kills: usize) -> (Node, u64) {
    let (load, mut rng, root) = (Load::new(seed), Rng(seed), node.root.clone());
    let mut node = node;
    let mut landed = 0;
    for _ in 0..kills {
        let (http, after) = (node.http.clone(), 5 + rng.below(100));
        let broken = watchers.broken();
        load.run(&http, 60, |progress| {
            progress.wait_for(after.try_into().unwrap());
            assert!(!node.has_ended(), "seed {seed}: it ended by itself");
            node.kill9();
        });
        eventually("streams broke", || (watchers.broken() > broken).then_some(()));
        landed += 1;
        node = Node::start(&root);
        watchers.name_nodes(&[&node.grpc]);
    }
    load.run(&node.http, 40, |_| ());
    (node, landed)
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn transitions_are_told_once_and_in_order_over_kills() {
    let (count, kills) = if is_soak() { (1_000, 20) } else { (100, 5) };
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut watchers = Watchers::new(&[&node.grpc]);
    watchers.start(count, &accounts(), Token::Kept);
    watchers.all_open(1);
    let (node, landed) = over_kills(81, &mut watchers, node, kills);
    let verdict = watchers.verdict(&node);
    say(&format!(
        "{count} watches over {landed} kills: {} streams, at least {} transitions each, {} lost, {} \
         twice, {} out of order",
        watchers.opened(),
        watchers.least(),
        verdict.lost,
        verdict.twice,
        verdict.out_of_order
    ));
    let attempted = kills.try_into().unwrap();
    let row = format!("{count} watches over kill -9");
    soak_row(&row, attempted, landed, verdict.lost, verdict.twice);
    assert_eq!(verdict, <_>::default());
    assert!(watchers.opened() >= count * kills / 2, "{} resumed", watchers.opened());
    drop(watchers);
    node.stop();
}

/// The null control, and the check that can fail: without kills everything is right, and with one a
/// watcher that does not keep its token is told twice.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn without_kills_nothing_breaks_and_without_tokens_they_show() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut watchers = Watchers::new(&[&node.grpc]);
    watchers.start(20, &accounts(), Token::Kept);
    let (node, _) = over_kills(82, &mut watchers, node, 0);
    assert_eq!(watchers.verdict(&node), <_>::default());
    assert_eq!((watchers.opened(), watchers.broken()), (20, 0));
    drop(watchers);

    let mut careless = Watchers::new(&[&node.grpc]);
    careless.start(5, &accounts(), Token::Dropped);
    careless.all_open(1);
    let (node, landed) = over_kills(83, &mut careless, node, 1);
    careless.all_open(2);
    assert_eq!(landed, 1);
    let verdict = careless.verdict(&node);
    assert!(verdict.lost == 0 && verdict.twice > 0, "{verdict:?}");
    drop(careless);
    node.stop();
}

/// Watches of messages over kills in the middle of what is told: states rise, and end as a lookup tells
/// them. A watch goes on where its token says, which one with an older token shows.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn states_never_fall_over_kills_and_end_as_they_are() {
    let dir = TempDir::new().unwrap();
    let mut node = Node::start(dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wamids: Vec<String> = (0..50).map(|index| format!("wamid.W{index}")).collect();
    let seed = 86;
    let mut rng = Rng(seed);
    let mut shown = Shown { states: vec![0; wamids.len()], ..Default::default() };
    let mut earlier = String::new();
    for (rank, word) in (1_i64..).zip(&RANKS[1..]) {
        earlier.clone_from(&shown.token);
        // Some are told of twice, some out of order.
        let post = |http: &mut Http, index: usize| {
            let late = index.is_multiple_of(7).then(|| status_body(&wamids[index], "sent", 1));
            let bodies = [Some(status_body(&wamids[index], word, rank)), late];
            let mut answers = bodies.iter().flatten().map(|body| http.post_signed(body.as_bytes()));
            answers.all(|answer| answer.is_ok_and(|answer| answer.status == 200))
        };
        let wanted = usize::try_from(rank).unwrap();
        let kill_after = 1 + rng.below(wamids.len() - AHEAD_MAX - 1);
        let mut stream = watch_messages(&runtime, &node.grpc, &wamids, &shown.token);
        let (http, heard) = (node.http.clone(), AtomicUsize::new(0));
        let posted = std::thread::scope(|scope| {
            // Never far ahead of what is told, so that the kill finds both in the middle.
            let posting = scope.spawn(|| {
                let mut http = Http::new(&http);
                let in_turn = |index: &usize| {
                    eventually("what was posted is told", || {
                        (*index < heard.load(Ordering::SeqCst) + AHEAD_MAX).then_some(())
                    });
                    post(&mut http, *index)
                };
                (0..wamids.len()).take_while(in_turn).count()
            });
            while heard.load(Ordering::SeqCst) < kill_after {
                shown.take(&wamids, next(&runtime, &mut stream));
                heard.store(shown.reached(wanted), Ordering::SeqCst);
            }
            assert!(!node.has_ended(), "seed {seed}: it ended by itself");
            node.kill9();
            heard.store(wamids.len(), Ordering::SeqCst);
            posting.join().unwrap()
        });
        assert!(posted < wamids.len(), "seed {seed}: the kill struck nothing in round {word}");
        node = Node::start(dir.path());
        let mut stream = watch_messages(&runtime, &node.grpc, &wamids, &shown.token);
        let mut http = node.webhooks();
        assert!((posted..wamids.len()).all(|index| post(&mut http, index)));
        let deadline = Instant::now() + PATIENCE;
        while shown.reached(wanted) < wamids.len() {
            assert!(Instant::now() < deadline, "{word}: {:?}", shown.states);
            shown.take(&wamids, next(&runtime, &mut stream));
        }
    }
    let Shown { token, told, skipped, .. } = shown;
    say(&format!("states over kills: {told} told, {skipped} changes conflated"));
    assert!(told >= 3 * wamids.len(), "{told}");

    // What a token is told until it has caught up, and the token of then.
    let told_by = |token: &str| {
        let (mut stream, mut told) = (watch_messages(&runtime, &node.grpc, &wamids, token), 0);
        loop {
            let response = next(&runtime, &mut stream);
            match response.item {
                Some(State::Mark(CAUGHT_UP)) => return (told, response.resume_token),
                _ => told += 1,
            }
        }
    };
    let (_, token) = told_by(&token);
    // The one that changed last may be told again.
    assert!(told_by(&token).0 <= 1, "a token of now");
    assert_eq!(told_by(&earlier).0, wamids.len(), "a token of before the last round");

    // A stop ends the stream with a mark, and says to come again.
    let mut stream = watch_messages(&runtime, &node.grpc, &wamids, &token);
    while next(&runtime, &mut stream).item != Some(State::Mark(CAUGHT_UP)) {}
    node.stop();
    let mark = next(&runtime, &mut stream);
    assert_eq!(mark.item, Some(State::Mark(pb::WatchMark::Bookmark.into())));
    let ended = runtime.block_on(stream.message()).unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable, "{ended:?}");
}

/// States in the order in which they come.
const RANKS: [&str; 4] = ["", "sent", "delivered", "read"];
/// Messages that may be posted before what was posted is told.
const AHEAD_MAX: usize = 10;

/// What a watcher of messages was shown.
#[derive(Debug, Default)]
struct Shown {
    /// The rank of each message.
    states: Vec<usize>,
    /// Of the last response that was taken in.
    token: String,
    told: usize,
    skipped: u64,
}

impl Shown {
    /// Takes in a response, which shows nothing older than what was shown before.
    fn take(&mut self, wamids: &[String], response: pb::WatchMessagesResponse) {
        self.skipped += response.skipped_revisions;
        self.token = response.resume_token;
        let Some(State::Message(message)) = response.item else { return };
        self.told += 1;
        let index = wamids.iter().position(|wamid| *wamid == message.wamid).unwrap();
        let state = RANKS.iter().position(|word| *word == message.state_text).unwrap();
        let before = std::mem::replace(&mut self.states[index], state);
        assert!(before <= state, "{} fell to {}", message.wamid, message.state_text);
    }

    /// How many messages have reached a rank.
    fn reached(&self, rank: usize) -> usize {
        self.states.iter().filter(|state| **state >= rank).count()
    }
}

const CAUGHT_UP: i32 = pb::WatchMark::CaughtUp as i32;

fn client(
    runtime: &tokio::runtime::Runtime,
    address: &str,
) -> WatchServiceClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    WatchServiceClient::new(runtime.block_on(endpoint.connect()).unwrap())
}

fn watch_messages(
    runtime: &tokio::runtime::Runtime,
    address: &str,
    wamids: &[String],
    token: &str,
) -> Streaming<pb::WatchMessagesResponse> {
    let request = pb::WatchMessagesRequest {
        wamids: wamids.to_vec(),
        view: 0,
        resume_token: token.to_owned(),
    };
    let mut client = client(runtime, address);
    runtime.block_on(client.watch_messages(request)).unwrap().into_inner()
}

fn next<R>(runtime: &tokio::runtime::Runtime, stream: &mut Streaming<R>) -> R {
    let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, stream.message()).await });
    next.expect("a response in time").unwrap().expect("no end")
}

fn of_account(waba_id: &str) -> pb::WatchTransitionsRequest {
    pb::WatchTransitionsRequest { waba_id: waba_id.to_owned(), ..Default::default() }
}

/// Time from each POST to its transition in a watch.
pub(crate) fn delays(http: &str, grpc: &str, name: &str, samples: usize) -> Vec<Duration> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut client = client(&runtime, grpc);
    let stream = runtime.block_on(client.watch_transitions(of_account(WABA))).unwrap();
    let mut stream = stream.into_inner();
    // The mark first, so that the watch is there before the webhooks.
    next(&runtime, &mut stream);
    let mut http = Http::new(http);
    let mut delays = Vec::new();
    for index in 0..samples {
        let wamid = format!("wamid.{name}.{index}");
        let body = status_body(&wamid, "sent", 1);
        let begin = Instant::now();
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        loop {
            let Some(Told::Transition(told)) = next(&runtime, &mut stream).item else { continue };
            if told.wamid == wamid {
                break;
            }
        }
        delays.push(begin.elapsed());
    }
    delays
}

#[test]
fn slow_watchers_do_not_slow_others_and_miss_nothing() {
    const SLOW: usize = 200;
    const SAMPLES: usize = 200;
    // A busy machine has outliers of its own, so each side has its quietest turn of several. Watchers that
    // slowed the others would do it in each.
    const TURNS: usize = 3;
    const TURNS_MAX: usize = 8;
    let quiet = Quiet::within(Duration::from_secs(15));
    let dir = TempDir::new().unwrap();
    let node = match &quiet {
        Some(quiet) => Node::start_in_quiet(dir.path(), quiet),
        None => Node::start(dir.path()),
    };
    delays(&node.http, &node.grpc, "warm", 20);
    let turn = |name: &str, turn: usize| {
        percentiles(&mut delays(&node.http, &node.grpc, &format!("{name}.{turn}"), SAMPLES))
    };
    let (p99, alone) = (0..TURNS).map(|at| turn("alone", at)).min().unwrap();

    // They open and never read. A stream takes in 64 KiB by itself, so there is more than that.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut slow = Vec::new();
    for _ in 0..SLOW / 50 {
        let mut client = client(&runtime, &node.grpc);
        for _ in 0..50 {
            let stream = runtime.block_on(client.watch_transitions(of_account(WABA))).unwrap();
            slow.push(stream.into_inner());
        }
    }
    post_many(&node, "filler", 20, 50);
    eventually("what they take in by themselves is told", || {
        let told = sum(&node, "tickfold_query_watch_items_total");
        std::thread::sleep(Duration::from_millis(200));
        (told == sum(&node, "tickfold_query_watch_items_total")).then_some(())
    });
    let mut turns = (0..TURNS_MAX).map(|at| turn("beside", at));
    let mut quietest = turns.next().unwrap();
    while quietest.0 > p99 * 2
        && let Some(beside) = turns.next()
    {
        quietest = quietest.min(beside);
    }
    let (p99_beside, beside) = quietest;
    let load = if quiet.is_some() { "idle node" } else { "beside nodes of other tests" };
    say(&format!(
        "POST to watch, embedded, {load}: {alone}; beside {SLOW} that never read: {beside}"
    ));
    drop(quiet);
    assert!(p99_beside <= p99 * 2, "{p99:?} {p99_beside:?}");

    // One of them wakes up, far behind, and has everything once.
    let records = node.tail(&topic(Topic::Transition)).into_iter().map(|record| record.json());
    let records: Vec<_> = records.filter(|value| value["waba_id"] == WABA).collect();
    let text = |value: &Value| value["event_id"].as_str().unwrap().to_owned();
    let wanted: Vec<_> = records.iter().map(text).collect();
    let mut found = Vec::new();
    let mut stream = slow.swap_remove(77);
    // What the others of its connection do not read is in its way: that is HTTP/2, and the client's.
    drop(slow);
    while found.last() != wanted.last() {
        if let Some(Told::Transition(told)) = next(&runtime, &mut stream).item {
            found.push(told.origin.unwrap().event_id);
        }
    }
    let begin = wanted.iter().position(|id| *id == found[0]).unwrap();
    assert_eq!(found, wanted[begin..]);
    assert!(found.len() > 1_000, "{}", found.len());
    drop(stream);
    node.stop();
}

/// How fast many watchers of one account are told. Prints, and asserts only that everybody is told.
#[test]
fn many_watchers_of_one_account() {
    const WATCHERS: usize = 100;
    const WEBHOOKS: usize = 20;
    const STATUSES: usize = 50;
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut watchers = Watchers::new(&[&node.grpc]);
    watchers.start(WATCHERS, &[WABA.to_owned()], Token::Kept);
    watchers.all_open(1);
    let begin = Instant::now();
    post_many(&node, "fan", WEBHOOKS, STATUSES);
    eventually("everybody has everything", || {
        (watchers.least() >= WEBHOOKS * STATUSES).then_some(())
    });
    let (elapsed, told) = (begin.elapsed(), WATCHERS * WEBHOOKS * STATUSES);
    let rate = told as f64 / elapsed.as_secs_f64();
    say(&format!("{told} transitions to {WATCHERS} watchers in {elapsed:.2?}: {rate:.0}/s"));
    assert_eq!(watchers.verdict(&node), <_>::default());
    drop(watchers);
    node.stop();
}

/// Posts webhooks of so many statuses each.
fn post_many(node: &Node, name: &str, webhooks: usize, statuses: usize) {
    let mut http = node.webhooks();
    for index in 0..webhooks {
        let statuses: Vec<_> = (0..statuses)
            .map(|n| crate::support::status(&format!("wamid.{name}.{index}.{n}"), "sent", 1))
            .collect();
        let value = format!(r#""statuses":[{}]"#, statuses.join(","));
        let body = crate::support::messages_of(WABA, &value);
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
    }
}

/// The sum of a metric over its labels.
fn sum(node: &Node, name: &str) -> f64 {
    let page = node.admin("/metrics").text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn idle_watchers_are_cheap() {
    const COUNT: usize = 10_000;
    const PER_CONNECTION: usize = 100;
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    node.post(status_body("wamid.I0", "sent", 1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let open = |first: usize| {
        let mut client = client(&runtime, &node.grpc);
        let mut streams = Vec::new();
        for index in first..first + PER_CONNECTION {
            let wamids = vec![format!("wamid.I{index}")];
            let request = pb::WatchMessagesRequest { wamids, ..Default::default() };
            let stream = runtime.block_on(client.watch_messages(request)).unwrap();
            let mut stream = stream.into_inner();
            while !matches!(next(&runtime, &mut stream).item, Some(State::Mark(_))) {}
            streams.push(stream);
        }
        streams
    };
    // The first ones open the topics.
    let mut streams = open(0);
    let before = resident(&node);
    for first in (PER_CONNECTION..COUNT + PER_CONNECTION).step_by(PER_CONNECTION) {
        streams.extend(open(first));
    }
    let bytes = resident(&node).saturating_sub(before) / COUNT;
    say(&format!("{COUNT} idle watches of a message: {bytes} bytes each, connections included"));
    assert_eq!(streams.len(), COUNT + PER_CONNECTION);
    let open = sum(&node, "tickfold_query_watch_streams");
    assert!((open - (COUNT + PER_CONNECTION) as f64).abs() < 0.5, "{open}");
    // They live: the last one is told.
    node.post(status_body(&format!("wamid.I{COUNT}"), "sent", 1));
    let stream = &mut streams[COUNT];
    loop {
        if let Some(State::Message(message)) = next(&runtime, stream).item {
            assert_eq!(message.state_text, "sent");
            break;
        }
    }
    assert!(bytes <= 20 * 1024, "{bytes}");
    drop(streams);
    node.stop();
}

/// Resident memory of the node.
fn resident(node: &Node) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A `tickfold watch` that writes JSON lines to a pipe.
pub(crate) fn spawn_watch(node: &Node, args: &[impl AsRef<OsStr>], file: &Path) -> Child {
    let mut command = tickfold();
    command.arg("watch").args(args).args(["-o", "jsonl", "--grpc-addr", &node.grpc]);
    command.arg("--resume-token-file").arg(file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn the_command_goes_on_where_it_was_after_it_was_killed() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let file = dir.path().join("token");
    let mut found: Vec<String> = Vec::new();
    let mut repeated = 0;
    for life in 0..3 {
        for index in 0..10 {
            node.post(status_body(&format!("wamid.CLI.{life}.{index}"), "sent", 1));
        }
        let args = ["transitions", "--waba", WABA, "--from-beginning"];
        let mut child = spawn_watch(&node, &args, &file);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(event_id) = line["transition"]["event_id"].as_str() else { continue };
            if found.iter().any(|id| id == event_id) {
                repeated += 1;
                continue;
            }
            found.push(event_id.to_owned());
            let message = line["transition"]["wamid"].as_str().unwrap_or_default();
            if message == format!("wamid.CLI.{life}.9") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let records = node.tail(&topic(Topic::Transition)).into_iter().map(|record| record.json());
    let own = records.filter(|value| value["waba_id"] == WABA);
    let wanted: Vec<_> = own.map(|value| value["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found[..], wanted[..found.len()]);
    assert!(found.len() >= 30 && repeated <= 2, "{} found, {repeated} twice", found.len());

    let shown = node.cli(&["watch", "message", "wamid.CLI.0.0", "wamid.NONE", "--until-caught-up"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("state") && shown.stdout.contains("wamid.NONE: not known"));
    let number =
        node.cli(&["watch", "number", crate::support::NUMBER, "--limit", "1", "-o", "jsonl"]);
    let number: Value = serde_json::from_str(&number.stdout).unwrap();
    assert_eq!(number["number"]["waba_id"], WABA);
    // The token belongs to its arguments.
    let file = file.to_str().unwrap();
    let refused = node.cli(&["watch", "alerts", "--resume-token-file", file, "--limit", "1"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("RESUME_TOKEN_MISMATCH"), "{refused:?}");
    node.stop();
}
