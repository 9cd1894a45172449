//! Callers in a closed loop: each has a connection and one call on it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::Outcome;
use crate::fill::wamid;

/// Some connections to one server.
pub(crate) struct Callers {
    runtime: Runtime,
    clients: Vec<QueryServiceClient<Channel>>,
}

/// What came of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called {
    pub(crate) calls: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of the server, per call, where it was asked for.
    pub(crate) cpu_us: f64,
}

/// Which messages a caller asks for.
#[derive(Debug, Clone, Copy)]
enum Which {
    /// Any, again and again.
    Any,
    /// Those that nobody else asks for, in so many calls.
    Own { count: usize },
}

impl Callers {
    pub(crate) fn connect(address: &str, connections: usize) -> Outcome<Self> {
        let runtime = Runtime::new()?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let connect = (0..connections).map(|_| endpoint.connect());
        let channels = runtime.block_on(try_join_all(connect))?;
        let clients = channels.into_iter().map(QueryServiceClient::new).collect();
        Ok(Self { runtime, clients })
    }

    /// Looks up one message at a time for a while.
    pub(crate) fn get(&self, messages: usize, during: Duration) -> Outcome<Called> {
        self.round(messages, 1, Which::Any, during)
    }

    /// Looks up many at a time.
    pub(crate) fn look_up(
        &self,
        messages: usize,
        together: usize,
        during: Duration,
    ) -> Outcome<Called> {
        self.round(messages, together, Which::Any, during)
    }

    /// Looks up all messages, many at a time.
    pub(crate) fn read_all(&self, messages: usize, together: usize) -> Outcome<Called> {
        let count = messages.div_ceil(self.clients.len() * together);
        self.round(messages, together, Which::Own { count }, Duration::from_secs(600))
    }

    /// Looks up so many messages, each once.
    pub(crate) fn each_once(&self, messages: usize, count: usize) -> Outcome<Called> {
        let count = count.div_ceil(self.clients.len());
        self.round(messages, 1, Which::Own { count }, Duration::from_secs(600))
    }

    fn round(
        &self,
        messages: usize,
        together: usize,
        which: Which,
        during: Duration,
    ) -> Outcome<Called> {
        let callers = self.clients.len();
        let began = Instant::now();
        let work = self.clients.iter().enumerate().map(|(caller, client)| {
            let mut client = client.clone();
            self.runtime.spawn(async move {
                let mut times = Vec::new();
                let mut next = caller;
                while began.elapsed() < during {
                    if let Which::Own { count } = which
                        && times.len() >= count
                    {
                        break;
                    }
                    let wamids: Vec<_> = (0..together)
                        .map(|n| wamid(spread(next + n * callers, messages)))
                        .collect();
                    next += together * callers;
                    let call = Instant::now();
                    if together == 1 {
                        let wamid = wamids.into_iter().next().unwrap_or_default();
                        let request = pb::GetMessageRequest { wamid, ..Default::default() };
                        client.get_message(request).await?;
                    } else {
                        let request = pb::LookupMessagesRequest { wamids, ..Default::default() };
                        let reply = client.lookup_messages(request).await?.into_inner();
                        if !reply.missing.is_empty() {
                            return Err("a message is missing".into());
                        }
                    }
                    times.push(call.elapsed().as_secs_f64() * 1e6);
                }
                Outcome::Ok(times)
            })
        });
        let all = self.runtime.block_on(try_join_all(work))?;
        let took = began.elapsed().as_secs_f64();
        let mut times = Vec::new();
        for of_caller in all {
            times.extend(of_caller?);
        }
        times.sort_by(f64::total_cmp);
        let at =
            |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let (calls, p50_us, p99_us) = (times.len(), at(50), at(99));
        Ok(Called { calls, per_second: calls as f64 / took, p50_us, p99_us, cpu_us: 0.0 })
    }
}

/// The numbers below `messages` in an order in which neighbours are far apart; each once, as the factor
/// is a prime above them.
fn spread(n: usize, messages: usize) -> usize {
    n.wrapping_mul(2_147_483_647) % messages.max(1)
}
