//! Counters as a test sees them: of everything that runs on the test's own thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString,
    Unit,
};

/// Counts until dropped.
pub(super) struct Counted {
    counters: Counters,
    _guard: LocalRecorderGuard<'static>,
}

/// By name and label values.
type Counters = Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>;

struct Counting(Counters);

impl Counted {
    pub(super) fn start() -> Self {
        let counters = Counters::default();
        // One per test; the guard wants a recorder that outlives it.
        let recorder = Box::leak(Box::new(Counting(Arc::clone(&counters))));
        Self { counters, _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// The counter of that name, and its label values behind spaces.
    pub(super) fn of(&self, name: &str) -> u64 {
        self.counters.lock().unwrap().get(name).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Waits for that counter to reach a value.
    pub(super) async fn reaches(&self, name: &str, value: u64) {
        let reached = async {
            while self.of(name) < value {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(5), reached).await;
        waited.unwrap_or_else(|_| panic!("{name} is {} and not {value}", self.of(name)));
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut name = key.name().to_owned();
        for label in key.labels() {
            name.push(' ');
            name.push_str(label.value());
        }
        Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
