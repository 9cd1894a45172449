//! Tests of the sequence: determinism, shares, form, routing, signatures, and that the state folded
//! from it meets the expectation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tickfold_core::fold::Partition;
use tickfold_core::ids::WabaId;
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::{RawRecord, WebhookHeaders, partition_of};
use tickfold_core::signature::{Signature, verify};

use super::*;
use crate::{Expectation, Taken};

const SECRET: &[u8] = b"a-secret";
/// Not a whole second, as no clock's now is.
const BASE: Timestamp = Timestamp::from_millis(1_795_132_800_789);

fn traffic(spec: &Spec) -> Traffic {
    Traffic::new(spec, SECRET, BASE).unwrap()
}

fn all_kinds() -> Spec {
    Spec { templates: 0.05, duplicates: 0.2, bad_signatures: 0.1, ..Spec::default() }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let spec = all_kinds();
    let one: Vec<_> = traffic(&spec).take(3_000).collect();
    assert_eq!(one, traffic(&spec).take(3_000).collect::<Vec<_>>());
    let bodies: BTreeSet<_> = one.iter().map(|webhook| &webhook.body).collect();
    let other = traffic(&Spec { seed: 2, ..spec });
    assert!(other.take(3_000).all(|webhook| !bodies.contains(&webhook.body)));
}

#[test]
fn shares_are_those_of_the_spec() {
    let spec = all_kinds();
    let all: Vec<_> = traffic(&spec).take(20_000).collect();
    let near = |what: &str, count: usize, of: usize, share: f64| {
        let found = count as f64 / of as f64;
        // Five standard deviations.
        let near = 5.0 * (share * (1.0 - share) / of as f64).sqrt();
        assert!((found - share).abs() < near, "{what}: {found}, not {share}");
    };
    let good: Vec<_> = all.iter().filter(|webhook| webhook.is_good()).collect();
    near("bad signatures", all.len() - good.len(), all.len(), spec.bad_signatures);
    let mut kinds: BTreeMap<Forgery, usize> = BTreeMap::new();
    for forgery in all.iter().filter_map(|webhook| webhook.forgery) {
        *kinds.entry(forgery).or_default() += 1;
    }
    for kind in Forgery::ALL {
        near("a kind of bad signature", kinds[&kind], all.len() - good.len(), 0.2);
    }

    // A body that asserts nothing new is a repetition; half of them are the same bytes.
    let (mut bodies, mut facts) = (BTreeSet::new(), BTreeSet::new());
    let (mut same_bytes, mut nothing_new) = (0, 0);
    for webhook in &good {
        same_bytes += usize::from(!bodies.insert(&webhook.body));
        let new = webhook.facts.iter().filter(|fact| facts.insert(format!("{fact:?}")));
        nothing_new += usize::from(new.count() == 0);
    }
    near("duplicates", nothing_new, good.len(), spec.duplicates);
    near("bodies again", same_bytes, good.len(), spec.duplicates / 2.0);

    let plain = Spec { duplicates: 0.0, bad_signatures: 0.0, ..spec };
    let all: Vec<_> = traffic(&plain).take(20_000).collect();
    let with = |wanted: fn(&Fact) -> bool| {
        all.iter().filter(|webhook| webhook.facts.iter().any(wanted)).count()
    };
    let inbound = with(|fact| matches!(fact, Fact::Message { status: Status::Received, .. }));
    near("inbound", inbound, all.len(), spec.inbound);
    let templates = with(|fact| matches!(fact, Fact::Template { .. }));
    near("templates", templates, all.len(), spec.templates);
    let batches = all.iter().filter(|webhook| webhook.facts.len() > 1).count();
    near("batches", batches, all.len() - inbound - templates, spec.batches);
    assert!(all.iter().all(|webhook| (1..=100).contains(&webhook.facts.len())));
    assert!(all.iter().any(|webhook| webhook.facts.len() > 90));
}

#[test]
fn statuses_of_a_message_come_in_order_or_not_as_wanted() {
    let in_order = |disorder| {
        let spec = Spec { disorder, duplicates: 0.0, batches: 0.0, ..Spec::default() };
        let mut times: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
        for webhook in traffic(&spec).take(20_000) {
            for fact in webhook.facts.iter() {
                if let Fact::Message { message, time, .. } = fact {
                    times.entry(message.wamid.clone()).or_default().push(*time);
                }
            }
        }
        let several: Vec<_> = times.values().filter(|times| times.len() > 1).collect();
        several.iter().filter(|times| times.is_sorted()).count() as f64 / several.len() as f64
    };
    assert!((in_order(0.0) - 1.0).abs() < f64::EPSILON);
    let shuffled = in_order(1.0);
    assert!((0.2..0.45).contains(&shuffled), "{shuffled} of random orders are the right one");
}

