//! A proxy between clients and a broker that understands Kafka's frames, and can have one request
//! of a transactional producer arrive late: after its connection is gone, and after the client
//! repeated it on another one and went on. Networks do that; here it happens when a test says so.
//!
//! It can also have the broker go away, and deny itself when it comes back: name no broker and no
//! leader, as one does for a moment that is alone.
//!
//! The broker advertises the proxy's address on the listener behind it, so every connection of its
//! clients passes here. What is not delayed is passed on as it is.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::broker;

/// Requests by their number in Kafka's protocol.
const METADATA: i16 = 3;
pub(crate) const ADD_OFFSETS_TO_TXN: i16 = 25;
pub(crate) const END_TXN: i16 = 26;
pub(crate) const TXN_OFFSET_COMMIT: i16 = 28;

/// The brokers' word for a partition between two leaders.
const LEADER_NOT_AVAILABLE: i16 = 5;

const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy before the broker that the tests share.
pub(crate) fn shared() -> &'static Proxy {
    static SHARED: OnceLock<Proxy> = OnceLock::new();
    SHARED.get_or_init(|| Proxy::start(&broker::own().proxy, &broker::own().behind_proxy))
}

pub(crate) struct Proxy {
    delays: Arc<Delays>,
    presence: Arc<Presence>,
    carried: Arc<Carried>,
}

/// Bytes of the brokers' answers that have a text near their beginning, by those that somebody asked for.
#[derive(Default)]
struct Carried(Mutex<HashMap<&'static str, usize>>);

impl Carried {
    fn count(&self, answer: &[u8]) {
        let begin = &answer[..answer.len().min(1_000)];
        for (text, bytes) in &mut *self.0.lock().unwrap() {
            if begin.windows(text.len()).any(|window| window == text.as_bytes()) {
                *bytes += answer.len();
            }
        }
    }
}

/// Whether the broker is there, to those behind the proxy.
#[derive(Default)]
struct Presence {
    away: AtomicBool,
    denied: AtomicBool,
    /// How many answers denied it.
    told: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

/// For tests that need the broker there, together, and for one that sends it away, alone.
pub(crate) static PRESENT: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// What is to be delayed, by transactional id.
type Delays = Mutex<HashMap<String, Arc<Delay>>>;

/// A request that is to arrive late.
pub(crate) struct Delay {
    held: i16,
    cut: bool,
    until: i16,
    nth: usize,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    late: Option<Late>,
    /// The client sent the held request again.
    repeated: usize,
    /// Requests of the kind waited for, since the held one.
    until: usize,
    /// The broker's answer to the held request.
    answer: Option<Vec<u8>>,
    go_on: bool,
}

/// The held request, and the connection it will arrive on.
struct Late {
    frame: Vec<u8>,
    broker: TcpStream,
}

impl Proxy {
    fn start(listen: &str, broker: &str) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let (delays, presence) = (Arc::<Delays>::default(), Arc::<Presence>::default());
        let carried = Arc::<Carried>::default();
        let (broker, rules, present) =
            (broker.to_owned(), Arc::clone(&delays), Arc::clone(&presence));
        let count = Arc::clone(&carried);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A broker that is away takes no connection, as it would without the proxy.
                if present.away.load(Ordering::Acquire) {
                    continue;
                }
                let Ok(broker) = TcpStream::connect(&broker) else { continue };
                present.connections.lock().unwrap().push(client.try_clone().unwrap());
                relay(client, broker, &rules, &present, &count);
            }
        });
        Self { delays, presence, carried }
    }

    /// How many bytes of records with this text came from the broker since the first call.
    pub(crate) fn carried(&self, text: &'static str) -> usize {
        *self.carried.0.lock().unwrap().entry(text).or_default()
    }

    /// The broker goes away for `away`, comes back and denies itself for `denied`, and is there. Returns
    /// how many answers denied it.
    pub(crate) async fn comes_back(&self, away: Duration, denied: Duration) -> usize {
        let (presence, before) = (&self.presence, self.presence.told.load(Ordering::Acquire));
        presence.away.store(true, Ordering::Release);
        for connection in presence.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        tokio::time::sleep(away).await;
        presence.denied.store(true, Ordering::Release);
        presence.away.store(false, Ordering::Release);
        tokio::time::sleep(denied).await;
        presence.denied.store(false, Ordering::Release);
        presence.told.load(Ordering::Acquire) - before
    }

    /// Holds the next request of kind `held` of this producer back, and cuts its connection or
    /// leaves that to the client's patience. It reaches the broker just before the `nth` request of
    /// kind `until` that follows, and that one waits for [`Delay::go_on`].
    pub(crate) fn delay(
        &self,
        id: &str,
        (held, cut): (i16, bool),
        (until, nth): (i16, usize),
    ) -> Arc<Delay> {
        let (seen, changed) = (Mutex::default(), Condvar::new());
        let delay = Arc::new(Delay { held, cut, until, nth, seen, changed });
        self.delays.lock().unwrap().insert(id.to_owned(), Arc::clone(&delay));
        delay
    }
}

