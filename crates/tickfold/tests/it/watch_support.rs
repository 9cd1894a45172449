//! Watchers as their users would write them: they keep the token of the last response that they took
//! in, and come again with it, to whichever node there is. What they saw is compared with the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tickfold_core::records::Topic;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_service_client::WatchServiceClient;
use tickfold_proto::query::v1::watch_transitions_response::Item;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::support::{Node, PATIENCE, topic};

/// Streams on one connection: a server takes 128.
const STREAMS: usize = 100;

/// Pause before a node is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// The addresses of the nodes that can be asked now.
pub(crate) type Nodes = Arc<Mutex<Vec<String>>>;

/// Many watchers on a runtime of their own.
pub(crate) struct Watchers {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) nodes: Nodes,
    all: Vec<Watcher>,
}

/// What becomes of the token when a stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Kept,
    /// The planted mistake: begins anew each time.
    Dropped,
}

struct Watcher {
    waba_id: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What a watcher took in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) event_ids: Vec<String>,
    pub(crate) opened: usize,
    pub(crate) broken: usize,
    /// A refusal that no watcher should meet.
    pub(crate) odd: Option<String>,
}

/// What is wrong with what watchers saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) out_of_order: u64,
}

/// Channels to whichever nodes there are, few for many watchers.
#[derive(Debug, Default)]
struct Channels(Mutex<BTreeMap<(String, usize), Channel>>);

impl Channels {
    fn get(&self, address: &str, group: usize) -> Channel {
        let mut channels = self.0.lock().unwrap();
        let new = || {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            endpoint.http2_keep_alive_interval(Duration::from_secs(5)).connect_lazy()
        };
        channels.entry((address.to_owned(), group)).or_insert_with(new).clone()
    }
}

