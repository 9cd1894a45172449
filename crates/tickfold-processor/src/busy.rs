//! How much of the time a partition works: its ceiling comes near when that is most of it.
//!
//! What is measured is each turn of the partition's task on its own thread: folding, the store, and
//! its part of a commit. Waiting for the log is not work. So records come at most by 1 / share as
//! fast as they do before the partition falls behind.

use std::pin::pin;

use crate::clock::Clock;
use crate::metrics;

/// Runs a task of a partition and counts the time that it works.
pub(crate) async fn counted<F: Future>(partition: u32, task: F) -> F::Output {
    let clock = Clock::start();
    let seconds = metrics::busy_seconds(partition);
    let (mut task, mut busy_us) = (pin!(task), 0);
    std::future::poll_fn(|context| {
        let begun_us = clock.now_us();
        let polled = task.as_mut().poll(context);
        busy_us += clock.now_us().saturating_sub(begun_us);
        // Counters are whole; what is left over waits for the next turn.
        seconds.increment(busy_us / 1_000_000);
        busy_us %= 1_000_000;
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit,
    };
    use tokio::time::advance;

    use super::{Clock, counted};

    #[derive(Debug, Default)]
    struct Seconds(AtomicU64);

    impl CounterFn for Seconds {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Ordering::Relaxed);
        }

        fn absolute(&self, value: u64) {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// Keeps one counter, whatever its name.
    #[derive(Debug, Default)]
    struct One(Arc<Seconds>);

    impl metrics::Recorder for One {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            assert_eq!(key.name(), "tickfold_processor_busy_seconds_total");
            Counter::from_arc(Arc::clone(&self.0))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn work_counts_and_waiting_does_not() {
        let recorder = One::default();
        let seconds = Arc::clone(&recorder.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        metrics::with_local_recorder(&recorder, || {
            runtime.block_on(counted(0, async {
                for _ in 0..3 {
                    Clock::start().wait_until(Some(60_000)).await;
                    // Time passes within a turn: this is work.
                    let mut turn = Box::pin(advance(Duration::from_millis(700)));
                    let waker = std::task::Waker::noop();
                    let _ = turn.as_mut().poll(&mut std::task::Context::from_waker(waker));
                }
            }));
        });
        assert_eq!(seconds.0.load(Ordering::Relaxed), 2, "2.1 s of work, 180 s of waiting");
    }
}
