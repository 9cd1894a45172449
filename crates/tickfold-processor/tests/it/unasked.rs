//! A shell that answers what nobody asked: the driver takes nothing from it, and ends.
//!
//! Looked at behind every step of a history with restores, overlapping commits, an aborted one, one in doubt, and
//! checkpoints, once the driver has a position; before that each answer only fills a gap.

use std::collections::BTreeMap;

use tickfold_log::{Bounds, CommitError};
use tickfold_processor::Options;
use tickfold_processor::driver::{Command, Derived, Input, Lost, Progress};
use tickfold_store::{MemStores, PartitionStore, Stores};

use crate::start_table::folded_with;
use crate::workload::{PARTITION, append_webhook, status};
use crate::world::{Executed, World};

/// An answer, and the kinds of the commands that it may answer.
type Answer = (&'static str, &'static [&'static str], fn() -> Input);

fn store() -> Box<dyn PartitionStore> {
    MemStores::new().open(PARTITION).unwrap()
}

fn checkpointed() -> Input {
    let mut store = store();
    let result = store.checkpoint();
    Input::Checkpointed { store, result }
}

/// Whoever has the store in hand gives it back, by whatever it was asked for.
const AWAY: &[&str] = &["write_store", "checkpoint", "succeed"];

const ANSWERS: [Answer; 17] = [
    ("start", &[], || Input::Start),
    ("claimed", &["claim"], || Input::Claimed(Ok(None))),
    ("store opened", &["open_store"], || Input::StoreOpened(Ok(store()))),
    ("bounds read", &["read_bounds"], || Input::BoundsRead(Ok(Bounds { start: 0, end: 0 }))),
    ("last outputs read", &["read_last_outputs"], || {
        Input::LastOutputsRead(Ok(Derived::default()))
    }),
    ("raw read", &["read_raw", "wait"], || Input::RawRead(Ok(Vec::new()))),
    ("checkpoints listed", &["list_checkpoints"], || Input::CheckpointsListed(Ok(Vec::new()))),
    ("store rejected", &["reject"], || Input::Rejected(Ok(()))),
    ("checkpoint restored", &["restore"], || Input::Restored(Ok(()))),
    ("commit done", &["commit"], || Input::CommitDone(Ok(()))),
    ("store written", AWAY, || Input::StoreWritten { store: store(), result: Ok(()) }),
    ("checkpointed", AWAY, checkpointed),
    ("succeeded", AWAY, || Input::Succeeded(Ok(store()))),
    ("next generation found", &["look_for_next"], || Input::NextFound(Ok(None))),
    ("released", &["stand_still"], || Input::Released(None)),
    ("woken", &["wait"], || Input::Woken),
    ("paused", &["pause"], || Input::Paused),
];

/// The history, up to so many steps; `None` if it is over before.
fn history(steps: usize) -> Option<World> {
    let options =
        Options { batch_records_max: 2, checkpoint_interval_ms: Some(150), ..Options::default() };
    let mut world = folded_with(&options);
    // What was committed is folded once more.
    world.processes[0].stores = MemStores::new();
    world.start(0);
    let (mut done, mut commits) = (0, 0);
    for word in ["sent", "delivered", "read", "failed"] {
        world.pass(200);
        for message in 0..5 {
            append_webhook(&world.log, &status(message, word, 1_795_132_900));
        }
        loop {
            if done == steps {
                return Some(world);
            }
            done += 1;
            let is_commit = world.next_kind(0) == Some("commit");
            match world.execute(0) {
                Executed::Answer(input) if is_commit => {
                    commits += 1;
                    let reason = String::new;
                    let input = match (commits, input) {
                        (2, _) => Input::CommitDone(Err(CommitError::Aborted { reason: reason() })),
                        // It took effect all the same.
                        (4, _) => Input::CommitDone(Err(CommitError::Unclear { reason: reason() })),
                        (_, input) => input,
                    };
                    world.deliver(0, input);
                }
                Executed::Answer(input) => world.deliver(0, input),
                Executed::Waits { until } if world.outstanding(0).contains(&"pause") => {
                    world.pass(until.unwrap() - world.now_ms);
                }
                Executed::Waits { .. } => break,
                Executed::End(end) => panic!("{end:?}"),
            }
        }
    }
    None
}

#[test]
fn an_answer_that_nobody_asked_for_is_a_defect_and_the_end() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut steps = 0;
    while let Some(world) = history(steps) {
        let outstanding = world.outstanding(0);
        let phase = match world.progress(0).unwrap() {
            Progress::Live { .. } => "live",
            Progress::Restoring { .. } => "restoring",
            Progress::Starting | Progress::Over => "starting",
        };
        for (name, kinds, answer) in ANSWERS {
            let is_asked = outstanding.iter().any(|kind| kinds.contains(kind));
            // A driver that restores has one command at a time, and takes the other's answer as it comes.
            let is_taken = phase == "restoring" && matches!(name, "store written" | "raw read");
            if phase == "starting" || is_asked || is_taken {
                continue;
            }
            let mut world = history(steps).unwrap();
            let ended = world.feed(0, answer());
            assert!(
                matches!(&ended[..], [Command::Lost(Lost::Defect(what))] if *what == name),
                "{name} beside {outstanding:?}, {phase}, step {steps}: {ended:?}"
            );
            assert_eq!(world.progress(0), Some(Progress::Over));
            *seen.entry(name).or_default() += 1;
        }
        *seen.entry(phase).or_default() += 1;
        steps += 1;
    }
    println!("{seen:?}");
    // Each is looked at where it is not asked, in each phase.
    assert_eq!(seen.len(), ANSWERS.len() + 3, "{seen:?}");
}
