//! What the crash and fault tests add to [`support`](crate::support): seeded load, and an oracle
//! that follows a node over many restarts.
//!
//! The oracle reads only what is new since its last look and folds it on, so a look after each of
//! hundreds of kills stays cheap. What it compares is the same as `assert_golden`, and more: every
//! acknowledged body in raw, every message as gRPC tells it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tickfold_core::fold::Partition;
use tickfold_core::ids::{Participant, Wamid};
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::{KIND_WEBHOOK, RawRecord, header};
use tickfold_core::records::Topic;
use tickfold_core::state::{Message, Status};
use tickfold_core::time::Timestamp;
use tickfold_log::{EmbeddedLog, EmbeddedOptions, Log, TopicPartition};
use tickfold_processor::raw_record;
use tickfold_proto::admin::v1::admin_service_client::AdminServiceClient;
use tickfold_proto::admin::v1::tail_request::Start;
use tickfold_proto::admin::v1::{self as admin, StartPosition, StartPositions, TailRequest};
use tickfold_proto::query::v1 as query;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tickfold_store::{MemStores, RocksOptions, RocksStores, Stores};
use tonic::transport::{Channel, Endpoint};

use crate::schemas::assert_valid;
use crate::support::{Http, PARTITIONS, RAW, Rng, base, eventually, messages_of, status, topic};

// --- load -------------------------------------------------------------------------------------

/// Accounts of the load: more than there are partitions, so that most partitions are busy.
const ACCOUNTS: u64 = 12;
/// Clients that post at the same time, each on a connection of its own.
const CLIENTS: u64 = 4;
/// What a client waits after it was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Bodies kept to be sent again.
const RECENT: usize = 200;

/// A seeded source of signed webhooks from several clients: new ids, duplicates, disorder, several
/// accounts in one body, and some that cannot be decoded.
#[derive(Debug)]
pub(crate) struct Load {
    seed: u64,
    serial: AtomicU64,
    recent: Mutex<VecDeque<Vec<u8>>>,
}

/// What became of the posts of one [`Load::run`].
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Bodies answered 200.
    pub(crate) acknowledged: Vec<Vec<u8>>,
    /// Posts answered 503.
    pub(crate) refused: usize,
}

