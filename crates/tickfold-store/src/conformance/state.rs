//! Promises of the writer: what is written is read, as a whole, with its digest.

use std::ops::Range;

use tickfold_core::ids::{PhoneNumberId, WabaId};
use tickfold_core::overlay::Overlay;
use tickfold_core::state::{TimerKey, TimerKind};
use tickfold_core::time::Timestamp;

use super::model::{Model, random_batch};
use super::random::Random;
use super::{Disk, at, write};
use crate::{Error, PartitionStore, StoreHead, Stores};

/// One value of every entity.
fn one_of_each(random: &mut Random) -> Overlay {
    let mut overlay = at(5);
    let absent = |_: &_| Ok(None);
    let key = random.conversation_key();
    *overlay.messages.entry(&"m".into(), |_| Ok(None)).unwrap() = Some(random.message());
    *overlay.conversations.entry(&key, absent).unwrap() = Some(random.conversation());
    let key = random.template_key();
    *overlay.templates.entry(&key, |_| Ok(None)).unwrap() = Some(random.template());
    *overlay.accounts.entry(&"a".into(), |_| Ok(None)).unwrap() = Some(random.account());
    *overlay.numbers.entry(&"n".into(), |_| Ok(None)).unwrap() = Some(random.number());
    let key = random.user_key();
    *overlay.users.entry(&key, |_| Ok(None)).unwrap() = Some(random.user());
    let key = random.call_id();
    *overlay.calls.entry(&key, |_| Ok(None)).unwrap() = Some(random.call());
    let key = random.group_key();
    *overlay.groups.entry(&key, |_| Ok(None)).unwrap() = Some(random.group());
    let key = random.payment_key();
    *overlay.payments.entry(&key, |_| Ok(None)).unwrap() = Some(random.payment());
    let key = random.natural_key();
    *overlay.naturals.entry(&key, |_| Ok(None)).unwrap() = Some(random.natural());
    *overlay.regime.entry(&(), |()| Ok(None)).unwrap() = Some(random.regime());
    let key = random.action_id();
    *overlay.decided.entry(&key, |_| Ok(None)).unwrap() = Some(random.decided());
    let key = random.total_key();
    *overlay.totals.entry(&key, |_| Ok(None)).unwrap() = Some(random.total());
    overlay.timers.insert(random.timer_key(), true);
    overlay
}

pub fn each_entity_reads_back_as_written(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    assert_eq!(store.store_head(), StoreHead::EMPTY);
    assert_eq!(store.next_timer(None).unwrap(), None);
    let overlay = one_of_each(&mut Random::new(1));
    let head = write(&mut *store, 3, &overlay);
    assert_eq!(head.cursor, 3);
    assert!(!store.census().unwrap().is_empty());
    assert_eq!(store.head().unwrap(), overlay.head.unwrap());

    let after = |change: &tickfold_core::overlay::Change<_>| change.after.clone();
    let (key, change) = overlay.messages.changes().next().unwrap();
    assert_eq!(store.message(key).unwrap(), after(change));
    let (key, change) = overlay.conversations.changes().next().unwrap();
    assert_eq!(store.conversation(key).unwrap(), change.after);
    let (key, change) = overlay.templates.changes().next().unwrap();
    assert_eq!(store.template(key).unwrap(), change.after);
    let (key, change) = overlay.accounts.changes().next().unwrap();
    assert_eq!(store.account(key).unwrap(), change.after);
    let (key, change) = overlay.numbers.changes().next().unwrap();
    assert_eq!(store.number(key).unwrap(), change.after);
    let (key, change) = overlay.users.changes().next().unwrap();
    assert_eq!(store.user(key).unwrap(), change.after);
    let (key, change) = overlay.calls.changes().next().unwrap();
    assert_eq!(store.call(key).unwrap(), change.after);
    let (key, change) = overlay.groups.changes().next().unwrap();
    assert_eq!(store.group(key).unwrap(), change.after);
    let (key, change) = overlay.payments.changes().next().unwrap();
    assert_eq!(store.payment(key).unwrap(), change.after);
    let (key, change) = overlay.naturals.changes().next().unwrap();
    assert_eq!(store.natural(key).unwrap(), change.after);
    assert_eq!(&store.regime().unwrap(), overlay.regime.get(&()).unwrap());
    let (key, change) = overlay.decided.changes().next().unwrap();
    assert_eq!(store.decided(key).unwrap(), change.after);
    let (key, change) = overlay.totals.changes().next().unwrap();
    assert_eq!(store.total(key).unwrap(), change.after);
    assert_eq!(store.next_timer(None).unwrap().as_ref(), overlay.timers.keys().next());

    assert_eq!(store.message(&"other".into()).unwrap(), None);
    assert_eq!(store.account(&WabaId::new("m")).unwrap(), None);
    assert_eq!(store.number(&PhoneNumberId::new("a")).unwrap(), None);
}

