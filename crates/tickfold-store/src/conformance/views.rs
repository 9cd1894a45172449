//! Promises to readers: whole batches, states that do not move, stable pages, wake-ups.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use tickfold_core::action::ActionId;
use tickfold_core::charge::{Total, TotalKey};
use tickfold_core::ids::{ConversationKey, Wamid};
use tickfold_core::overlay::Overlay;
use tickfold_core::state::{Decided, Message};
use tickfold_core::time::Timestamp;

use super::model::{Model, random_batch};
use super::random::Random;
use super::{Disk, at, write};
use crate::{MessageListItem, PartitionStore, ReadView, RowKind, Snapshot, StoreHead, Stores};

fn conversation() -> ConversationKey {
    ConversationKey { phone_number_id: "n".into(), party: "p".into() }
}

fn listed(list_time: i64, party: &str) -> Message {
    let key = ConversationKey { party: party.into(), ..conversation() };
    Message { list_time: Timestamp::from_millis(list_time), ..Random::new(0).message_in(&key) }
}

fn set(store: &mut dyn PartitionStore, changes: &[(&str, Option<Message>)]) {
    let mut overlay = at(1);
    for (wamid, message) in changes {
        let entry = overlay.messages.entry(&Wamid::new(*wamid), |key| store.message(key));
        *entry.unwrap() = message.clone();
    }
    write(store, 1, &overlay);
}

fn snapshot(stores: &dyn Stores) -> Box<dyn Snapshot> {
    stores.view(0).snapshot().unwrap().unwrap()
}

fn page(
    stores: &dyn Stores,
    before: Option<&MessageListItem>,
    limit: usize,
) -> Vec<MessageListItem> {
    snapshot(stores).messages_of(&conversation(), before, limit).unwrap()
}

fn names(items: &[MessageListItem]) -> Vec<&str> {
    items.iter().map(|item| item.wamid.as_str()).collect()
}

pub fn rows_of_state_are_listed_by_kind_in_order(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let entries = ["b", "a", "c"].map(|wamid| (wamid, Some(listed(1, "p"))));
    set(&mut *store, &entries);
    let snapshot = snapshot(&*stores);
    let rows =
        |after: Option<&[u8]>, limit| snapshot.state_rows(RowKind::Message, after, limit).unwrap();
    let all = rows(None, 10);
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(rows(None, 2), all[..2]);
    assert_eq!(rows(Some(&all[1].key), 10), all[2..]);
    assert!(rows(Some(&all[2].key), 10).is_empty());
    // A snapshot stands still, and rows of one kind are of no other.
    set(&mut *store, &[("d", Some(listed(1, "p")))]);
    assert_eq!(rows(None, 10), all);
    let now = self::snapshot(&*stores);
    let count = |kind| now.state_rows(kind, None, 10).unwrap().len();
    assert_eq!(count(RowKind::Message), 4);
    let others: usize = RowKind::ALL.into_iter().map(count).sum();
    assert_eq!(others, 4, "index rows are no state");
}

pub fn a_conversation_lists_newest_first_in_pages(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    set(
        &mut *store,
        &[
            ("old", Some(listed(-1, "p"))),
            ("a", Some(listed(5, "p"))),
            ("ab", Some(listed(5, "p"))),
            ("b", Some(listed(5, "p"))),
            ("new", Some(listed(9, "p"))),
            ("other party", Some(listed(5, "p2"))),
            ("no party", Some(listed(5, ""))),
        ],
    );
    assert_eq!(names(&page(&*stores, None, 100)), ["new", "b", "ab", "a", "old"]);
    let mut all = Vec::new();
    for length in [2, 2, 1, 0, 0] {
        let next = page(&*stores, all.last(), 2);
        assert_eq!(next.len(), length);
        all.extend(next);
    }
    assert_eq!(names(&all), ["new", "b", "ab", "a", "old"]);
    assert_eq!(page(&*stores, None, 0), []);
}

