//! Every value comes back as it was, equal values are equal bytes, and no bytes bring decoding down.

use tickfold_core::charge::Total;
use tickfold_core::ids::Participant;
use tickfold_core::overlay::Head;
use tickfold_core::state::{
    Account, Call, Conversation, Decided, Group, Message, MessageFacts, Natural, Number, Payment,
    Receipt, Regime, Status, Template, User,
};

use super::*;
use crate::StoreHead;
use crate::conformance::random::Random;

const VALUES: usize = 2_000;

/// Round trip, bytes that follow from the value alone, and damage of all kinds.
fn check<V: Persist + PartialEq + std::fmt::Debug>(make: impl Fn(&mut Random) -> V) {
    let mut random = Random::new(7);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..VALUES {
        let value = make(&mut random);
        let bytes = value.encode();
        assert_eq!(V::decode(&bytes).unwrap(), value);
        assert_eq!(V::decode(&bytes).unwrap().encode(), bytes, "{value:?}");
        seen.insert(bytes.clone());

        let mut damaged = bytes;
        if !damaged.is_empty() {
            let at = random.below(damaged.len());
            damaged[at] = random.byte();
        }
        damaged.truncate(random.below(damaged.len() * 2 + 1));
        // Either it is refused or it is some value; what it is then encodes stably.
        if let Ok(value) = V::decode(&damaged) {
            assert_eq!(V::decode(&value.encode()).unwrap(), value);
        }
    }
    assert!(seen.len() > VALUES / 20, "the values hardly vary: {}", seen.len());
}

#[test]
fn messages() {
    check::<Message>(Random::message);
}

#[test]
fn conversations() {
    check::<Conversation>(Random::conversation);
}

#[test]
fn templates() {
    check::<Template>(Random::template);
}

#[test]
fn accounts() {
    check::<Account>(Random::account);
}

#[test]
fn numbers() {
    check::<Number>(Random::number);
}

#[test]
fn users() {
    check::<User>(Random::user);
}

#[test]
fn calls() {
    check::<Call>(Random::call);
}

#[test]
fn groups() {
    check::<Group>(Random::group);
}

#[test]
fn payments() {
    check::<Payment>(Random::payment);
}

#[test]
fn naturals() {
    check::<Natural>(Random::natural);
}

#[test]
fn regimes_decisions_and_totals() {
    check::<Decided>(Random::decided);
    check::<Total>(Random::total);
    // Few documents, many of their bytes: some damage makes another valid one, most none.
    let mut random = Random::new(9);
    for _ in 0..200 {
        let value = random.regime();
        let bytes = value.encode();
        assert_eq!(Regime::decode(&bytes).unwrap(), value);
        let mut damaged = bytes.clone();
        if !damaged.is_empty() {
            let at = random.below(damaged.len());
            damaged[at] = random.byte();
        }
        if let Ok(value) = Regime::decode(&damaged) {
            assert_eq!(Regime::decode(&value.encode()).unwrap(), value);
        }
    }
}

#[test]
fn heads() {
    check(|random| StoreHead {
        cursor: random.number64(),
        fold_version: u32::from(random.byte()),
        head: Head { log_time: random.maybe(Random::time), rules_version: 1 },
        digest: u128::from(random.number64()) << random.below(64),
        raw_digest: u128::from(random.number64()) << random.below(64),
    });
}

fn message() -> Message {
    let mut message = Random::new(1).message();
    message.facts = MessageFacts::default();
    message
}

#[test]
fn absent_and_empty_differ() {
    let absent = message();
    let mut empty = message();
    empty.facts.callback_data = Some(String::new());
    assert_ne!(absent.encode(), empty.encode());
    assert_eq!(Message::decode(&empty.encode()).unwrap().facts.callback_data, Some(String::new()));
    let mut without = message();
    without.facts.receipts.insert(Participant::whole(), Receipt::default());
    assert_eq!(Message::decode(&without.encode()).unwrap(), without);
}

#[test]
fn known_statuses_and_their_words_differ() {
    let known = to_status(&Status::Sent);
    let word = to_status(&Status::Other("sent".to_owned()));
    assert_ne!(known, word);
    assert_eq!(from_status(Some(word)).unwrap(), Status::Other("sent".to_owned()));
}

#[test]
fn entries_out_of_order_are_damage() {
    let mut record = message().to_record();
    let facts = record.facts.as_mut().unwrap();
    facts.parties = vec!["b".to_owned(), "a".to_owned()];
    assert!(Message::decode(&record.encode_to_vec()).is_err());
    record.facts.as_mut().unwrap().parties = vec!["a".to_owned(), "a".to_owned()];
    assert!(Message::decode(&record.encode_to_vec()).is_err());
}

#[test]
fn missing_parts_are_damage() {
    assert!(Message::decode(b"").is_err());
    assert!(Template::decode(b"").is_err());
    assert!(StoreHead::decode(b"").is_err());
    let mut record = message().to_record();
    record.history.push(proto::HistoryEntry::default());
    assert!(Message::from_record(record).is_err());
}

#[test]
#[cfg(feature = "rocks")]
fn a_manifest_is_checked_as_a_whole() {
    let file = Manifest {
        partition: 3,
        head: StoreHead::EMPTY,
        files: vec![FileSums { name: "000007.sst".to_owned(), size_bytes: 9, sums: vec![5, 6] }],
    }
    .to_file();
    assert_eq!(Manifest::from_file(&file).unwrap().head, StoreHead::EMPTY);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(Manifest::from_file(&damaged).is_err(), "byte {at}");
        assert!(Manifest::from_file(&file[..at]).is_err(), "cut at {at}");
    }
    // A checkpoint of an earlier program is still one; what it lacks it gets when it is opened.
    let of_version = |format_version| {
        let made = proto::Manifest::decode(without_sum(&file, "manifest").unwrap()).unwrap();
        let record = proto::Manifest { format_version, ..made };
        Manifest::from_file(&with_sum(record.encode_to_vec()))
    };
    let known: Vec<_> = (0..=FORMAT_VERSION + 1).filter(|v| of_version(*v).is_ok()).collect();
    assert_eq!(known, (FORMAT_VERSION_MIN..=FORMAT_VERSION).collect::<Vec<_>>());
}
