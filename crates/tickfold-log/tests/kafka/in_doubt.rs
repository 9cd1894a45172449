//! Requests that arrive late: after their connection was cut, their repetition was answered and the
//! producer went on. librdkafka repeats them by itself, so a commit in which that happens says Ok.
//!
//! With a broker of today and the protocol that librdkafka speaks, the late request takes effect in
//! whatever transaction its producer then has open. The log gives such a producer up, and the next
//! one's epoch keeps the late request out. With that rule off the same story goes wrong, which is
//! the proof that the fault lands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tickfold_log::{
    CommitError, Committed, KafkaLog, KafkaOptions, Log, OwnedPartition, TopicPartition,
    kafka_fail_point,
};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::{
    bench::{Bench, append, options, position, soak_row},
    broker, proxy,
};

/// The brokers' words for "no error" and for a producer whose epoch is over.
const DONE: i16 = 0;
const EPOCH_IS_OVER: i16 = 47;

/// Which request is late, and before which one it arrives.
#[derive(Debug, Clone, Copy)]
struct Story {
    held: i16,
    /// Its connection is cut. Otherwise the client's patience ends it.
    cut: bool,
    until: (i16, usize),
    /// The owner dies when the late request arrived. Otherwise it finishes its commit first.
    dies: bool,
}

/// The end of the first transaction arrives in the second, between its output and its position.
const LATE_END: Story =
    Story { held: proxy::END_TXN, cut: true, until: (proxy::ADD_OFFSETS_TO_TXN, 1), dies: true };