impl Load {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, serial: AtomicU64::new(0), recent: Mutex::default() }
    }

    /// Posts until each client has sent `posts`, or the node no longer answers. Beside it runs
    /// `fault`, which is given the number of answers so far.
    pub(crate) fn run(&self, addr: &str, posts: usize, fault: impl FnOnce(&Progress)) -> Posted {
        let progress = Progress::default();
        thread::scope(|scope| {
            let run = self.serial.load(Ordering::SeqCst);
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let rng = Rng(self.seed ^ run.wrapping_mul(0x9e37_79b9) ^ (client << 56));
                    let progress = &progress;
                    scope.spawn(move || self.client(addr, posts, rng, progress))
                })
                .collect();
            fault(&progress);
            let mut all = Posted::default();
            for client in clients {
                let posted = client.join().unwrap();
                all.acknowledged.extend(posted.acknowledged);
                all.refused += posted.refused;
            }
            all
        })
    }

    fn client(&self, addr: &str, posts: usize, mut rng: Rng, progress: &Progress) -> Posted {
        let _ended = Ended(progress);
        let mut posted = Posted::default();
        let mut http = Http::new(addr);
        for _ in 0..posts {
            let body = self.next(&mut rng);
            // No answer: the body may be in raw or not.
            let Ok(answer) = http.post_signed(&body) else { break };
            match answer.status {
                200 => posted.acknowledged.push(body),
                503 => {
                    posted.refused += 1;
                    // Refusals come at once; load has to last as long as what causes them.
                    thread::sleep(REFUSED_PAUSE);
                }
                other => panic!("{other} for {}", String::from_utf8_lossy(&body)),
            }
            progress.answers.fetch_add(1, Ordering::SeqCst);
        }
        posted
    }

    /// The next body: one in six was sent before.
    pub(crate) fn next(&self, rng: &mut Rng) -> Vec<u8> {
        let mut recent = self.recent.lock().unwrap();
        if !recent.is_empty() && rng.below(6) == 0 {
            return recent[rng.below(recent.len())].clone();
        }
        let body = self.body(rng).into_bytes();
        recent.push_back(body.clone());
        if recent.len() > RECENT {
            recent.pop_front();
        }
        body
    }

    fn body(&self, rng: &mut Rng) -> String {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst);
        if rng.below(40) == 0 {
            return format!(r#"{{"object":"whatsapp_business_account","entry":[{{"id":{serial}"#);
        }
        let bodies: Vec<String> = (0..1 + rng.below(3)).map(|_| entry(rng, serial)).collect();
        // Each is a body of its own; their entries make one body.
        let entries: Vec<&str> = bodies
            .iter()
            .map(|body| body.split_once(r#""entry":["#).unwrap().1.strip_suffix("]}").unwrap())
            .collect();
        let entries = entries.join(",");
        format!(r#"{{"object":"whatsapp_business_account","entry":[{entries}],"serial":{serial}}}"#)
    }
}

/// A body with one entry of some account.
fn entry(rng: &mut Rng, serial: u64) -> String {
    let account = u64::try_from(rng.below(usize::try_from(ACCOUNTS).unwrap())).unwrap();
    let waba = format!("{}", 215_589_900_000_100 + account);
    let after_s = i64::try_from(rng.below(3_600)).unwrap();
    let time = base() + after_s;
    match rng.below(20) {
        0 => format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","time":{time},"changes":[{{"field":"message_template_status_update","value":{{"event":"{}","message_template_id":{},"message_template_name":"otp","message_template_language":"en_US"}}}}]}}]}}"#,
            ["APPROVED", "PAUSED", "REJECTED", "DISABLED"][rng.below(4)],
            serial % 7,
        ),
        1 => messages_of(&waba, r#""statuses":[{"status":"sent"},7]"#),
        2 | 3 => messages_of(
            &waba,
            &format!(
                r#""messages":[{{"from":"44770090{:04}","id":"wamid.in.{account}.{serial}","timestamp":"{time}","type":"text","text":{{"body":"hello {serial}"}}}}]"#,
                serial % 50
            ),
        ),
        _ => {
            // About four statuses for each message, by several clients, in whatever order.
            let statuses: Vec<String> = (0..1 + rng.below(2))
                .map(|_| {
                    let message = (serial / 6).saturating_sub(rng.next() % 3);
                    let word = ["sent", "delivered", "read", "failed"][rng.below(4)];
                    status(&format!("wamid.{account}.{message}"), word, after_s)
                })
                .collect();
            messages_of(&waba, &format!(r#""statuses":[{}]"#, statuses.join(",")))
        }
    }
}

/// How far a run of the load has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    answers: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// Answers so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// Waits for so many answers, or for the end of the first client.
    pub(crate) fn wait_for(&self, answers: u64) {
        while self.answers.load(Ordering::SeqCst) < answers && !self.ended.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Says that a client is at its end, also by a panic: nobody must wait for its answers.
struct Ended<'a>(&'a Progress);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

// --- gRPC -------------------------------------------------------------------------------------

/// Blocking clients of both services.
#[derive(Debug)]
pub(crate) struct Clients {
    runtime: tokio::runtime::Runtime,
    admin: AdminServiceClient<Channel>,
    query: QueryServiceClient<Channel>,
}

type Grpc<T> = Result<T, tonic::Status>;

impl Clients {
    pub(crate) fn connect(addr: &str) -> Grpc<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
        let channel = runtime.block_on(endpoint.connect());
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let admin =
            AdminServiceClient::new(channel.clone()).max_decoding_message_size(16 * 1024 * 1024);
        Ok(Self { runtime, admin, query: QueryServiceClient::new(channel) })
    }

    /// The same, except that nobody is there to be asked about messages.
    pub(crate) fn without_queries(mut self) -> Self {
        {
            let _entered = self.runtime.enter();
            let nobody = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
            self.query = QueryServiceClient::new(nobody);
        }
        self
    }

    /// Records of a topic from these offsets to the end as it is now, by partition.
    pub(crate) fn tail(
        &mut self,
        topic: &str,
        from: &BTreeMap<u32, u64>,
    ) -> Grpc<BTreeMap<u32, Vec<admin::Record>>> {
        let positions =
            from.iter().map(|(&partition, &offset)| StartPosition { partition, offset });
        let request = TailRequest {
            topic: topic.to_owned(),
            start: Some(Start::FromPositions(StartPositions { positions: positions.collect() })),
            until_end: true,
            ..TailRequest::default()
        };
        self.runtime.block_on(async {
            let mut stream = self.admin.tail(request).await?.into_inner();
            let mut found: BTreeMap<u32, Vec<admin::Record>> = BTreeMap::new();
            while let Some(response) = stream.message().await? {
                let record = response.record.unwrap();
                found.entry(record.partition).or_default().push(record);
            }
            Ok(found)
        })
    }

    /// Messages with their histories, once these positions are applied.
    pub(crate) fn lookup(
        &mut self,
        wamids: &[String],
        min_position: &[query::Position],
    ) -> Grpc<query::LookupMessagesResponse> {
        let request = query::LookupMessagesRequest {
            wamids: wamids.to_vec(),
            view: query::MessageView::History.into(),
            min_position: min_position.to_vec(),
        };
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(30));
        Ok(self.runtime.block_on(self.query.lookup_messages(request))?.into_inner())
    }
}

// --- oracle -----------------------------------------------------------------------------------

/// Follows a node: raw, what it must lead to, what is there.
#[derive(Debug)]
pub(crate) struct Oracle {
    partitions: BTreeMap<u32, Followed>,
    /// What was found wrong with outputs and not said yet, by a look that broke off.
    unsaid: Verdict,
}

/// One partition.
#[derive(Debug, Default)]
struct Followed {
    /// The golden fold of raw so far.
    state: Overlay,
    /// The next raw offset to fold.
    next: u64,
    /// What raw records below this one changed was compared with what the store tells.
    looked_until: u64,
    /// The offset after the last webhook: what the store must have applied. Ticks behind it wait.
    urgent: u64,
    /// How often each body was acknowledged, and how often raw has it.
    bodies: HashMap<Bytes, (usize, usize)>,
    /// Golden outputs that were not compared yet.
    outputs: BTreeMap<Topic, Vec<Plain>>,
    /// Records of the derived partitions compared so far: the next offset.
    seen: BTreeMap<Topic, u64>,
    /// Identities of everything emitted so far, and of each fact.
    emitted: HashSet<String>,
    facts: HashSet<String>,
}

/// A derived record without its offset, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Plain {
    key: Bytes,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
    timestamp_ms: i64,
}

/// What is wrong; all zero is right.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Acknowledged bodies that raw lacks, golden outputs that are not there, and messages that
    /// the store has otherwise or not at all.
    pub(crate) lost: usize,
    /// Outputs and facts that are there more often than they should.
    pub(crate) twice: usize,
    /// The first thing found wrong.
    pub(crate) first: String,
    /// Messages that were compared with what the store tells of them.
    pub(crate) messages: usize,
}