pub fn a_number_lists_its_messages_newest_first_in_pages(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let of = |number: Option<&str>, list_time: i64, party: &str| {
        let mut message = listed(list_time, party);
        message.facts.phone_number_id = number.map(Into::into);
        Some(message)
    };
    let mut without_party = of(Some("n"), 7, "p").unwrap();
    without_party.facts.parties.clear();
    set(
        &mut *store,
        &[
            ("old", of(Some("n"), -1, "p")),
            ("a", of(Some("n"), 5, "p")),
            ("ab", of(Some("n"), 5, "p2")),
            ("b", of(Some("n"), 5, "p")),
            ("new", of(Some("n"), 9, "p3")),
            ("without a party", Some(without_party)),
            ("of another", of(Some("nn"), 5, "p")),
            ("of nobody", of(None, 5, "p")),
        ],
    );
    let page = |number: &str, before: Option<&MessageListItem>, limit: usize| {
        snapshot(&*stores).messages_of_number(&number.into(), before, limit).unwrap()
    };
    let all = ["new", "without a party", "b", "ab", "a", "old"];
    assert_eq!(names(&page("n", None, 100)), all);
    let mut paged = Vec::new();
    for length in [4, 2, 0] {
        let next = page("n", paged.last(), 4);
        assert_eq!(next.len(), length);
        paged.extend(next);
    }
    assert_eq!(names(&paged), all);
    assert_eq!(page("n", None, 0), []);
    assert_eq!(names(&page("nn", None, 9)), ["of another"]);
    assert_eq!((page("", None, 9), page("x", None, 9)), (vec![], vec![]));
    // From a time on downwards, as bounds of a search have it.
    let before = MessageListItem { list_time: Timestamp::from_millis(5), wamid: Wamid::from("") };
    assert_eq!(names(&page("n", Some(&before), 9)), ["old"]);
    // A status that moves nothing, a number that is learned, one that turns out to be another, a
    // removal.
    let mut same_place = of(Some("n"), 5, "p").unwrap();
    same_place.facts.group = !same_place.facts.group;
    set(
        &mut *store,
        &[
            ("a", Some(same_place)),
            ("of nobody", of(Some("n"), 6, "p")),
            ("b", of(Some("m"), 5, "p")),
            ("new", None),
        ],
    );
    assert_eq!(names(&page("n", None, 9)), ["without a party", "of nobody", "ab", "a", "old"]);
    assert_eq!(names(&page("m", None, 9)), ["b"]);
    assert_eq!(store.recompute_digest().unwrap(), store.store_head().digest);
}

pub fn pages_stay_stable_under_inserts_and_moves(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    set(
        &mut *store,
        &[("a", Some(listed(1, "p"))), ("b", Some(listed(2, "p"))), ("c", Some(listed(3, "p")))],
    );
    let first = page(&*stores, None, 1);
    // One comes above the page, the page's own last line moves away, one changes without moving.
    let mut same_place = listed(2, "p");
    same_place.facts.group = !same_place.facts.group;
    set(
        &mut *store,
        &[
            ("d", Some(listed(4, "p"))),
            ("c", Some(listed(3, "elsewhere"))),
            ("b", Some(same_place)),
        ],
    );
    assert_eq!(names(&page(&*stores, first.last(), 9)), ["b", "a"]);
    assert_eq!(names(&page(&*stores, None, 9)), ["d", "b", "a"]);
    let elsewhere = ConversationKey { party: "elsewhere".into(), ..conversation() };
    assert_eq!(names(&snapshot(&*stores).messages_of(&elsewhere, None, 9).unwrap()), ["c"]);
    set(&mut *store, &[("b", None), ("a", Some(listed(9, "p")))]);
    assert_eq!(names(&page(&*stores, None, 9)), ["a", "d"]);
}