/// The position of the first transaction arrives in the second, behind its position.
const LATE_POSITION: Story =
    Story { held: proxy::TXN_OFFSET_COMMIT, cut: true, until: (proxy::END_TXN, 2), dies: false };

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The broker's answer to the late request.
    late: i16,
    /// What a successor found, and what is there after it.
    position: Committed,
    outputs: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_end_of_a_transaction_does_no_harm() {
    let _present = proxy::PRESENT.read().await;
    let times = if is_soak() { 50 } else { 5 };
    let right = Outcome::of(EPOCH_IS_OVER, position(1, "a"), &["a", "b"]);
    for _ in 0..times {
        assert_eq!(run(LATE_END, false).await, right);
    }
    // The output is there without its position, so it is sent again.
    let wrong = Outcome::of(DONE, position(1, "a"), &["a", "b", "b"]);
    assert_eq!(run(LATE_END, true).await, wrong, "with the producer kept");
    // The client waits until its patience ends instead of being told. Brokers look for transactions
    // that take too long every ten seconds, so the repetition is in time.
    assert_eq!(run(Story { cut: false, ..LATE_END }, false).await, right);
    soak_row("late EndTxn on kafka", times + 1, times + 1, 0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_position_does_no_harm() {
    let _present = proxy::PRESENT.read().await;
    let times = if is_soak() { 20 } else { 2 };
    let right = Outcome::of(EPOCH_IS_OVER, position(2, "b"), &["a", "b"]);
    for _ in 0..times {
        assert_eq!(run(LATE_POSITION, false).await, right);
    }
    let wrong = Outcome::of(DONE, position(1, "a"), &["a", "b", "b"]);
    assert_eq!(run(LATE_POSITION, true).await, wrong, "with the producer kept");
    soak_row("late TxnOffsetCommit on kafka", times, times, 0, 0);
}

/// Two commits of an owner, with a request of the first arriving in the second; then a successor.
async fn run(story: Story, trust_repeated: bool) -> Outcome {
    let bench = Bench::new(broker::own().plain.clone(), "doubt").await;
    let (input, out) = (bench.at(0), bench.at(1));
    let proxy = proxy::shared();
    let mut options = KafkaOptions { trust_repeated, ..options(&broker::own().proxy) };
    if !story.cut {
        // librdkafka waits for an answer as long as a transaction may take.
        options.transaction_timeout = Duration::from_secs(3);
    }
    let log = KafkaLog::connect(options).unwrap();
    let mut owned = log.claim("g", &input).await.unwrap().partition;
    let id = format!("g/{}/0", bench.topic);
    let delay = proxy.delay(&id, (story.held, story.cut), story.until);
    let first = owned.commit([append(&out, "a")].into(), position(1, "a")).await;
    first.expect("the repetition is answered");

    let second = tokio::spawn(commit_second(Arc::clone(&log), owned, input.clone(), out.clone()));
    let late = Arc::clone(&delay);
    let (answer, repeated) = tokio::task::spawn_blocking(move || late.arrived()).await.unwrap();
    assert!(repeated >= 1, "the request was not repeated");
    let late = code(story, &answer);
    println!("{story:?}: repeated {repeated} times, then answered {late}");
    if !story.dies {
        delay.go_on();
        second.await.unwrap().expect("the second commit goes through");
        return succeed(&bench, late).await;
    }
    let outcome = succeed(&bench, late).await;
    delay.go_on();
    let fenced = second.await.unwrap();
    assert!(matches!(fenced, Err(CommitError::Fenced)), "the successor came first: {fenced:?}");
    outcome
}

/// Commits, and resolves doubt as the processor does.
async fn commit_second(
    log: Arc<KafkaLog>,
    mut owned: Box<dyn OwnedPartition>,
    input: TopicPartition,
    out: TopicPartition,
) -> Result<(), CommitError> {
    let (outputs, to): (Arc<[_]>, _) = ([append(&out, "b")].into(), position(2, "b"));
    match owned.commit(outputs.clone(), to.clone()).await {
        Err(CommitError::Unclear { .. }) => {
            let mut claim = log.claim("g", &input).await.unwrap();
            assert_eq!(claim.committed, Some(position(1, "a")), "the first commit said Ok");
            claim.partition.commit(outputs, to).await
        }
        outcome => outcome,
    }
}

/// Takes over: sends what its position says is missing.
async fn succeed(bench: &Bench, late: i16) -> Outcome {
    let mut claim = bench.log.claim("g", &bench.at(0)).await.unwrap();
    let committed = claim.committed.unwrap();
    if committed != position(2, "b") {
        let output = append(&bench.at(1), "b");
        claim.partition.commit([output].into(), position(2, "b")).await.unwrap();
    }
    Outcome { late, position: committed, outputs: bench.values(1).await }
}

impl Outcome {
    fn of(late: i16, position: Committed, outputs: &[&str]) -> Self {
        let outputs = outputs.iter().map(|&output| output.to_owned()).collect();
        Self { late, position, outputs }
    }
}

/// The error code of an answer: at its end, or before the empty tags of three structures.
fn code(story: Story, answer: &[u8]) -> i16 {
    let tags = if story.held == proxy::END_TXN { 0 } else { 3 };
    let end = answer.len() - tags;
    i16::from_be_bytes([answer[end - 2], answer[end - 1]])
}

fn is_soak() -> bool {
    std::env::var("TICKFOLD_SOAK").is_ok_and(|soak| soak == "1")
}

/// librdkafka tries to end a transaction for as long as the brokers are away. The commit is in doubt before
/// that, and the way out waits neither for it nor for one that nobody waits for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_end_finds_no_broker_are_in_doubt_and_hold_nothing_up() {
    const CALL: Duration = Duration::from_secs(2);
    const TRANSACTION: Duration = Duration::from_secs(3);
    const AWAY: Duration = Duration::from_secs(25);
    /// How many commits stand before their end, and whether they go on.
    static STANDING: AtomicUsize = AtomicUsize::new(0);
    static GO_ON: AtomicBool = AtomicBool::new(true);
    fn stand(place: &'static str) {
        if place == kafka_fail_point::POSITION_ADDED && !GO_ON.load(Ordering::SeqCst) {
            STANDING.fetch_add(1, Ordering::SeqCst);
            while !GO_ON.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    tracing::subscriber::set_global_default(Heard).expect("the only subscriber of these tests");
    let bench = Bench::new(broker::own().plain.clone(), "away").await;
    let (_alone, proxy) = (proxy::PRESENT.write().await, proxy::shared());
    let log = KafkaLog::connect(KafkaOptions {
        call_timeout: CALL,
        transaction_timeout: TRANSACTION,
        fail_point: stand,
        ..options(&broker::own().proxy)
    });
    let log = log.unwrap();
    let mut owned = Vec::new();
    for group in ["waited", "dropped"] {
        let mut claimed = log.claim(group, &bench.at(0)).await.unwrap().partition;
        claimed.commit([append(&bench.at(1), group)].into(), position(1, "a")).await.unwrap();
        owned.push(claimed);
    }

    GO_ON.store(false, Ordering::SeqCst);
    let out = bench.at(1);
    let mut commits: Vec<_> = owned
        .into_iter()
        .zip(["waited", "dropped"])
        .map(|(mut claimed, group)| {
            let output = append(&out, group);
            tokio::spawn(async move { claimed.commit([output].into(), position(2, "b")).await })
        })
        .collect();
    while STANDING.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let back = tokio::spawn(proxy.comes_back(AWAY, Duration::ZERO));
    tokio::time::sleep(Duration::from_millis(100)).await;
    GO_ON.store(true, Ordering::SeqCst);
    let (begun, heard) = (Instant::now(), HEARD.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_millis(500)).await;
    commits.pop().unwrap().abort();
    let outcome = commits.pop().unwrap().await.unwrap();
    let took = begun.elapsed();
    assert!(matches!(outcome, Err(CommitError::Unclear { .. })), "{outcome:?}");
    assert!(took >= TRANSACTION + CALL && took < AWAY / 2, "{took:?}");
    let heard = HEARD.load(Ordering::SeqCst) - heard;
    assert!(heard > 0, "what the clients tell gathers while their threads are in a call");
    let closing = Instant::now();
    log.close().await.unwrap();
    println!("in doubt after {took:.1?}, closed after {:.1?}", closing.elapsed());
    assert!(closing.elapsed() >= CALL, "the one that was dropped is under way");
    assert!(begun.elapsed() < AWAY - CALL, "the broker is still away");

    back.await.unwrap();
    let mut twice = 0;
    for group in ["waited", "dropped"] {
        let committed = bench.log.claim(group, &bench.at(0)).await.unwrap().committed;
        let outputs = bench.values(1).await.iter().filter(|value| *value == group).count();
        let both = [(1, position(1, "a")), (2, position(2, "b"))];
        assert!(both.contains(&(outputs, committed.clone().unwrap())), "{outputs}, {committed:?}");
        twice += outputs - 1;
    }
    println!("{twice} of 2 took effect");
}

/// Counts what clients tell that is heard by the thread that looks after them.
struct Heard;

static HEARD: AtomicUsize = AtomicUsize::new(0);

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "tickfold_log::kafka::context"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        if std::thread::current().name() == Some("tickfold-kafka-keeper") {
            HEARD.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