impl Verdict {
    pub(crate) fn is_right(&self) -> bool {
        self.lost == 0 && self.twice == 0
    }

    fn lost(&mut self, count: usize, first: impl FnOnce() -> String) {
        self.lost += count;
        self.note(count, first);
    }

    fn twice(&mut self, count: usize, first: impl FnOnce() -> String) {
        self.twice += count;
        self.note(count, first);
    }

    fn note(&mut self, count: usize, first: impl FnOnce() -> String) {
        if count > 0 && self.first.is_empty() {
            self.first = first();
        }
    }
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let partitions = (0..PARTITIONS).map(|p| (p, Followed::default())).collect();
        Self { partitions, unsaid: Verdict::default() }
    }

    /// A body was answered 200: raw must have it once more, in each partition it names.
    pub(crate) fn acknowledged(&mut self, body: &[u8]) {
        for to in tickfold_core::route(body, PARTITIONS) {
            let followed = self.partitions.get_mut(&to.partition).unwrap();
            let body = Bytes::copy_from_slice(body);
            followed.bodies.entry(body).or_default().0 += 1;
        }
    }

    /// Looks at everything that is new. Nobody may post meanwhile. `Err` is a node that is gone: then
    /// what was not compared or not said is left to the next look.
    pub(crate) fn look(&mut self, clients: &mut Clients) -> Grpc<Verdict> {
        let mut verdict = Verdict::default();
        let next = self.partitions.iter().map(|(&p, f)| (p, f.next)).collect();
        let raw = clients.tail(RAW, &next)?;
        for (partition, records) in raw {
            let followed = self.partitions.get_mut(&partition).unwrap();
            records.iter().for_each(|record| followed.fold(partition, record));
        }
        for (partition, followed) in &self.partitions {
            for (body, (acknowledged, found)) in &followed.bodies {
                verdict.lost(acknowledged.saturating_sub(*found), || {
                    format!("raw {partition} lacks {}", String::from_utf8_lossy(body))
                });
            }
        }

        // What the store has comes behind the outputs, so after this both must be there.
        self.look_at_messages(clients, &mut verdict)?;

        for of in Topic::ALL {
            let from = self.partitions.iter();
            let from = from.map(|(&p, f)| (p, f.seen.get(&of).copied().unwrap_or(0))).collect();
            let mut found = clients.tail(&topic(of), &from)?;
            for (partition, followed) in &mut self.partitions {
                let found = found.remove(partition).unwrap_or_default();
                // Read once: a later failure must not take back what this says.
                followed.compare(of, *partition, found, &mut self.unsaid);
            }
        }
        let Verdict { lost, twice, first, .. } = std::mem::take(&mut self.unsaid);
        verdict.lost(lost, || first.clone());
        verdict.twice(twice, || first);
        self.partitions.values_mut().for_each(|followed| followed.looked_until = followed.next);
        Ok(verdict)
    }

    /// Compares the messages that changed since the last whole look with what gRPC tells of them.
    fn look_at_messages(&self, clients: &mut Clients, verdict: &mut Verdict) -> Grpc<()> {
        let mut changed: BTreeMap<String, (u32, &Message)> = BTreeMap::new();
        for (partition, followed) in &self.partitions {
            for (wamid, change) in followed.state.messages.changes() {
                let Some(message) = &change.after else { continue };
                if message.journal.revision >= followed.looked_until {
                    changed.insert(wamid.to_string(), (*partition, message));
                }
            }
        }
        let positions = self.partitions.iter();
        let positions: Vec<query::Position> = positions
            .map(|(&partition, followed)| query::Position { partition, offset: followed.urgent })
            .collect();
        // Once also without any message: what comes next relies on the positions.
        let unknown = "wamid.that.nobody.ever.sent".to_owned();
        let response = clients.lookup(std::slice::from_ref(&unknown), &positions)?;
        assert_eq!(response.missing, [unknown]);
        verdict.messages += changed.len();
        let wamids: Vec<String> = changed.keys().cloned().collect();
        for wamids in wamids.chunks(500) {
            let response = clients.lookup(wamids, &positions)?;
            let found: HashMap<&str, &query::Message> =
                response.found.iter().map(|message| (message.wamid.as_str(), message)).collect();
            for wamid in wamids {
                let (partition, golden) = changed[wamid];
                let golden = told(partition, wamid, golden);
                let found = found.get(wamid.as_str()).map(|message| answered(message));
                let wrong = usize::from(found.as_ref() != Some(&golden));
                verdict.lost(wrong, || format!("store:\nwant {golden:?}\nhave {found:?}"));
            }
        }
        Ok(())
    }

    /// All wamids of the golden state.
    pub(crate) fn wamids(&self) -> Vec<String> {
        let messages = self.partitions.values().flat_map(|f| f.state.messages.changes());
        messages.map(|(wamid, _)| wamid.to_string()).collect()
    }

    /// Next offsets of all derived partitions, as far as they were looked at.
    pub(crate) fn ends(&self) -> Vec<(u32, BTreeMap<Topic, u64>)> {
        self.partitions.iter().map(|(&partition, f)| (partition, f.seen.clone())).collect()
    }

    /// Webhooks in raw, as far as it was looked at.
    pub(crate) fn webhooks(&self) -> usize {
        self.partitions.values().flat_map(|f| f.bodies.values()).map(|(_, found)| found).sum()
    }

    /// Outputs compared so far.
    pub(crate) fn outputs(&self) -> u64 {
        self.partitions.values().flat_map(|followed| followed.seen.values()).sum()
    }

    /// Compares the digest of each partition's whole state on disk, as its head has it and as its rows
    /// give it, with that of the golden fold of raw up to where that state stands. The node must have
    /// stopped; `log` is its log, which is closed then.
    pub(crate) fn look_at_stores(&self, data_dir: &Path, log: Arc<dyn Log>) -> Result<(), String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let disk = RocksStores::open(data_dir.join("state"), RocksOptions::default()).unwrap();
        let memory = MemStores::new();
        for (&partition, followed) in &self.partitions {
            let store = disk.open(partition).unwrap();
            let head = store.store_head();
            if head.cursor < followed.urgent {
                let urgent = followed.urgent;
                return Err(format!("partition {partition}: cursor {}, not {urgent}", head.cursor));
            }
            let state = runtime.block_on(golden_below(&*log, partition, head.cursor))?;
            let golden = memory.open(partition).unwrap().digest_after(&state).unwrap();
            for digest in [head.digest, store.recompute_digest().unwrap()] {
                if digest != golden {
                    return Err(format!(
                        "partition {partition}: digest {digest:x}, golden {golden:x}"
                    ));
                }
            }
        }
        runtime.block_on(log.close()).unwrap();
        Ok(())
    }

    /// Gives a message other callback data, in the store of a node that has stopped, with or without the
    /// digest in the store's head: a control of [`Self::look_at_stores`].
    pub(crate) fn spoil_store(&self, data_dir: &Path, head_follows: bool) {
        let mut all = self.partitions.iter();
        let message = |f: &Followed| Some(f.state.messages.changes().next()?.0.clone());
        let (partition, wamid) = all.find_map(|(&p, f)| Some((p, message(f)?))).unwrap();
        let disk = RocksStores::open(data_dir.join("state"), RocksOptions::default()).unwrap();
        let mut store = disk.open(partition).unwrap();
        let mut change = Overlay::default();
        let message = change.messages.entry(&wamid, |wamid| store.message(wamid)).unwrap();
        message.as_mut().unwrap().facts.callback_data = Some("spoilt".to_owned());
        let mut head = store.store_head();
        if head_follows {
            head.digest = store.digest_after(&change).unwrap();
        }
        store.write(head.cursor, &change, head).unwrap();
    }

    /// Spoils what is to be found next in some partition that has something, as if a fault had
    /// struck: controls of the oracle itself.
    pub(crate) fn spoil(&mut self, how: Spoil) {
        match how {
            Spoil::Acknowledged => self.acknowledged(b"never posted"),
            Spoil::OutputMissing => {
                let followed = self.partitions.values_mut().next().unwrap();
                let nothing =
                    Plain { key: Bytes::new(), value: None, headers: vec![], timestamp_ms: 0 };
                followed.outputs.entry(Topic::Transition).or_default().push(nothing);
            }
            Spoil::ReadAgain => {
                let mut all = self.partitions.values_mut();
                let seen = all.find_map(|f| f.seen.get_mut(&Topic::Transition).filter(|s| **s > 0));
                *seen.unwrap() -= 1;
            }
        }
    }
}

