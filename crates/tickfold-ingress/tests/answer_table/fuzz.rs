//! Mutated requests over real connections: in method, path, headers, framing, body, signature, in
//! how the bytes are cut into writes, and in how the connection ends.
//!
//! What is only strange has one right answer, which is asserted. What is broken may get any answer of
//! the table or a closed connection. Either way: whatever was answered 200 is in the raw topic byte
//! for byte and once, and nothing else is there, except whole and rightly signed webhooks whose
//! answer nobody read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

use tickfold_ingress::IngressOptions;

use crate::mutations::{Case, Expected};
use crate::random::{Random, seed};
use crate::server::{Server, body, post};
use crate::wire::Wire;
use crate::{STATUSES, append_to_soak_table, soak};

/// Requests of a round; a soak has ten rounds, each with an ingress of its own.
const REQUESTS: usize = 100_000;
const CLIENTS: usize = 8;

#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, usize>,
    statuses: BTreeMap<u16, usize>,
    closed: usize,
    /// Bodies answered 200.
    accepted: Vec<String>,
    /// Bodies that were rightly signed, and whose answer was not read or did not come.
    unclear: HashSet<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_requests_get_answers_of_the_table_and_only_whole_webhooks_are_appended() {
    let began = Instant::now();
    let rounds = if soak() { 10 } else { 1 };
    let seed = seed();
    let (mut lost, mut twice, mut mutated) = (0, 0, 0);
    for round in 0..rounds {
        let server = Server::start(IngressOptions::default());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let random =
                    Random(seed.wrapping_mul(1_000_003) + (round * CLIENTS + client) as u64);
                tokio::spawn(send_all(server.address(), random, client, REQUESTS / CLIENTS))
            })
            .collect();
        let mut all = Tally::default();
        for client in clients {
            all.add(client.await.unwrap());
        }
        let alive = server.connect().await.exchange(&post(body("alive").as_bytes())).await;
        assert_eq!(alive.map(|answer| answer.status), Some(200), "alive afterwards");
        all.accepted.push(body("alive"));
        println!("{:?}", all.kinds);
        println!("{:?}, {} closed without an answer", all.statuses, all.closed);
        mutated += REQUESTS - all.kinds.get("good").copied().unwrap_or_default();
        let (missing, repeated) = all.compare(server.stop().await);
        (lost, twice) = (lost + missing, twice + repeated);
    }
    println!("{} requests in {:?}", rounds * REQUESTS, began.elapsed());
    let attempted = rounds * REQUESTS;
    append_to_soak_table("ingress: mutated requests", attempted, mutated, lost, twice);
    assert_eq!((lost, twice), (0, 0), "answered 200 and not in raw, or there more than once");
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.closed += other.closed;
        self.accepted.extend(other.accepted);
        self.unclear.extend(other.unclear);
    }

    /// Bodies that are not in raw although they were answered 200, and that are there again.
    fn compare(&self, raw: Vec<tickfold_log::Record>) -> (usize, usize) {
        let mut found: HashMap<Vec<u8>, usize> = HashMap::new();
        for record in raw {
            *found.entry(record.value.unwrap().to_vec()).or_default() += 1;
        }
        let lost = self.accepted.iter().filter(|body| !found.contains_key(body.as_bytes())).count();
        let twice = found.values().filter(|count| **count > 1).count();
        let known: HashSet<&[u8]> =
            self.accepted.iter().chain(&self.unclear).map(|body| body.as_bytes()).collect();
        for body in found.keys() {
            let text = String::from_utf8_lossy(body);
            assert!(known.contains(&**body), "nobody sent this whole and rightly signed: {text}");
        }
        (lost, twice)
    }
}

async fn send_all(address: SocketAddr, mut random: Random, client: usize, count: usize) -> Tally {
    let mut tally = Tally::default();
    let mut wire = Wire::connect(address).await.unwrap();
    for n in 0..count {
        let text = format!("{}{}", body(format!("{client}-{n}")), " ".repeat(random.below(300)));
        let case = Case::draw(&mut random, &text);
        let (kind, again) =
            (case.kind, || format!("{} of client {client}, request {n}", case.kind));
        *tally.kinds.entry(kind).or_default() += 1;
        let sent = send_in_pieces(&mut wire, &mut random, &case.bytes).await;
        let answer = match case.expected {
            Expected::Unread => None,
            Expected::Status(_) => {
                assert!(sent, "{}: closed while it was sent", again());
                wire.answer().await
            }
            Expected::Any => {
                wire.finish().await;
                wire.answer().await
            }
        };
        let ends =
            answer.as_ref().is_some_and(|answer| answer.header("connection") == Some("close"));
        if let Some(answer) = &answer {
            *tally.statuses.entry(answer.status).or_default() += 1;
            assert!(STATUSES.contains(&answer.status), "{}: {answer:?}", again());
            assert_ne!(answer.status, 503, "{}: nothing is wrong with the log", again());
        }
        match (&case.expected, answer) {
            (Expected::Status(expected), answer) => {
                let answer = answer.unwrap_or_else(|| panic!("{}: no answer", again()));
                assert_eq!(answer.status, *expected, "{}: {}", again(), shown(&case.bytes));
                match (answer.status, kind) {
                    (200, "handshake") => assert_eq!(answer.body, b"4711", "{}", again()),
                    (200, _) => tally.accepted.push(text),
                    _ => {}
                }
            }
            (Expected::Any, Some(answer)) if answer.status == 200 => tally.accepted.push(text),
            (Expected::Any, Some(_)) => {}
            (Expected::Any | Expected::Unread, _) => {
                tally.closed += 1;
                tally.unclear.insert(text);
            }
        }
        if !case.reuse || ends {
            wire.reset();
            wire = Wire::connect(address).await.unwrap();
        }
    }
    tally
}

/// False if the other side closed before all was sent, which it may after a refusal.
async fn send_in_pieces(wire: &mut Wire, random: &mut Random, bytes: &[u8]) -> bool {
    if random.below(3) > 0 {
        return wire.try_send(bytes).await.is_ok();
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = if random.once_in(2) { 8 } else { 4_096 };
        let (piece, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
        if wire.try_send(piece).await.is_err() {
            return false;
        }
        // Byte by byte only at the beginning.
        rest = after;
        if bytes.len() - rest.len() > 40 {
            tokio::task::yield_now().await;
            return wire.try_send(rest).await.is_ok();
        }
        tokio::task::yield_now().await;
    }
    true
}

/// The beginning of a request, for the message of a failure.
fn shown(request: &[u8]) -> String {
    String::from_utf8_lossy(&request[..request.len().min(800)]).escape_debug().collect()
}
