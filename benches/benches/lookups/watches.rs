//! Watches: how many responses a second a node gives, and how soon.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tickfold_benches::median;
use tickfold_core::signature::{SIGNATURE_HEADER, sign};
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_messages_response::Item as State;
use tickfold_proto::query::v1::watch_service_client::WatchServiceClient;
use tickfold_proto::query::v1::watch_transitions_response::Item as Transition;
use tonic::transport::{Channel, Endpoint};

use crate::fill::{body, now, waba};
use crate::node::Node;
use crate::{Outcome, PAUSE};

const WATCHERS: usize = 200;
/// Watchers of one connection: a server allows 128 streams.
const OF_CONNECTION: usize = 50;
/// Transitions that each of them is told.
const TRANSITIONS: usize = 2_000;
/// Messages whose delay is taken, after some that warm everything up.
const SAMPLES: usize = 200;
const WARM_UP: usize = 20;

/// Posts one webhook after the other on one connection.
struct Poster {
    stream: BufReader<TcpStream>,
}

impl Poster {
    fn connect(http: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(http)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn post(&mut self, body: &str) -> Outcome<()> {
        let (signature, length) = (sign(b"bench-secret", body.as_bytes()), body.len());
        write!(
            self.stream.get_mut(),
            "POST /webhook/main HTTP/1.1\r\nhost: bench\r\n{SIGNATURE_HEADER}: {signature}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse()?;
            }
        }
        self.stream.read_exact(&mut vec![0; length])?;
        if status.contains(" 200 ") { Ok(()) } else { Err(format!("answered {status:?}").into()) }
    }
}

async fn connect(grpc: &str) -> Outcome<Channel> {
    Ok(Endpoint::from_shared(format!("http://{grpc}"))?.tcp_nodelay(true).connect().await?)
}

/// Everybody watches one account, to which many transitions come at once.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
pub(crate) fn fan_out(node: &Node) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (account, grpc) = (7, node.grpc.clone());
    let (ready, mut readies) = tokio::sync::mpsc::channel(WATCHERS);
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS / OF_CONNECTION {
        let channel = runtime.block_on(connect(&grpc))?;
        for _ in 0..OF_CONNECTION {
            let (mut client, ready) = (WatchServiceClient::new(channel.clone()), ready.clone());
            watchers.push(runtime.spawn(async move {
                let request =
                    pb::WatchTransitionsRequest { waba_id: waba(account), ..Default::default() };
                let mut stream = client.watch_transitions(request).await?.into_inner();
                let mut told = 0;
                while told < TRANSITIONS {
                    let response = stream.message().await?.ok_or("the stream ended")?;
                    match response.item {
                        Some(Transition::Mark(_)) => {
                            let _ = ready.try_send(());
                        }
                        Some(_) => told += 1,
                        None => {}
                    }
                }
                Outcome::Ok(())
            }));
        }
    }
    runtime.block_on(async {
        for _ in 0..WATCHERS {
            readies.recv().await;
        }
    });
    let (time, mut poster) = (now()?, Poster::connect(&node.http)?);
    let (began, before) = (Instant::now(), node.cpu()?);
    for webhook in 0..TRANSITIONS / 50 {
        let wamids: Vec<_> = (0..50).map(|n| format!("wamid.FAN{}", webhook * 50 + n)).collect();
        poster.post(&body(account, &wamids, "sent", time))?;
    }
    for told in runtime.block_on(try_join_all(watchers))? {
        told?;
    }
    let (took, responses) = (began.elapsed().as_secs_f64(), (WATCHERS * TRANSITIONS) as f64);
    let cpu_us = (node.cpu()? - before) * 1e6 / responses;
    let rate = responses / took;
    println!(
        "fan-out: {TRANSITIONS} transitions to {WATCHERS} watchers in {took:.2} s: {rate:.0}/s, CPU {cpu_us:.1} µs each"
    );
    Ok(())
}

/// From the begin of a POST to the watch of its message, one after the other.
#[expect(clippy::print_stdout, reason = "the result of the benchmark")]
pub(crate) fn delays(log: &str, node: &Node) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut client = WatchServiceClient::new(runtime.block_on(connect(&node.grpc))?);
    let (time, mut poster) = (now()?, Poster::connect(&node.http)?);
    let wamids: Vec<_> = (0..SAMPLES + WARM_UP).map(|n| format!("wamid.DELAY{n}")).collect();
    let request = pb::WatchMessagesRequest { wamids: wamids.clone(), ..Default::default() };
    // A node that just took over its partitions says so by refusing.
    let mut stream = loop {
        match runtime.block_on(client.watch_messages(request.clone())) {
            Ok(stream) => break stream.into_inner(),
            Err(status) if status.code() == tonic::Code::Unavailable => std::thread::sleep(PAUSE),
            Err(status) => return Err(status.into()),
        }
    };
    let mut told = |wanted: &dyn Fn(&State) -> bool| -> Outcome<()> {
        loop {
            let response = runtime.block_on(stream.message())?.ok_or("the stream ended")?;
            if response.item.is_some_and(|item| wanted(&item)) {
                return Ok(());
            }
        }
    };
    told(&|item| matches!(item, State::Mark(_)))?;
    let mut delays = Vec::new();
    for wamid in &wamids {
        let began = Instant::now();
        poster.post(&body(7, std::slice::from_ref(wamid), "sent", time))?;
        told(&|item| matches!(item, State::Message(message) if message.wamid == *wamid))?;
        delays.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let mut delays = delays.split_off(WARM_UP);
    let p50 = median(&mut delays);
    let p99 = delays.get(delays.len() * 99 / 100).copied().unwrap_or_default();
    println!("POST to watch, {log}: p50 {p50:.1} ms, p99 {p99:.1} ms, of {SAMPLES}");
    Ok(())
}