/// The golden fold of raw below an offset, which raw must reach.
async fn golden_below(log: &dyn Log, partition: u32, end: u64) -> Result<Overlay, String> {
    let (raw, place) =
        (TopicPartition::new(RAW, partition), Partition { id: partition, count: PARTITIONS });
    let (mut state, mut next) = (Overlay::default(), 0);
    while next < end {
        let records = log.read(&raw, next, 1_000, 16 << 20).await.unwrap();
        if records.is_empty() {
            return Err(format!("partition {partition}: cursor {end}, and raw ends at {next}"));
        }
        for record in records {
            next = record.offset + 1;
            if next > end {
                break;
            }
            tickfold_core::fold(&mut state, &Nothing, place, &raw_record(&record)).unwrap();
        }
    }
    Ok(state)
}

/// The log of a node on the embedded log that has stopped.
pub(crate) fn embedded_log(data_dir: &Path) -> Arc<dyn Log> {
    let dir = data_dir.join("log");
    eventually("the node let go of the log", || {
        let log = EmbeddedLog::open(&dir, EmbeddedOptions::default()).ok()?;
        Some(log as Arc<dyn Log>)
    })
}

/// See [`Oracle::spoil`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spoil {
    /// A body counts as acknowledged that never was.
    Acknowledged,
    /// An output is expected that never came.
    OutputMissing,
    /// The last output comes again.
    ReadAgain,
}

