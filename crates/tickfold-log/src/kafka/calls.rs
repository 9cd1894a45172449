//! Threads for the calls of librdkafka that block.
//!
//! The port is asynchronous and is called from shared runtimes; librdkafka's questions to brokers
//! block the thread that asks. They are asked here, by a fixed number of threads. A call whose
//! future is dropped is carried through, and its answer dropped with all that hangs on it.

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

    /// Runs `call` on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move || {
            // Whoever asked may be gone.
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
