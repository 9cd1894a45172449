//! The order laws over the real port: what is shown of a message does not depend on the order or
//! the repetition of its webhooks, and never goes backwards while they arrive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_proto::query::v1 as pb;

use crate::support::{Node, assert_golden, eventually, status_body};

/// Words and the seconds at which they happened.
const STATUSES: [(&str, i64); 4] = [("sent", 1), ("delivered", 2), ("read", 3), ("failed", 4)];

/// The ladder, written down once more: a failure outranks `sent`, evidence of delivery outranks a
/// failure.
fn rank(state: pb::MessageState) -> u8 {
    match state {
        pb::MessageState::Sent => 1,
        pb::MessageState::Failed => 2,
        pb::MessageState::Delivered => 3,
        pb::MessageState::Read => 4,
        other => panic!("{other:?} was never posted"),
    }
}

fn orders() -> Vec<Vec<(&'static str, i64)>> {
    let mut orders = vec![Vec::new()];
    for _ in STATUSES {
        let longer = |order: &Vec<(&'static str, i64)>| {
            let rest = STATUSES.into_iter().filter(|one| !order.contains(one));
            rest.map(|one| [order.as_slice(), &[one]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}

/// A message without its journal: when and where its records were appended, and what was decided
/// meanwhile. A failure that comes before the delivery asks for a fallback, one after it does not.
fn facts(mut message: pb::Message) -> pb::Message {
    message.wamid.clear();
    message.revision = 0;
    message.first_log_time = None;
    message.last_log_time = None;
    message.list_time = None;
    message.history.clear();
    message.actions.clear();
    message.alerts.clear();
    message
}

#[test]
fn four_statuses_in_24_orders_each_repeated_show_the_same_and_the_shown_state_never_falls() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let orders = orders();
    assert_eq!(orders.len(), 24);
    let wamid = |index: usize| format!("wamid.ORDER{index}");

    let posted = AtomicBool::new(false);
    let polls = thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut rpc = node.rpc();
            let mut shown: BTreeMap<usize, u8> = BTreeMap::new();
            let mut polls = 0;
            let mut last = false;
            // One more round after the last post.
            while !last {
                last = posted.load(Ordering::Relaxed);
                // The last one seen and the next one are those that are being posted.
                let newest = shown.keys().next_back().copied().unwrap_or(0);
                let near =
                    orders.iter().enumerate().take(newest + 2).skip(newest.saturating_sub(1));
                for (index, order) in near {
                    let Some(message) = rpc.message(&wamid(index)) else { continue };
                    let now = rank(message.state());
                    let before = shown.insert(index, now).unwrap_or(0);
                    assert!(now >= before, "{} fell in {order:?}", wamid(index));
                    polls += 1;
                }
            }
            polls
        });
        let mut http = node.webhooks();
        for (index, order) in orders.iter().enumerate() {
            for (word, after_s) in order {
                for _ in 0..2 {
                    let body = status_body(&wamid(index), word, *after_s);
                    assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
                }
            }
        }
        posted.store(true, Ordering::Relaxed);
        poller.join().unwrap()
    });

    let mut rpc = node.rpc();
    let whole = |index: usize, rpc: &mut crate::support::Rpc| {
        eventually("all four facts", || {
            rpc.message(&wamid(index)).filter(|message| message.history.len() >= 4)
        })
    };
    let first = whole(0, &mut rpc);
    assert_eq!(first.state(), pb::MessageState::Read);
    assert_eq!(first.facts.len(), 4);
    let codes: Vec<_> = first.errors.iter().map(|error| error.code).collect();
    assert_eq!(codes, [131_026]);
    assert_eq!(first.error_code, Some(131_026));
    for (index, order) in orders.iter().enumerate() {
        let message = whole(index, &mut rpc);
        let history: Vec<_> = message.history.iter().map(|one| one.to_text.clone()).collect();
        let posted: Vec<_> = order.iter().map(|(word, _)| (*word).to_owned()).collect();
        assert_eq!(history, posted, "each fact once in the history, in the order it came");
        let states = message.history.iter().map(|one| rank(one.state()));
        assert!(states.is_sorted(), "the history falls in {order:?}");
        assert_eq!(facts(message), facts(first.clone()), "{order:?}");
    }

    assert_golden(&node);
    let mut transitions: BTreeMap<(String, String), usize> = BTreeMap::new();
    for transition in node.values(Topic::Transition) {
        let text = |name: &str| transition[name].as_str().unwrap().to_owned();
        *transitions.entry((text("wamid"), text("to"))).or_default() += 1;
    }
    assert_eq!(transitions.len(), 96);
    assert!(transitions.values().all(|count| *count == 1), "{transitions:?}");
    println!("192 posts, {polls} polls that found a state");
    assert!(polls > 24, "{polls} polls say little");
    node.stop();
}