pub fn deleted_entities_are_gone(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let first = one_of_each(&mut Random::new(2));
    write(&mut *store, 1, &first);
    let mut second = at(6);
    for (key, _) in first.messages.changes() {
        *second.messages.entry(key, |key| store.message(key)).unwrap() = None;
    }
    for (key, _) in first.conversations.changes() {
        *second.conversations.entry(key, |key| store.conversation(key)).unwrap() = None;
    }
    for (key, _) in first.templates.changes() {
        *second.templates.entry(key, |key| store.template(key)).unwrap() = None;
    }
    for (key, _) in first.accounts.changes() {
        *second.accounts.entry(key, |key| store.account(key)).unwrap() = None;
    }
    for (key, _) in first.numbers.changes() {
        *second.numbers.entry(key, |key| store.number(key)).unwrap() = None;
    }
    for (key, _) in first.users.changes() {
        *second.users.entry(key, |key| store.user(key)).unwrap() = None;
    }
    for (key, _) in first.calls.changes() {
        *second.calls.entry(key, |key| store.call(key)).unwrap() = None;
    }
    for (key, _) in first.groups.changes() {
        *second.groups.entry(key, |key| store.group(key)).unwrap() = None;
    }
    for (key, _) in first.payments.changes() {
        *second.payments.entry(key, |key| store.payment(key)).unwrap() = None;
    }
    for (key, _) in first.naturals.changes() {
        *second.naturals.entry(key, |key| store.natural(key)).unwrap() = None;
    }
    *second.regime.entry(&(), |()| store.regime()).unwrap() = None;
    for (key, _) in first.decided.changes() {
        *second.decided.entry(key, |key| store.decided(key)).unwrap() = None;
    }
    for (key, _) in first.totals.changes() {
        *second.totals.entry(key, |key| store.total(key)).unwrap() = None;
    }
    second.timers.extend(first.timers.keys().map(|key| (key.clone(), false)));
    let head = write(&mut *store, 1, &second);
    assert_eq!(head.digest, 0, "an empty state has the digest 0");
    assert_eq!(store.recompute_digest().unwrap(), 0);
    assert!(store.census().unwrap().is_empty());
    assert_eq!(store.message(&"m".into()).unwrap(), None);
    assert_eq!(store.next_timer(None).unwrap(), None);
}

pub fn a_batch_that_does_not_continue_is_refused(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let head = write(&mut *store, 5, &at(1));
    let overlay = one_of_each(&mut Random::new(3));
    let digest = store.digest_after(&overlay).unwrap();
    for (from, to) in [(4, 6), (6, 7), (0, 5), (5, 4)] {
        let to = StoreHead { cursor: to, digest, ..head };
        let refused = store.write(from, &overlay, to).unwrap_err();
        assert!(matches!(refused, Error::NotContinuous { cursor: 5, .. }), "{refused}");
        assert_eq!(store.store_head(), head);
        assert_eq!(store.message(&"m".into()).unwrap(), None);
    }
    // Not a failure of the store: the right batch goes through.
    write(&mut *store, 0, &overlay);
    write(&mut *store, 1, &at(2));
}

pub fn the_digest_is_that_of_all_rows(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let timer = Random::new(4).timer_key();
    let armed = |is: bool| Overlay { timers: [(timer.clone(), is)].into(), ..at(1) };
    let mut last = 0;
    // (armed, whether that changes anything)
    for (is, changes) in
        [(false, false), (true, true), (true, false), (false, true), (false, false)]
    {
        let head = write(&mut *store, 1, &armed(is));
        assert_eq!(head.digest != last, changes);
        assert_eq!(head.digest, store.recompute_digest().unwrap());
        last = head.digest;
    }
    assert_eq!(last, 0);
}

pub fn equal_states_have_equal_digests_however_reached(disk: &dyn Disk) {
    let stores = disk.stores();
    let (mut one, mut other) = (stores.open(1).unwrap(), stores.open(2).unwrap());
    let goal = one_of_each(&mut Random::new(5));
    let digest = write(&mut *one, 1, &goal).digest;
    let mut detour = at(1);
    *detour.messages.entry(&"m".into(), |_| Ok(None)).unwrap() = Some(Random::new(6).message());
    write(&mut *other, 1, &detour);
    // The same values, of which one replaces another here.
    let mut rest = goal;
    rest.messages = tickfold_core::overlay::Table::default();
    *rest.messages.entry(&"m".into(), |key| other.message(key)).unwrap() =
        one.message(&"m".into()).unwrap();
    assert_eq!(write(&mut *other, 7, &rest).digest, digest);
}