impl Delay {
    /// Waits until the request arrived late, and returns the broker's answer and how often the
    /// client had repeated it.
    pub(crate) fn arrived(&self) -> (Vec<u8>, usize) {
        let seen = self.wait("the request arrived late", |seen| seen.answer.is_some());
        (seen.answer.clone().unwrap(), seen.repeated)
    }

    /// Lets the request before which the late one arrived pass.
    pub(crate) fn go_on(&self) {
        self.seen.lock().unwrap().go_on = true;
        self.changed.notify_all();
    }

    fn wait(&self, what: &str, until: impl Fn(&Seen) -> bool) -> std::sync::MutexGuard<'_, Seen> {
        let seen = self.seen.lock().unwrap();
        let (seen, waited) =
            self.changed.wait_timeout_while(seen, PATIENCE, |seen| !until(seen)).unwrap();
        assert!(!waited.timed_out(), "not within {PATIENCE:?}: {what}");
        seen
    }

    /// Looks at a request on its way to the broker. False if it is held back.
    fn passes(&self, frame: &[u8], broker: &TcpStream) -> bool {
        let kind = api_key(frame);
        let mut seen = self.seen.lock().unwrap();
        if seen.late.is_none() {
            if kind != self.held {
                return true;
            }
            let broker = broker.try_clone().unwrap();
            seen.late = Some(Late { frame: frame.to_owned(), broker });
            return false;
        }
        seen.repeated += usize::from(kind == self.held && seen.until == 0);
        if kind == self.until {
            seen.until += 1;
            if seen.until == self.nth {
                let Late { frame, broker } = seen.late.as_mut().unwrap();
                write_frame(broker, frame);
                drop(seen);
                drop(self.wait("the broker answers", |seen| seen.answer.is_some()));
                drop(self.wait("the test goes on", |seen| seen.go_on));
            }
        }
        true
    }

    /// Takes the answer to the held request.
    fn takes(&self, answer: &[u8]) -> bool {
        let mut seen = self.seen.lock().unwrap();
        let is_it = seen.late.as_ref().is_some_and(|late| late.frame[4..8] == answer[..4]);
        if is_it {
            seen.answer = Some(answer.to_owned());
            self.changed.notify_all();
        }
        is_it
    }
}