pub fn labels_and_trace_ids_find_their_messages(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let of = |list_time: i64, text: &str, trace: &str| {
        let mut message = listed(list_time, "p");
        message.facts.callback_data = Some(text.to_owned());
        message.facts.traces = [trace.to_owned()].into();
        Some(message)
    };
    set(
        &mut *store,
        &[
            ("a", of(1, "campaign=x;intent=1", "t")),
            ("b", of(2, r#"{"campaign":"x"}"#, "t")),
            ("c", of(3, "campaign=xy", "tt")),
        ],
    );
    let label = |name: &str, value: &str, before: Option<&MessageListItem>| {
        snapshot(&*stores).messages_of_label(name, value, before, 9).unwrap()
    };
    let first = label("campaign", "x", None);
    assert_eq!(names(&first), ["b", "a"]);
    assert_eq!(names(&label("campaign", "x", first.first())), ["a"]);
    assert_eq!(names(&label("campaign", "xy", None)), ["c"]);
    assert_eq!(names(&label("intent", "1", None)), ["a"]);
    assert_eq!(label("intent", "x", None), []);
    let trace = |trace: &str| snapshot(&*stores).messages_of_trace(trace, None, 9).unwrap();
    assert_eq!(trace("t"), ["a".into(), "b".into()]);
    let page = |after: Option<&Wamid>| snapshot(&*stores).messages_of_trace("t", after, 1).unwrap();
    assert_eq!(page(None), ["a".into()]);
    assert_eq!(page(Some(&"a".into())), ["b".into()]);
    assert_eq!(page(Some(&"b".into())), []);
    assert_eq!(trace("tt"), ["c".into()]);
    // What a message no longer says, and a message that is gone, is not found.
    set(&mut *store, &[("a", of(1, "campaign=xy", "tt")), ("b", None)]);
    assert_eq!(label("campaign", "x", None), []);
    assert_eq!(names(&label("campaign", "xy", None)), ["c", "a"]);
    assert_eq!((trace("t"), trace("tt")), (vec![], vec!["a".into(), "c".into()]));
}

pub fn decisions_and_totals_are_read_by_name_and_by_account(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let total = |waba_id: &str, month: &str, category: &str| TotalKey {
        waba_id: waba_id.into(),
        month: month.to_owned(),
        category: category.to_owned(),
        kind: "regular".to_owned(),
    };
    let keys = [
        total("7", "2026-11", "utility"),
        total("7", "2026-10", "utility"),
        total("7", "2026-11", "marketing"),
        total("77", "2026-11", "utility"),
    ];
    let count = Total { charges: 3, billable: 1 };
    let id = ActionId::new("resend", "wamid.A", "st:wamid.A:failed");
    let decided = Decided { offset: 5, decided: Timestamp::from_millis(9), expired: true };
    let mut overlay = at(1);
    for key in &keys {
        *overlay.totals.entry(key, |key| store.total(key)).unwrap() = Some(count);
    }
    *overlay.decided.entry(&id, |key| store.decided(key)).unwrap() = Some(decided);
    write(&mut *store, 1, &overlay);

    let of = |waba_id: &str, month: Option<&str>, limit: usize| -> Vec<(String, String)> {
        let found = snapshot(&*stores).totals_of(&waba_id.into(), month, limit).unwrap();
        assert!(
            found.iter().all(|(key, total)| key.waba_id.as_str() == waba_id && *total == count)
        );
        found.into_iter().map(|(key, _)| (key.month, key.category)).collect()
    };
    let pair = |month: &str, category: &str| (month.to_owned(), category.to_owned());
    let (october, november) = (pair("2026-10", "utility"), pair("2026-11", "marketing"));
    let utility = pair("2026-11", "utility");
    assert_eq!(of("7", None, 9), [october.clone(), november.clone(), utility.clone()]);
    assert_eq!(of("7", None, 2), [october, november.clone()]);
    assert_eq!(of("7", Some("2026-11"), 9), [november, utility]);
    assert_eq!(of("7", Some("2026-1"), 9), []);
    assert_eq!(of("", None, 9), []);
    let unknown = ActionId::new("resend", "", "");
    assert_eq!(snapshot(&*stores).decided(&id).unwrap(), Some(decided));
    assert_eq!(snapshot(&*stores).decided(&unknown).unwrap(), None);
    let each = snapshot(&*stores).decided_each(&[id.clone(), unknown, id]).unwrap();
    assert_eq!(each, [Some(decided), None, Some(decided)]);
}

pub fn a_snapshot_does_not_move(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let mut random = Random::new(11);
    let (mut model, mut kept) = (Model::default(), Vec::new());
    for batch in 0..20 {
        let overlay = random_batch(&mut random, &*store);
        write(&mut *store, 1, &overlay);
        model.apply(&overlay);
        kept.push((store.store_head(), model.clone(), snapshot(&*stores)));
        for (head, model, snapshot) in &kept {
            assert_eq!(snapshot.store_head(), *head);
            model.check_snapshot(&**snapshot, &format!("after batch {batch}"));
        }
    }
}

pub fn a_view_follows_the_store_from_before_its_open(disk: &dyn Disk) {
    let stores = disk.stores();
    let view = stores.view(0);
    assert!(view.snapshot().unwrap().is_none());
    let mut cursor = view.cursor();
    assert_eq!(*cursor.borrow_and_update(), 0);
    let mut store = stores.open(0).unwrap();
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), StoreHead::EMPTY);
    let head = write(&mut *store, 4, &at(1));
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), head);
    assert_eq!(*cursor.borrow_and_update(), 4);
}

pub fn readers_are_served_after_the_writer_is_dropped(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let view = stores.view(0);
    let head = write(&mut *store, 1, &at(1));
    let before = view.snapshot().unwrap().unwrap();
    drop(store);
    assert_eq!(before.store_head(), head);
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), head);
    // The same view follows the next writer.
    let mut store = stores.open(0).unwrap();
    let later = write(&mut *store, 1, &at(2));
    assert_eq!(view.snapshot().unwrap().unwrap().store_head(), later);
    assert_eq!(before.store_head(), head);
    assert_eq!(*view.cursor().borrow(), 2);
}

pub fn a_waiter_wakes_after_the_batch_is_visible(disk: &dyn Disk) {
    let stores = disk.stores();
    let mut store = stores.open(0).unwrap();
    let view = stores.view(0);
    let mut cursor = view.cursor();
    cursor.borrow_and_update();
    for batch in 1..=3 {
        let looker = Arc::new(Looker { view: Arc::clone(&view), seen: Mutex::default() });
        let waker = Waker::from(Arc::clone(&looker));
        let mut changed = pin!(cursor.changed());
        let mut context = Context::from_waker(&waker);
        assert!(changed.as_mut().poll(&mut context).is_pending());
        write(&mut *store, 1, &Overlay::default());
        assert!(changed.poll(&mut context).is_ready());
        assert_eq!(*looker.seen.lock().unwrap(), [(batch, batch)], "(cursor, visible) at waking");
    }
}

/// A waiter that looks at the very moment it is woken, on the writer's thread: no race to win.
#[derive(Debug)]
struct Looker {
    view: Arc<dyn ReadView>,
    seen: Mutex<Vec<(u64, u64)>>,
}

impl Wake for Looker {
    fn wake(self: Arc<Self>) {
        let cursor = *self.view.cursor().borrow();
        let visible = self.view.snapshot().unwrap().unwrap().store_head().cursor;
        self.seen.lock().unwrap().push((cursor, visible));
    }
}