pub fn timers_come_in_order_and_strictly_after(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let timer = |due: i64, id: &str| TimerKey {
        due: Timestamp::from_millis(due),
        kind: TimerKind::ExpireMessage(id.into()),
    };
    let arm = |timers: &[(&TimerKey, bool)]| {
        let timers = timers.iter().map(|(timer, armed)| ((*timer).clone(), *armed));
        Overlay { timers: timers.collect(), ..at(1) }
    };
    let (a, b, c, d) = (timer(-5, "z"), timer(7, "a"), timer(7, "b"), timer(8, ""));
    write(&mut *store, 1, &arm(&[(&b, true), (&c, true), (&d, true)]));
    assert_eq!(store.next_timer(None).unwrap().as_ref(), Some(&b));
    assert_eq!(store.next_timer(Some(&b)).unwrap().as_ref(), Some(&c));
    assert_eq!(store.next_timer(Some(&c)).unwrap().as_ref(), Some(&d));
    assert_eq!(store.next_timer(Some(&d)).unwrap(), None);
    // `after` need not be armed.
    assert_eq!(store.next_timer(Some(&timer(7, "aa"))).unwrap().as_ref(), Some(&c));
    assert_eq!(store.next_timer(Some(&timer(i64::MIN, ""))).unwrap().as_ref(), Some(&b));
    // One that fires makes room for the next; an earlier one comes first again.
    write(&mut *store, 1, &arm(&[(&b, false)]));
    assert_eq!(store.next_timer(None).unwrap().as_ref(), Some(&c));
    write(&mut *store, 1, &arm(&[(&a, true), (&c, false), (&d, false)]));
    assert_eq!(store.next_timer(None).unwrap().as_ref(), Some(&a));
    write(&mut *store, 1, &arm(&[(&a, false)]));
    assert_eq!(store.next_timer(None).unwrap(), None);
    write(&mut *store, 1, &arm(&[(&d, true)]));
    assert_eq!(store.next_timer(None).unwrap().as_ref(), Some(&d));
}

pub fn random_batches_agree_with_a_model(disk: &dyn Disk) {
    agree_with_a_model(disk, 0..4, |_, random| (true, random.one_in(10)));
}

pub fn what_is_flushed_is_seen_and_stays(disk: &dyn Disk) {
    agree_with_a_model(disk, 10..14, |store, random| {
        let is_flushed = random.one_in(8);
        if is_flushed {
            store.flush().unwrap();
        }
        (is_flushed, is_flushed && random.one_in(2))
    });
}

/// Writes random batches. `settle` says after each whether views have it, and whether to look at what
/// another process finds.
fn agree_with_a_model(
    disk: &dyn Disk,
    seeds: Range<u64>,
    settle: impl Fn(&mut dyn PartitionStore, &mut Random) -> (bool, bool),
) {
    for seed in seeds {
        let mut random = Random::new(seed);
        let partition = u32::try_from(seed).unwrap();
        let mut stores = disk.stores();
        let mut store = stores.open(partition).unwrap();
        let mut model = Model::default();
        for batch in 0..80 {
            let context = format!("seed {seed}, batch {batch}");
            let overlay = random_batch(&mut random, &*store);
            let records = 1 + u64::from(random.byte() % 3);
            write(&mut *store, records, &overlay);
            model.apply(&overlay);
            model.check_store(&*store, &context);
            let (is_seen, is_reopened) = settle(&mut *store, &mut random);
            let check_view = |stores: &dyn Stores, head: StoreHead| {
                let snapshot = stores.view(partition).snapshot().unwrap().unwrap();
                assert_eq!(snapshot.store_head(), head, "{context}");
                model.check_snapshot(&*snapshot, &context);
            };
            let head = store.store_head();
            if is_seen {
                check_view(&*stores, head);
                model.check_store(&*store, &context);
            }
            if is_reopened {
                drop(store);
                drop(stores);
                stores = disk.stores();
                store = stores.open(partition).unwrap();
                assert_eq!(store.store_head(), head, "{context}");
                model.check_store(&*store, &context);
                check_view(&*stores, head);
            }
        }
        assert!(!model.is_empty(), "seed {seed} tests nothing");
    }
}