#[test]
fn every_good_body_is_json_and_goes_to_the_accounts_of_its_facts() {
    let spec = all_kinds();
    for webhook in traffic(&spec).take(5_000).filter(Webhook::is_good) {
        let json: Value = serde_json::from_slice(&webhook.body).unwrap();
        assert_eq!(json["object"], "whatsapp_business_account");
        let wanted: BTreeSet<u32> =
            webhook.facts.iter().map(|fact| partition_of(fact.waba_id(), 8)).collect();
        let to = tickfold_core::route(&webhook.body, 8);
        assert_eq!(to.iter().map(|one| one.partition).collect::<BTreeSet<_>>(), wanted);
        for one in to {
            let key = WabaId::new(String::from_utf8(one.key).unwrap());
            assert!(webhook.facts.iter().any(|fact| *fact.waba_id() == key), "{key}");
        }
    }
}

#[test]
fn signatures_verify_exactly_where_they_should() {
    let spec = Spec { bad_signatures: 0.5, ..Spec::default() };
    for webhook in traffic(&spec).take(2_000) {
        let parsed = webhook.signature.as_deref().map(|value| Signature::parse(value.as_bytes()));
        let verifies = parsed
            .as_ref()
            .and_then(Option::as_ref)
            .is_some_and(|signature| verify(SECRET, &webhook.body, signature));
        assert_eq!(verifies, webhook.is_good(), "{:?}", webhook.forgery);
        // Each kind is refused for its own reason.
        match webhook.forgery {
            None | Some(Forgery::WrongSecret | Forgery::ChangedBody) => {
                assert!(matches!(parsed, Some(Some(_))), "{:?}", webhook.forgery);
            }
            Some(Forgery::Missing) => assert_eq!(parsed, None),
            Some(Forgery::Malformed | Forgery::UpperCase) => assert_eq!(parsed, Some(None)),
        }
    }
}

#[test]
fn padding_fills_up_to_the_size_and_changes_no_fact() {
    let spec = Spec { body_bytes_min: 4_096, ..all_kinds() };
    let bare = Spec { body_bytes_min: 0, ..spec };
    for (padded, bare) in traffic(&spec).zip(traffic(&bare)).take(500) {
        assert!(padded.body.len() >= 4_096);
        assert_eq!(padded.facts, bare.facts);
        serde_json::from_slice::<Value>(&padded.body).unwrap();
    }
}

/// The fold itself is the judge of the bodies: what they assert is what it learns from them.
#[test]
fn the_fold_of_good_bodies_meets_the_expectation_and_of_forged_ones_does_not() {
    let (mut expectation, mut state) = (Expectation::default(), Overlay::default());
    let (mut offset, mut forged) = (0, None);
    for webhook in traffic(&all_kinds()).take(4_000) {
        if webhook.is_good() {
            expectation.add(&webhook.facts, Taken::Yes);
            fold(&mut state, &mut offset, &webhook.body);
        } else {
            expectation.add(&webhook.facts, Taken::No);
            forged = Some(webhook.body);
        }
    }
    assert_eq!(wrong(&expectation, &state), 0);
    assert!(state.templates.changes().count() > 10 && state.messages.changes().count() > 1_000);
    fold(&mut state, &mut offset, &forged.unwrap());
    assert!(wrong(&expectation, &state) > 0, "the forged one, had it been taken");
}

/// Folds a body into one partition that owns every account.
fn fold(state: &mut Overlay, offset: &mut u64, body: &[u8]) {
    let headers = WebhookHeaders {
        signature: "sha256=00".to_owned(),
        received_time: BASE,
        app: "main".to_owned(),
        secret_id: "s1".to_owned(),
        request_id: "r".to_owned(),
        partition_count: 1,
    };
    let headers = headers.encode();
    let record = RawRecord {
        offset: *offset,
        appended: BASE,
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        value: Some(body),
    };
    *offset += 1;
    tickfold_core::fold(state, &Nothing, Partition { id: 0, count: 1 }, &record).unwrap();
}

/// Messages, templates and conversations with findings.
fn wrong(expectation: &Expectation, state: &Overlay) -> usize {
    let messages = expectation.messages().filter(|(message, expected)| {
        let found = state.messages.get(&message.wamid).and_then(Option::as_ref);
        let history = found.map(|message| message.history.as_slice()).unwrap_or_default();
        let history: Vec<_> =
            history.iter().map(|entry| (entry.to.clone(), entry.event_time)).collect();
        !expected.judge(&history).is_empty()
    });
    let log_time = state.head.unwrap_or_default().log_time_or_epoch();
    let templates = expectation.templates().filter(|(key, expected)| {
        let found = state.templates.get(key).and_then(Option::as_ref).unwrap();
        let events: Vec<_> =
            found.facts.events.iter().map(|(event, fact)| (event.as_str(), fact.time)).collect();
        !expected.judge(found.facts.status(log_time), &events).is_empty()
    });
    let conversations = expectation.conversations();
    let conversations = conversations.iter().filter(|(key, expected)| {
        let found = state.conversations.get(key).and_then(Option::as_ref);
        let counts = found.map(|found| (found.inbound_count, found.outbound_count));
        let (inbound, outbound) = counts.unwrap_or_default();
        !expected.judge(inbound, outbound).is_empty()
    });
    messages.count() + templates.count() + conversations.count()
}
