//! Many runs on all cores, and an eye on those that do not end: a loop in what is under test, or in the
//! world, is no step and no event, so only a clock tells.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::REPLAY;

/// A run takes milliseconds. One that takes so many looks of a second does not end.
const LOOKS_MAX: u32 = 60;
const LOOK: Duration = Duration::from_secs(1);

/// Does something with each number, on all cores, and gives the results in order. If one does not come
/// to its end, it says which plan that is and ends the process.
pub(crate) fn on_all_cores<T: Send>(
    numbers: Range<u64>,
    plan: impl Fn(u64) -> String + Sync,
    act: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(numbers.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // What each worker is at; beyond the end: nothing any more.
    let at: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(u64::MAX)).collect();
    let (working, all_done) = channel::<()>();
    let worker = &|at: &AtomicU64| {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                at.store(u64::MAX, Ordering::Relaxed);
                return done;
            }
            at.store(number, Ordering::Relaxed);
            done.push((number, act(number)));
        }
    };
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let (at, plan) = (&at, &plan);
        scope.spawn(move || watch(at, &all_done, plan));
        let workers: Vec<_> = at.iter().map(|at| scope.spawn(move || worker(at))).collect();
        let done: Vec<_> =
            workers.into_iter().map(|worker| worker.join().expect("a run is caught")).collect();
        drop(working);
        done.into_iter().flatten().collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, done)| done).collect()
}

/// Looks at the workers until all are done.
fn watch(at: &[AtomicU64], all_done: &Receiver<()>, plan: impl Fn(u64) -> String) {
    let mut seen: Vec<(u64, u32)> = at.iter().map(|_| (u64::MAX, 0)).collect();
    while all_done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for (at, (number, looks)) in at.iter().zip(&mut seen) {
            let now = at.load(Ordering::Relaxed);
            *looks = if now == *number && now != u64::MAX { *looks + 1 } else { 0 };
            *number = now;
            if *looks >= LOOKS_MAX {
                let seconds = LOOK.as_secs() * u64::from(LOOKS_MAX);
                println!("seed {now} does not end within {seconds} s\n{REPLAY} {}", plan(now));
                // Its thread cannot be stopped.
                std::process::exit(1);
            }
        }
    }
}