impl Followed {
    fn fold(&mut self, partition: u32, record: &admin::Record) {
        assert!(record.offset >= self.next, "raw {partition}: {} came twice", record.offset);
        self.next = record.offset + 1;
        let headers = record.headers.iter();
        let raw = RawRecord {
            offset: record.offset,
            appended: Timestamp::from_millis(ms(record.timestamp.as_ref())),
            headers: headers.map(|header| (&*header.name, &*header.value)).collect(),
            value: record.value.as_deref(),
        };
        if raw.header(header::KIND) == Some(KIND_WEBHOOK) {
            self.urgent = self.next;
            let body = record.value.clone().unwrap();
            self.bodies.entry(body).or_default().1 += 1;
        }
        let place = Partition { id: partition, count: PARTITIONS };
        for output in tickfold_core::fold(&mut self.state, &Nothing, place, &raw).unwrap() {
            let headers = output.headers.into_iter();
            self.outputs.entry(output.topic).or_default().push(Plain {
                key: output.key.into(),
                value: output.value,
                headers: headers.map(|(n, value)| (n.to_owned(), value)).collect(),
                timestamp_ms: output.timestamp.as_millis(),
            });
        }
    }

    fn compare(&mut self, of: Topic, partition: u32, found: Vec<admin::Record>, to: &mut Verdict) {
        let seen = self.seen.entry(of).or_default();
        let mut plain = Vec::new();
        for record in found {
            // Not dense on Kafka, where markers of transactions have offsets too.
            assert!(record.offset >= *seen, "{}: {} came twice", topic(of), record.offset);
            *seen = record.offset + 1;
            let id = record.headers.iter().find(|header| header.name == "ce_id");
            let id = String::from_utf8(id.unwrap().value.to_vec()).unwrap();
            let again = usize::from(!self.emitted.insert(id.clone()));
            to.twice(again, || format!("{} {partition} has {id} twice", topic(of)));
            if of == Topic::Transition {
                let fact = fact(record.value.as_deref().unwrap());
                let again = usize::from(!self.facts.insert(fact.clone()));
                to.twice(again, || format!("the fact {fact} was reached twice"));
            }
            let headers = record.headers.into_iter().map(|header| (header.name, header.value));
            assert_valid(of, record.value.as_deref());
            plain.push(Plain {
                key: record.key.unwrap_or_default(),
                value: record.value,
                headers: headers.collect(),
                timestamp_ms: ms(record.timestamp.as_ref()),
            });
        }
        let golden = self.outputs.remove(&of).unwrap_or_default();
        if golden == plain {
            return;
        }
        let mut counts: HashMap<&Plain, i64> = HashMap::new();
        golden.iter().for_each(|plain| *counts.entry(plain).or_default() -= 1);
        plain.iter().for_each(|plain| *counts.entry(plain).or_default() += 1);
        let of_sign = |sign: i64| {
            let counts = counts.values().map(|count| count * sign).filter(|count| *count > 0);
            usize::try_from(counts.sum::<i64>()).unwrap()
        };
        let at = (0..).find(|&at| golden.get(at) != plain.get(at)).unwrap();
        let first = || {
            let place = topic(of);
            format!("{place} {partition}:\nwant {:?}\nhave {:?}", golden.get(at), plain.get(at))
        };
        to.lost(of_sign(-1), first);
        to.twice(of_sign(1), first);
        // The same records in another order are no more and no less, and wrong.
        to.lost(usize::from(of_sign(1) + of_sign(-1) == 0), first);
    }
}

