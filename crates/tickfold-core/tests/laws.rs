//! The order laws: facts and shown state do not depend on order or repetition; each fact enters
//! history once; the shown state never falls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use proptest::prelude::*;
use support::{Folded, messages, permutations, status, status_body};
use tickfold_core::ids::Wamid;
use tickfold_core::records::Topic;
use tickfold_core::state::{Message, Status};

const WAMID: &str = "wamid.LAW";

fn message(folded: &Folded) -> Message {
    folded.overlay.messages.get(&Wamid::from(WAMID)).unwrap().clone().unwrap()
}

#[test]
fn four_statuses_in_24_orders_each_repeated_give_the_same_facts_and_96_transitions() {
    let statuses = [("sent", 1), ("delivered", 2), ("read", 3), ("failed", 4)];
    let mut transitions = 0;
    let mut facts = Vec::new();
    for order in permutations(&statuses) {
        let mut folded = Folded::default();
        let mut rank = 0;
        for (word, after_s) in order.iter().flat_map(|one| [one, one]) {
            folded.webhook(&status_body(WAMID, word, *after_s));
            let shown = message(&folded).facts.state().map_or(0, Status::rank);
            assert!(shown >= rank, "shown state fell in {order:?}");
            rank = shown;
        }
        let mut seen: Vec<_> = folded
            .values(Topic::Transition)
            .iter()
            .map(|transition| transition["to"].as_str().unwrap().to_owned())
            .collect();
        transitions += seen.len();
        assert_eq!(message(&folded).history.len(), 4, "{order:?}");
        seen.sort();
        assert_eq!(seen, ["delivered", "failed", "read", "sent"], "{order:?}");
        assert_eq!(message(&folded).facts.state(), Some(&Status::Read));
        facts.push(message(&folded).facts);
    }
    assert_eq!(transitions, 96);
    assert!(facts.iter().all(|one| *one == facts[0]));
}

/// A status or inbound message among few, so that histories collide.
fn item() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "sent",
        "delivered",
        "read",
        "played",
        "failed",
        "FAILED",
        "mystery",
    ]);
    let wamid = prop::sample::select(vec!["wamid.A", "wamid.B", "wamid.C"]);
    let party = prop::sample::select(vec!["447700900123", "GB.48", ""]);
    let status_item = (words, wamid.clone(), 0..6_i64, party.clone(), prop::option::of(0..3_i64))
        .prop_map(|(word, wamid, after_s, party, code)| {
            let mut json = status(wamid, word, after_s).replace("447700900123", party);
            if let Some(code) = code {
                json = json.replace("131026", &format!("13102{code}"));
            }
            format!(r#""statuses":[{json}]"#)
        });
    let inbound = (wamid, 0..6_i64, party).prop_map(|(wamid, after_s, party)| {
        let time = support::NOON + after_s;
        format!(r#""messages":[{{"id":"{wamid}","from":"{party}","timestamp":"{time}","type":"text","text":{{"body":"hi"}}}}]"#)
    });
    prop_oneof![4 => status_item, 1 => inbound]
}

/// Facts of all entities, counts included, as text.
fn facts(items: &[String]) -> String {
    let mut folded = Folded::default();
    for item in items {
        folded.webhook(&messages(item));
    }
    let overlay = &folded.overlay;
    let mut text = String::new();
    for (key, change) in overlay.messages.changes() {
        text += &format!("{key} {:?}\n", change.after.as_ref().map(|m| &m.facts));
    }
    for (key, change) in overlay.conversations.changes() {
        let counts = change.after.as_ref().map(|c| (&c.facts, c.inbound_count, c.outbound_count));
        text += &format!("{key:?} {counts:?}\n");
    }
    for (key, change) in overlay.numbers.changes() {
        text += &format!("{key} {:?}\n", change.after.as_ref().map(|n| &n.facts));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn facts_do_not_depend_on_order_or_repetition(
        (history, shuffled) in prop::collection::vec(item(), 1..14).prop_flat_map(|items| {
            let twice: Vec<_> = items.iter().chain(&items).cloned().collect();
            (Just(items), Just(twice).prop_shuffle())
        })
    ) {
        // Repetition in another order may not change anything but the journal.
        prop_assert_eq!(facts(&history), facts(&shuffled));
    }

    #[test]
    fn any_bytes_are_folded_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        Folded::default().webhook(&body);
    }

    #[test]
    fn any_damage_to_a_body_is_folded_without_panic(at in 0..400_usize, byte in any::<u8>()) {
        let mut body = status_body(WAMID, "failed", 1);
        let at = at % body.len();
        body[at] = byte;
        Folded::default().webhook(&body);
    }

    #[test]
    fn each_slot_of_any_body_is_appended_where_it_is_folded(
        ids in prop::collection::vec("[0-9]{1,16}|", 0..6), partitions in 1..40_u32
    ) {
        let entries: Vec<_> = ids.iter().map(|id| format!(r#"{{"id":"{id}","changes":[{{"field":"x","value":{{}}}}]}}"#)).collect();
        let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{}]}}"#, entries.join(",")).into_bytes();
        let destinations = tickfold_core::route(&body, partitions);
        let placement = tickfold_core::route::Placement::new(&body, partitions);
        for slot in tickfold_core::route::slots(&body) {
            let partition = placement.partition(slot.waba_id.as_ref());
            prop_assert_eq!(destinations.iter().filter(|d| d.partition == partition).count(), 1);
        }
        for destination in destinations {
            let by_key = tickfold_core::raw::partition_of_key(&destination.key, partitions);
            prop_assert_eq!(destination.partition, by_key);
        }
    }
}
