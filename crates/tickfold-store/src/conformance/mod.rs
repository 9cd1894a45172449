//! What every adapter promises: one public function per promise, and [`run_all`].
//!
//! A case gets a [`Disk`] of its own and panics if the promise is broken. Random cases print their
//! seed in the panic.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test suite: its functions are named by the promise, and a broken one is a panic"
)]

mod lifecycle;
mod model;
pub mod random;
pub mod rare;
pub mod samples;
pub mod standing;
mod state;
mod views;

use std::sync::Arc;

use tickfold_core::overlay::{Head, Overlay};
use tickfold_core::time::Timestamp;

pub use self::lifecycle::*;
pub use self::state::*;
pub use self::views::*;
use crate::{PartitionStore, StoreHead, Stores};

/// Where stores are kept, beyond the life of a process.
pub trait Disk: std::fmt::Debug {
    /// The stores as a new process finds them. The ones given before have been dropped, unclosed
    /// snapshots and all.
    fn stores(&self) -> Arc<dyn Stores>;
}

/// A promise: its name and its case.
pub type Case = (&'static str, fn(&dyn Disk));

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&dyn Disk))),*] };
}

/// Promises of the writer: they look at a store only through it, or once it is flushed.
pub const CASES_OF_THE_WRITER: &[Case] = cases![
    each_entity_reads_back_as_written,
    deleted_entities_are_gone,
    a_batch_that_does_not_continue_is_refused,
    the_digest_is_that_of_all_rows,
    equal_states_have_equal_digests_however_reached,
    timers_come_in_order_and_strictly_after,
    what_is_flushed_is_seen_and_stays,
    partitions_do_not_share_anything,
    there_is_one_writer,
];

/// The others: what was written is seen and stays at once.
pub const CASES_AT_ONCE: &[Case] = cases![
    random_batches_agree_with_a_model,
    a_conversation_lists_newest_first_in_pages,
    rows_of_state_are_listed_by_kind_in_order,
    a_number_lists_its_messages_newest_first_in_pages,
    pages_stay_stable_under_inserts_and_moves,
    labels_and_trace_ids_find_their_messages,
    decisions_and_totals_are_read_by_name_and_by_account,
    a_snapshot_does_not_move,
    a_view_follows_the_store_from_before_its_open,
    readers_are_served_after_the_writer_is_dropped,
    a_waiter_wakes_after_the_batch_is_visible,
    a_reopened_store_has_everything,
    a_rejected_store_is_out_of_the_way,
    a_restored_checkpoint_is_the_store_it_was_made_of,
    a_restore_does_not_overwrite,
    a_removed_checkpoint_is_gone_and_the_others_stay,
];

/// Runs every case on a disk of its own.
pub fn run_all(fresh: &dyn Fn() -> Box<dyn Disk>) {
    run(CASES_OF_THE_WRITER, fresh);
    run(CASES_AT_ONCE, fresh);
}

/// Runs these cases on a disk of its own each.
pub fn run(cases: &[Case], fresh: &dyn Fn() -> Box<dyn Disk>) {
    for (name, case) in cases {
        println!("conformance: {name}");
        case(&*fresh());
    }
}

/// Writes the overlay with the next `records` raw offsets and the digest that belongs to it.
pub fn write(store: &mut dyn PartitionStore, records: u64, overlay: &Overlay) -> StoreHead {
    let from = store.store_head();
    let to = StoreHead {
        cursor: from.cursor + records,
        fold_version: from.fold_version,
        head: overlay.head.unwrap_or(from.head),
        digest: store.digest_after(overlay).unwrap(),
        raw_digest: from.raw_digest.wrapping_add(u128::MAX / 3),
    };
    store.write(from.cursor, overlay, to).unwrap();
    assert_eq!(store.store_head(), to);
    to
}

/// An overlay at a log time.
fn at(log_time_ms: i64) -> Overlay {
    let log_time = Some(Timestamp::from_millis(log_time_ms));
    Overlay { head: Some(Head { log_time, rules_version: 1 }), ..Overlay::default() }
}
