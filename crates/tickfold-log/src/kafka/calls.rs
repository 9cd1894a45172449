//! Threads for the calls of librdkafka that block.
//!
//! The port is asynchronous and is called from shared runtimes; librdkafka's questions to brokers
//! block the thread that asks. They are asked here, by a fixed number of threads. A call whose future
//! is dropped before a thread is free is never made, so what gathers while brokers are away is gone
//! once a thread comes back. From then on it is carried through, and its answer dropped with all that
//! hangs on it.
//!
//! Calls do not wait in their futures, for a place that is given to one after the other: a future that
//! nobody polls for a while would keep its place, and all others with it.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use crate::Error;

type Call = Box<dyn FnOnce() + Send>;

/// The threads. They end when it is dropped and what was asked before is answered.
#[derive(Debug)]
pub(super) struct Calls {
    waiting: mpsc::Sender<Call>,
}

impl Calls {
    /// Starts `threads` threads.
    pub(super) fn start(threads: usize) -> Result<Self, Error> {
        let (waiting, calls) = mpsc::channel::<Call>();
        let calls = Arc::new(Mutex::new(calls));
        for _ in 0..threads {
            let calls = Arc::clone(&calls);
            spawn("tickfold-kafka-calls", move || {
                // A statement of its own: the lock is held while waiting, not while calling.
                while let Some(call) = next(&calls) {
                    call();
                }
            })?;
        }
        Ok(Self { waiting })
    }

    /// Runs `call` on one of the threads, as soon as one is free.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move || {
            if answer.is_closed() {
                return;
            }
            // Whoever asked may be gone by now.
            let _ = answer.send(call());
        });
        self.waiting.send(call).map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)
    }
}

fn next(calls: &Mutex<mpsc::Receiver<Call>>) -> Option<Call> {
    calls.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Runs `call` on a thread of its own: for what may take long and must not wait for others.
pub(super) async fn apart<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (answer, answered) = oneshot::channel();
    spawn(name, move || {
        let _ = answer.send(call());
    })?;
    answered.await.map_err(|_| Error::Closed)
}

/// Starts a thread.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    match thread {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Unavailable { reason: format!("start thread {name}: {error}") }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn calls_wait_for_a_thread_and_those_that_nobody_waits_for_are_never_made() {
        const THREADS: usize = 2;
        let calls = Calls::start(THREADS).unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let call = || {
            let made = Arc::clone(&made);
            move || made.fetch_add(1, Ordering::SeqCst)
        };
        // As with the brokers away: every thread is in a call that does not come back.
        let mut brokers = Vec::new();
        let mut hanging = Vec::new();
        for _ in 0..THREADS {
            let (back, comes_back) = mpsc::channel::<()>();
            brokers.push(back);
            let mut call = Box::pin(calls.run(move || comes_back.recv().is_err()));
            assert!(call.as_mut().now_or_never().is_none());
            hanging.push(call);
        }
        // Whoever asks meanwhile gives up after a while and asks again.
        for _ in 0..1_000 {
            assert!(calls.run(call()).now_or_never().is_none());
        }
        // Two are still there.
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(calls.run(call()))).collect();
        assert!(waiting.iter_mut().all(|call| call.as_mut().now_or_never().is_none()));
        assert_eq!(made.load(Ordering::SeqCst), 0, "more are made at once than there are threads");

        // One whose caller is gone comes back all the same, and its thread is free again.
        drop(hanging);
        drop(brokers);
        for call in waiting {
            call.await.unwrap();
        }
        assert_eq!(made.load(Ordering::SeqCst), 2, "calls that nobody waited for were made");
    }
}