/// What makes a transition one fact: entity, participant, status, code, and where an entity knows
/// the latest time only, the time.
fn fact(value: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(value).unwrap();
    let mut parts = vec!["entity", "key", "participant", "to", "error_code"];
    if value["entity"] != "message" {
        parts.extend(["event_time", "event_id"]);
    }
    parts.into_iter().map(|part| format!("{} ", value[part])).collect()
}

/// A message as the golden state has it, in the words of the API.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    wamid: String,
    state: String,
    ids: [String; 4],
    callback: String,
    times_ms: Vec<Option<i64>>,
    error_code: Option<i64>,
    revision: u64,
    history: Vec<Line>,
}

/// From, to, state, late, event time, error code; partition, offset, ordinal.
type Line = (String, String, String, bool, Option<i64>, Option<i64>, (u32, u64, u32));

const TIMED: [Status; 7] = [
    Status::Pending,
    Status::Sent,
    Status::Delivered,
    Status::Read,
    Status::Played,
    Status::Failed,
    Status::Received,
];

pub(crate) fn told(partition: u32, wamid: &str, message: &Message) -> Told {
    let facts = &message.facts;
    let whole = facts.receipts.get(&Participant::whole()).cloned().unwrap_or_default();
    let word = |status: Option<&Status>| status.map(|s| s.as_str().to_owned()).unwrap_or_default();
    let text = |id: Option<String>| id.unwrap_or_default();
    let millis = |time: Timestamp| time.as_millis();
    let history = message.history.iter().map(|line| {
        let (from, to, state) =
            (word(line.from.as_ref()), word(Some(&line.to)), word(Some(&line.state)));
        let place = (partition, line.offset, line.ordinal);
        (from, to, state, line.late, line.event_time.map(millis), line.error_code, place)
    });
    let message_type = facts.inbound.as_ref().and_then(|inbound| inbound.message_type.clone());
    Told {
        wamid: Wamid::from(wamid).to_string(),
        state: word(facts.state()),
        ids: [
            text(facts.waba_id.as_ref().map(ToString::to_string)),
            text(facts.phone_number_id.as_ref().map(ToString::to_string)),
            text(facts.parties.first().map(ToString::to_string)),
            text(message_type),
        ],
        callback: text(facts.callback_data.clone()),
        times_ms: TIMED.iter().map(|status| whole.time_of(status).map(millis)).collect(),
        error_code: whole.error_code(),
        revision: message.journal.revision,
        history: history.collect(),
    }
}