/// Passes requests and answers on, in threads of their own.
fn relay(
    client: TcpStream,
    broker: TcpStream,
    delays: &Arc<Delays>,
    presence: &Arc<Presence>,
    carried: &Arc<Carried>,
) {
    let held: Arc<OnceLock<Arc<Delay>>> = Arc::default();
    let (presence, carried) = (Arc::clone(presence), Arc::clone(carried));
    // The questions for metadata that are not answered yet, by the number in their answers.
    let asked: Arc<Mutex<HashMap<[u8; 4], i16>>> = Arc::default();
    let asking = Arc::clone(&asked);
    let (mut from_client, mut to_broker) =
        (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let (delays, holds) = (Arc::clone(delays), Arc::clone(&held));
    std::thread::spawn(move || {
        while let Some(frame) = read_frame(&mut from_client) {
            if api_key(&frame) == METADATA {
                let version = i16::from_be_bytes([frame[2], frame[3]]);
                asking.lock().unwrap().insert(frame[4..8].try_into().unwrap(), version);
            }
            let found = delay_of(&delays, &frame);
            if let Some(delay) = found.filter(|delay| !delay.passes(&frame, &to_broker)) {
                // Both end the client's side only: the broker knows of nothing.
                if delay.cut {
                    let _ = from_client.shutdown(Shutdown::Both);
                } else {
                    while read_frame(&mut from_client).is_some() {}
                }
                // Known before the answer can come.
                let _ = holds.set(delay);
                return;
            }
            write_frame(&mut to_broker, &frame);
        }
        let _ = to_broker.shutdown(Shutdown::Both);
    });
    let (mut from_broker, mut to_client) = (broker, client);
    std::thread::spawn(move || {
        while let Some(mut answer) = read_frame(&mut from_broker) {
            let version = asked.lock().unwrap().remove(&answer[..4]);
            if let Some(version) = version
                && presence.denied.load(Ordering::Acquire)
            {
                assert!(version >= 9, "metadata of version {version}");
                answer = deny(&answer);
                presence.told.fetch_add(1, Ordering::AcqRel);
            }
            carried.count(&answer);
            if !held.get().is_some_and(|delay| delay.takes(&answer)) {
                write_frame(&mut to_client, &answer);
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// An answer with metadata, of version 9 or later, without its brokers and its leaders.
fn deny(answer: &[u8]) -> Vec<u8> {
    // The request's number, no tags, and for how long the client shall hold back.
    let brokers_at = 4 + 1 + 4;
    let mut at = brokers_at;
    // Counts and lengths are one more than they say, in seven bits a byte; these fit in one.
    let brokers = usize::from(answer[at]) - 1;
    at += 1;
    for _ in 0..brokers {
        at += 4;
        at += usize::from(answer[at]).max(1);
        at += 4;
        at += usize::from(answer[at]).max(1);
        assert_eq!(answer[at], 0, "a broker's tags");
        at += 1;
    }
    let mut denied = [&answer[..brokers_at], &[1], &answer[at..]].concat();
    // A partition: error, index, leader and its epoch, then replicas and those in sync, which are the
    // leader alone, none offline and no tags.
    for from in brokers_at..denied.len().saturating_sub(26) {
        let partition = &mut denied[from..from + 26];
        let leader: [u8; 4] = partition[6..10].try_into().unwrap();
        let alone = |list: &[u8]| list[0] == 2 && list[1..] == leader;
        if partition[..2] == [0, 0]
            && alone(&partition[14..19])
            && alone(&partition[19..24])
            && partition[24..] == [1, 0]
        {
            partition[..2].copy_from_slice(&LEADER_NOT_AVAILABLE.to_be_bytes());
            partition[6..10].copy_from_slice(&(-1_i32).to_be_bytes());
        }
    }
    denied
}

/// The requests that matter name their transactional id, in one of two encodings, and no other
/// request names one of those that the tests make.
fn delay_of(delays: &Delays, frame: &[u8]) -> Option<Arc<Delay>> {
    if ![ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT].contains(&api_key(frame)) {
        return None;
    }
    let names = |id: &String| frame.windows(id.len()).any(|window| window == id.as_bytes());
    let delays = delays.lock().unwrap();
    delays.iter().find(|(id, _)| names(id)).map(|(_, delay)| Arc::clone(delay))
}

/// A request begins with its kind, its version and the number that its answer begins with.
fn api_key(frame: &[u8]) -> i16 {
    i16::from_be_bytes([frame[0], frame[1]])
}

/// A frame without its length; `None` at the end of the connection.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// What a connection that is gone no longer takes is lost, as on any network.
pub(crate) fn write_frame(stream: &mut TcpStream, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let _ = stream.write_all(&[&length[..], frame].concat());
}
