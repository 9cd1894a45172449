//! Clients that know no broker any more, and the addresses they get again.
//!
//! A broker that is alone and comes back answers a moment before it counts as being there. Asked in
//! that moment it names topics and no broker, not even itself. librdkafka 2.12.1 takes that at its
//! word and lets go of all brokers it knows. It then means to begin with the addresses it was made
//! with, but the same answer, being one, can cancel that, and what it means to do is never meant a
//! second time: such a client has nobody to ask, for good. Its consumers read nothing and call
//! partitions unknown, its producers send nothing.
//!
//! So every client that lives long is asked every few seconds whether a broker answers it. One that has
//! nobody to ask twice, while a client made this moment has, is given its addresses again. It goes on
//! with what it had under way: nothing is lost, sent twice or given up for it.
//!
//! The same rounds hear what those clients tell that have no thread, or one that may be in a call for as long as
//! brokers are away: it would gather for as long.

use std::{
    ffi::CString,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::consumer::BaseConsumer;

use super::{
    calls::spawn,
    context::Quiet,
    native::{Native, Reach, add_brokers, reach},
    options::KafkaOptions,
};
use crate::Error;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(3);
/// The slice of it after which the thread sees that the log was closed.
const TICK: Duration = Duration::from_millis(100);
/// What a client may take for its answer, and a new one, which connects first. It takes milliseconds.
const ANSWER: Duration = Duration::from_millis(500);
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// Rounds in which a client has nobody to ask before it counts as lost: one that was cut off connects
/// again within a second.
const ROUNDS: u32 = 2;
/// A client that was given addresses and still has no answer gets them again after this pause, which
/// doubles up to the other: each time may cost it a thread.
const AGAIN_FIRST: Duration = Duration::from_secs(3);
const AGAIN_LAST: Duration = Duration::from_secs(60);

/// The clients of a log, looked after by a thread.
pub(super) struct Keeper {
    options: KafkaOptions,
    brokers: CString,
    clients: Mutex<Vec<Kept>>,
}

/// A client, for as long as somebody has it.
struct Kept {
    what: &'static str,
    client: Weak<dyn Native>,
    /// It may have lost its brokers, and had no answer since.
    suspect: bool,
    /// Rounds in which it had nobody to ask although the brokers were there.
    lost: u32,
    /// Before it no addresses are given again, and the pause after that.
    wait: Option<(Instant, Duration)>,
}

impl Keeper {
    /// Starts the thread, which ends once `closed` is set.
    pub(super) fn start(
        options: &KafkaOptions,
        closed: &Arc<AtomicBool>,
    ) -> Result<Arc<Self>, Error> {
        let brokers = CString::new(options.brokers.as_str()).map_err(|_| Error::Unavailable {
            reason: "the addresses of the brokers contain a zero byte".to_owned(),
        })?;
        let (options, clients) = (options.clone(), Mutex::default());
        let keeper = Arc::new(Self { options, brokers, clients });
        let (kept, closed) = (Arc::clone(&keeper), Arc::clone(closed));
        spawn("tickfold-kafka-keeper", move || kept.run(&closed))?;
        Ok(keeper)
    }

    /// Looks after the client from now on. `what` names it in the log and in metrics.
    pub(super) fn keep<T: Native + 'static>(&self, what: &'static str, client: &Arc<T>) {
        let client: Weak<dyn Native> = Arc::downgrade(client) as Weak<dyn Native>;
        self.lock().push(Kept { what, client, suspect: false, lost: 0, wait: None });
    }

    fn run(&self, closed: &AtomicBool) {
        let mut rested = Instant::now();
        while !closed.load(Ordering::Acquire) {
            if rested.elapsed() < PAUSE {
                std::thread::sleep(TICK);
                continue;
            }
            self.look(closed);
            rested = Instant::now();
        }
    }

    /// One round.
    fn look(&self, closed: &AtomicBool) {
        // Taken out, so that nobody waits for the answers who brings another client.
        let mut clients = std::mem::take(&mut *self.lock());
        // Whether the brokers answer a new client, once that matters.
        let mut there = None;
        clients.retain_mut(|kept| {
            // Held for its own question only.
            let Some(client) = kept.client.upgrade() else { return false };
            client.hear();
            kept.suspect |= client.may_be_lost();
            if !kept.suspect || there == Some(false) || closed.load(Ordering::Acquire) {
                return true;
            }
            match reach(&*client, ANSWER) {
                Reach::Brokers => (kept.suspect, kept.lost, kept.wait) = (false, 0, None),
                Reach::Silence => {}
                Reach::Nobody => {
                    if *there.get_or_insert_with(|| self.are_there()) {
                        self.give_again(kept, &*client);
                    }
                }
            }
            true
        });
        self.lock().append(&mut clients);
    }

    /// Whether the brokers answer a client that was made this moment.
    fn are_there(&self) -> bool {
        #[cfg(feature = "test-util")]
        if self.options.leave_lost {
            return false;
        }
        let client = self.options.admin().create_with_context(Quiet);
        let client: Result<BaseConsumer<Quiet>, _> = client;
        client.is_ok_and(|client| reach(&client, FIRST_ANSWER) == Reach::Brokers)
    }

    /// Gives its addresses to a client that has nobody to ask, if that is not the first time.
    fn give_again(&self, kept: &mut Kept, client: &dyn Native) {
        kept.lost = kept.lost.saturating_add(1);
        if kept.lost < ROUNDS {
            return;
        }
        if kept.wait.is_some_and(|(until, _)| Instant::now() < until) {
            return;
        }
        let what = kept.what;
        tracing::warn!(client = what, "a kafka client knew no broker, it gets the addresses again");
        metrics::counter!(crate::metrics::CLIENTS_RESCUED, "client" => what).increment(1);
        add_brokers(client, &self.brokers);
        let pause = kept.wait.map_or(AGAIN_FIRST, |(_, pause)| pause);
        kept.wait = Some((Instant::now() + pause, (pause * 2).min(AGAIN_LAST)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}