/// The same as gRPC tells it.
pub(crate) fn answered(message: &query::Message) -> Told {
    let m = message.clone();
    let maybe = |time: Option<prost_types::Timestamp>| time.as_ref().map(|time| ms(Some(time)));
    let history = m.history.into_iter().map(|line| {
        let source = line.source.unwrap();
        let place = (source.partition, source.offset, line.ordinal);
        let (from, to, state) = (line.from_text, line.to_text, line.state_text);
        (from, to, state, line.late, maybe(line.event_time), line.error_code, place)
    });
    let times = [
        m.pending_time,
        m.sent_time,
        m.delivered_time,
        m.read_time,
        m.played_time,
        m.failed_time,
        m.inbound_time,
    ];
    Told {
        wamid: m.wamid,
        state: m.state_text,
        ids: [m.waba_id, m.phone_number_id, m.party, m.message_type],
        callback: m.callback_data,
        times_ms: times.into_iter().map(maybe).collect(),
        error_code: m.error_code,
        revision: m.revision,
        history: history.collect(),
    }
}

fn ms(time: Option<&prost_types::Timestamp>) -> i64 {
    let time = time.unwrap();
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

/// Stores that were set aside because they could not be used.
pub(crate) fn set_aside(data_dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("state")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".rejected")).collect()
}