impl Watchers {
    pub(crate) fn new(nodes: &[&str]) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let nodes = Arc::new(Mutex::new(nodes.iter().map(ToString::to_string).collect()));
        Self { runtime, nodes, all: Vec::new() }
    }

    pub(crate) fn name_nodes(&self, nodes: &[&str]) {
        *self.nodes.lock().unwrap() = nodes.iter().map(ToString::to_string).collect();
    }

    /// Starts watchers from the beginning of the topic, one for each account in turn; the empty one
    /// is all of them.
    pub(crate) fn start(&mut self, count: usize, accounts: &[String], token: Token) {
        let channels = Arc::new(Channels::default());
        for index in 0..count {
            let waba_id = accounts[index % accounts.len()].clone();
            let seen = Arc::<Mutex<Seen>>::default();
            let run = run(
                (index, token),
                Arc::clone(&self.nodes),
                Arc::clone(&channels),
                waba_id.clone(),
                Arc::clone(&seen),
            );
            let task = self.runtime.spawn(run);
            self.all.push(Watcher { waba_id, seen, task });
        }
    }

    /// Waits until all of them have a stream.
    pub(crate) fn all_open(&self, times: usize) {
        crate::support::eventually("all watchers have a stream", || {
            let open = |watcher: &Watcher| watcher.seen.lock().unwrap().opened >= times;
            self.all.iter().all(open).then_some(())
        });
    }

    pub(crate) fn opened(&self) -> usize {
        self.all.iter().map(|watcher| watcher.seen.lock().unwrap().opened).sum()
    }

    pub(crate) fn broken(&self) -> usize {
        self.all.iter().map(|watcher| watcher.seen.lock().unwrap().broken).sum()
    }

    /// Compares with the topic, once everybody has as much as is there; who has not by the deadline
    /// has lost something.
    pub(crate) fn verdict(&self, node: &Node) -> Verdict {
        let deadline = Instant::now() + PATIENCE;
        // Nothing is posted any more, but what was answered may be on its way into the topic.
        let wanted = crate::support::eventually("everything is in the topic", || {
            crate::support::assert_golden(node);
            Some(Wanted::of(node))
        });
        loop {
            let mut verdict = Verdict::default();
            for watcher in &self.all {
                let seen = watcher.seen.lock().unwrap();
                assert_eq!(seen.odd, None);
                wanted.compare(&watcher.waba_id, &seen.event_ids, &mut verdict);
            }
            if verdict.lost == 0 || Instant::now() > deadline {
                return verdict;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many records each watcher has at least.
    pub(crate) fn least(&self) -> usize {
        self.all.iter().map(|w| w.seen.lock().unwrap().event_ids.len()).min().unwrap_or_default()
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.all.iter().for_each(|watcher| watcher.task.abort());
    }
}

/// The transitions of the topic: partition and event id by account, in order.
struct Wanted(BTreeMap<String, Vec<(u32, String)>>);

impl Wanted {
    fn of(node: &Node) -> Self {
        let mut wanted = BTreeMap::<String, Vec<_>>::new();
        for record in node.tail(&topic(Topic::Transition)) {
            let value = record.json();
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let one = (record.partition, text("event_id"));
            let waba_id = text("waba_id");
            if !waba_id.is_empty() {
                wanted.entry(waba_id).or_default().push(one.clone());
            }
            wanted.entry(String::new()).or_default().push(one);
        }
        Self(wanted)
    }

    fn compare(&self, waba_id: &str, seen: &[String], verdict: &mut Verdict) {
        let nothing = Vec::new();
        let wanted = self.0.get(waba_id).unwrap_or(&nothing);
        let once: BTreeSet<&String> = seen.iter().collect();
        let all: BTreeSet<&String> = wanted.iter().map(|(_, event_id)| event_id).collect();
        verdict.lost += u64::try_from(all.difference(&once).count()).unwrap();
        verdict.twice += u64::try_from(seen.len() - once.len()).unwrap();
        // Within a partition the order is that of the topic.
        let places: BTreeMap<&String, (u32, usize)> =
            wanted.iter().enumerate().map(|(at, (p, id))| (id, (*p, at))).collect();
        let mut last = BTreeMap::new();
        for id in seen {
            let Some((partition, at)) = places.get(id) else {
                verdict.out_of_order += 1;
                continue;
            };
            let before = last.insert(*partition, *at);
            verdict.out_of_order += u64::from(before.is_some_and(|before| before > *at));
        }
    }
}

#[test]
fn a_transition_that_is_lost_told_twice_or_in_another_order_is_seen() {
    let wanted = ["0-0-0", "0-1-0", "1-0-0"].map(|id| (u32::from(id.starts_with('1')), id.into()));
    let wanted = Wanted(BTreeMap::from([(String::new(), wanted.to_vec())]));
    let check = |seen: &[&str]| {
        let mut verdict = Verdict::default();
        let seen: Vec<_> = seen.iter().map(ToString::to_string).collect();
        wanted.compare("", &seen, &mut verdict);
        (verdict.lost, verdict.twice, verdict.out_of_order)
    };
    assert_eq!(check(&["0-0-0", "1-0-0", "0-1-0"]), (0, 0, 0));
    assert_eq!(check(&["0-0-0", "1-0-0"]), (1, 0, 0));
    assert_eq!(check(&["0-0-0", "0-1-0", "0-1-0", "1-0-0"]), (0, 1, 0));
    assert_eq!(check(&["0-1-0", "0-0-0", "1-0-0"]), (0, 0, 1));
    assert_eq!(check(&["0-0-0", "0-1-0", "1-0-0", "9-9-9"]), (0, 0, 1));
}

/// A watcher, for ever.
async fn run(
    (index, token): (usize, Token),
    nodes: Nodes,
    channels: Arc<Channels>,
    waba_id: String,
    seen: Arc<Mutex<Seen>>,
) {
    let mut resume_token = String::new();
    for round in 0_usize.. {
        let address = {
            let nodes = nodes.lock().unwrap();
            // Another node after each failure, where there are several.
            nodes.get((index + round) % nodes.len().max(1)).cloned()
        };
        if let Some(address) = address {
            let channel = channels.get(&address, index / STREAMS);
            let request = pb::WatchTransitionsRequest {
                waba_id: waba_id.clone(),
                from_beginning: true,
                resume_token: resume_token.clone(),
                view: 0,
            };
            match WatchServiceClient::new(channel).watch_transitions(request).await {
                Ok(stream) => {
                    seen.lock().unwrap().opened += 1;
                    let mut stream = stream.into_inner();
                    while let Ok(Some(response)) = stream.message().await {
                        if let Some(Item::Transition(told)) = response.item {
                            let event_id = told.origin.unwrap_or_default().event_id;
                            seen.lock().unwrap().event_ids.push(event_id);
                        }
                        resume_token = response.resume_token;
                    }
                    seen.lock().unwrap().broken += 1;
                    if token == Token::Dropped {
                        resume_token.clear();
                    }
                }
                Err(status) if is_passing(&status) => {}
                Err(status) => {
                    seen.lock().unwrap().odd = Some(format!("{status:?}"));
                    return;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a watcher tries again: a node that is gone or not ready.
fn is_passing(status: &tonic::Status) -> bool {
    use tonic_types::StatusExt as _;
    let has_reason = status.get_details_error_info().is_some();
    !has_reason
        || matches!(status.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted)
}

/// The 99th percentile of samples, and what there is to tell of them.
pub(crate) fn percentiles(samples: &mut [Duration]) -> (Duration, String) {
    samples.sort();
    let at = |percent: usize| samples[(samples.len() * percent).div_ceil(100).saturating_sub(1)];
    let (p50, p99) = (at(50), at(99));
    (p99, format!("p50 {p50:.2?}, p99 {p99:.2?} of {}", samples.len()))
}
