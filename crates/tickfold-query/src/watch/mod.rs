//! The watch service: streams of what changes, from where the caller stands to whatever comes.
//!
//! A stream pulls: it does something when the connection has room for a response, and waits for
//! nothing but a bell when there is nothing. It needs no task of its own and no queue, so one that
//! nobody reads costs what an idle one costs. What all streams have in common is here: marks, the
//! token that every response carries, the end at shutdown and at a certain age. What is told is in
//! `states` and `accounts`, by what comes into the topics (`feed`), which `hub` follows.

mod accounts;
mod feed;
mod hub;
mod lookup;
mod mailbox;
mod records;
mod states;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tickfold_core::ids::{PhoneNumberId, WabaId};
use tickfold_core::records::Topic;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::watch_service_server::WatchService;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::access::Access;
use crate::call::{Call, Limits};
use crate::metrics::{self, Counted};
use crate::query::{Query, View, arguments};
use crate::reasons::{Failure, Reason};
use crate::{Clock, QueryOptions};
use accounts::{Asked, Records};
use lookup::{Found, Lookup};
use records::Item;
use states::{States, Subject, Update};
use token::Bound;

pub(crate) use hub::{Feeds, Hub};

/// Lookups that all watches together have running.
const LOOKUPS: usize = 64;

/// Watches that read the log at once, since they are behind.
const LOG_READS: usize = 8;

/// Messages that all watches together name.
const NAMES: usize = 1_000_000;

/// The service.
#[derive(Debug)]
pub(crate) struct Watches {
    query: Arc<Query>,
    feeds: Feeds,
    limits: Limits,
    options: Arc<QueryOptions>,
    partition_count: u32,
    clock: Clock,
    lookups: Arc<Semaphore>,
    log_reads: Arc<Semaphore>,
    names: Arc<Semaphore>,
    /// How far each partition of raw is known to reach.
    raw_reached: Vec<AtomicU64>,
}

/// What a watch comes to next.
#[derive(Debug)]
pub(super) enum Next<T> {
    Item(T),
    /// All that was there when it was opened was told.
    CaughtUp,
}

/// A kind of watch. `next` may be dropped at any time, and loses nothing.
pub(super) trait Watch: Send + 'static {
    type Item: Send;

    fn next(&mut self) -> impl Future<Output = Result<Next<Self::Item>, Failure>> + Send;

    /// By which it goes on behind what it told last.
    fn token(&mut self) -> String;
}

/// A response of a watch before it is one of its method.
enum Told<T> {
    Item(T),
    Mark(pb::WatchMark),
}

/// A watch as a stream.
struct Running<W> {
    watch: W,
    method: &'static str,
    call: Call,
    clock: Clock,
    bookmark_interval: Duration,
    bookmark_at: Instant,
    ends_at: Instant,
    ending: Option<Failure>,
    ended: bool,
    _open: Counted,
}

impl Watches {
    pub(crate) fn new(
        query: Arc<Query>,
        feeds: Feeds,
        limits: Limits,
        (options, clock): (QueryOptions, Clock),
        partition_count: u32,
    ) -> Self {
        Self {
            query,
            feeds,
            limits,
            options: Arc::new(options),
            partition_count,
            clock,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            log_reads: Arc::new(Semaphore::new(LOG_READS)),
            names: Arc::new(Semaphore::new(NAMES)),
            raw_reached: (0..partition_count).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Lets a watch in and makes a stream of it.
    async fn open<'a, Q, W, R>(
        &'a self,
        method: &'static str,
        request: Request<Q>,
        open: impl FnOnce(Q, Access) -> BoxFuture<'a, Result<W, Failure>>,
        tell: impl Fn(Told<W::Item>, String) -> R + Send + 'static,
    ) -> Result<Response<BoxStream<'static, Result<R, Status>>>, Status>
    where
        W: Watch,
        W::Item: Sent,
        R: Send + 'static,
    {
        let opened = async {
            let call = self.limits.enter(&request)?;
            let open = open(request.into_inner(), call.access.clone());
            let opening = tokio::time::timeout_at(call.deadline, open);
            let late =
                || Failure::new(Reason::LogUnavailable, "the topic could not be read in time");
            let watch = match call.shutdown.run_until_cancelled(opening).await {
                Some(opened) => opened.unwrap_or_else(|_| Err(late()))?,
                None => return Err(Failure::new(Reason::ShuttingDown, "the server is stopping")),
            };
            Ok((watch, call))
        };
        let opened = opened.await.map_err(Status::from);
        let code = opened.as_ref().map_or_else(Status::code, |_| Code::Ok);
        // Counted when it opens: it has no end to wait for.
        metrics::request(method, code, None);
        let (watch, call) = opened?;
        let now = Instant::now();
        let running = Running {
            watch,
            method,
            call,
            clock: self.clock.clone(),
            bookmark_interval: self.options.watch_bookmark_interval,
            bookmark_at: now + self.options.watch_bookmark_interval,
            ends_at: now + spread(self.options.watch_age_max),
            ending: None,
            ended: false,
            _open: metrics::watch(method),
        };
        let responses = stream::unfold((running, tell), |(mut running, tell)| async move {
            let step = running.step().await?;
            let response = match step {
                Ok(told) => {
                    let token = running.watch.token();
                    Ok(tell(told, token))
                }
                Err(status) => Err(status),
            };
            Some((response, (running, tell)))
        });
        Ok(Response::new(responses.boxed()))
    }

    /// Opens a watch of states.
    async fn states(
        &self,
        subject: Subject,
        topics: &[Topic],
        (bound, token): (Bound, String),
        access: Access,
    ) -> Result<States, Failure> {
        let resumed: Option<Vec<token::Told>> = bound.place(&token)?;
        self.check(resumed.as_deref().unwrap_or_default()).await?;
        let names = match &subject {
            Subject::Messages { wamids, .. } => wamids.len(),
            Subject::Conversation(_) | Subject::Number(_) | Subject::Account(_) => 0,
        };
        let named = Arc::clone(&self.names)
            .try_acquire_many_owned(u32::try_from(names).unwrap_or(u32::MAX))
            .map_err(|_| Failure::new(Reason::Overloaded, "too many messages are watched"))?;
        let all: Vec<u32> = (0..self.partition_count).collect();
        let mut seats = Vec::with_capacity(topics.len());
        for topic in topics {
            seats.push(self.feeds.of(*topic)?.enter(&all).await?);
        }
        let (query, reads) = (Arc::clone(&self.query), Arc::clone(&self.lookups));
        let lookup = Lookup { query, reads, access };
        Ok(States::open(subject, lookup, seats, (bound, resumed), named))
    }

    /// Refuses places that raw never had: they are of another log, and nobody would ever reach them.
    async fn check(&self, told: &[token::Told]) -> Result<(), Failure> {
        for ((partition, told), reached) in (0..).zip(told).zip(&self.raw_reached) {
            let place = told.position.max(told.below).max(told.decided_below);
            // Raw grows only: when all watches come again at once, it is asked for the first of them.
            if place <= reached.load(Ordering::Relaxed) {
                continue;
            }
            let now = self.query.raw_reaches(partition, place).await?;
            reached.fetch_max(now, Ordering::Relaxed);
            if place > now {
                let what = format!("names a place above the end of raw partition {partition}");
                return Err(Failure::field(Reason::ResumeTokenInvalid, "resume_token", what));
            }
        }
        Ok(())
    }

    /// Opens a watch of records.
    async fn records(
        &self,
        topic: Topic,
        (method, waba_id, view): (&str, String, View),
        (token, from_beginning): (String, bool),
        access: Access,
    ) -> Result<Records, Failure> {
        view.check(&access)?;
        let waba_id = arguments::optional_id("waba_id", waba_id)?;
        let bound = self.bound(&[method, &waba_id, view.word()]);
        let partition_count = self.partition_count;
        let asked = Asked { waba_id, token, from_beginning, bound, partition_count, access };
        Records::open(self.feeds.of(topic)?, asked, &self.log_reads).await
    }

    fn bound(&self, arguments: &[&str]) -> Bound {
        Bound::to(arguments, self.partition_count)
    }
}

impl<W: Watch> Running<W>
where
    W::Item: Sent,
{
    /// The next response, or the end.
    async fn step(&mut self) -> Option<Result<Told<W::Item>, Status>> {
        if let Some(failure) = self.ending.take() {
            self.ended = true;
            return Some(Err(failure.into()));
        }
        if self.ended {
            return None;
        }
        let woken = self.bookmark_at.min(self.ends_at);
        let told = tokio::select! {
            biased;
            () = self.call.shutdown.cancelled() => {
                return self.end(Failure::new(Reason::ShuttingDown, "the server is stopping"));
            }
            next = self.watch.next(), if Instant::now() < self.ends_at => match next {
                Ok(Next::Item(item)) => {
                    metrics::watch_item(self.method, item.delay_ms(&self.clock));
                    Told::Item(item)
                }
                Ok(Next::CaughtUp) => Told::Mark(pb::WatchMark::CaughtUp),
                Err(failure) => return self.end(failure),
            },
            () = tokio::time::sleep_until(woken) => {
                if woken == self.ends_at {
                    let what = "open the stream again by its token";
                    return self.end(Failure::new(Reason::StreamAgeReached, what));
                }
                Told::Mark(pb::WatchMark::Bookmark)
            }
        };
        self.bookmark_at = Instant::now() + self.bookmark_interval;
        Some(Ok(told))
    }

    /// Ends the stream: with a mark first, where the caller goes on by it.
    fn end(&mut self, failure: Failure) -> Option<Result<Told<W::Item>, Status>> {
        if failure.reason().code() == Code::Unavailable {
            self.ending = Some(failure);
            return Some(Ok(Told::Mark(pb::WatchMark::Bookmark)));
        }
        self.ended = true;
        Some(Err(failure.into()))
    }
}

/// What is sent: how long ago it was appended, where that says something.
pub(super) trait Sent {
    fn delay_ms(&self, clock: &Clock) -> Option<i64>;
}

impl Sent for Arc<Item> {
    fn delay_ms(&self, clock: &Clock) -> Option<i64> {
        Some(clock.now().as_millis().saturating_sub(self.timestamp_ms))
    }
}

impl Sent for Update {
    /// A state is of whatever age.
    fn delay_ms(&self, _: &Clock) -> Option<i64> {
        None
    }
}

/// The age at which a stream ends: up to a tenth less than the most, so that those which were opened
/// together do not all come back together.
fn spread(age_max: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let tenth = age_max / 10;
    let share = u32::try_from(RandomState::new().hash_one(0) % 1_000).unwrap_or(0);
    age_max.saturating_sub(tenth * share / 1_000)
}

/// Streams of the service.
type Stream<R> = BoxStream<'static, Result<R, Status>>;

#[tonic::async_trait]
impl WatchService for Watches {
    type WatchMessagesStream = Stream<pb::WatchMessagesResponse>;
    type WatchConversationStream = Stream<pb::WatchConversationResponse>;
    type WatchNumberStream = Stream<pb::WatchNumberResponse>;
    type WatchAccountStream = Stream<pb::WatchAccountResponse>;
    type WatchTransitionsStream = Stream<pb::WatchTransitionsResponse>;
    type WatchActionsStream = Stream<pb::WatchActionsResponse>;
    type WatchAlertsStream = Stream<pb::WatchAlertsResponse>;

    async fn watch_messages(
        &self,
        request: Request<pb::WatchMessagesRequest>,
    ) -> Result<Response<Self::WatchMessagesStream>, Status> {
        use pb::watch_messages_response::Item as One;
        let open = |request: pb::WatchMessagesRequest, access: Access| {
            async move {
                let wamids = arguments::wamids(request.wamids, self.options.lookup_max)?;
                let view = View::of(request.view)?;
                view.check(&access)?;
                let mut parts = vec!["WatchMessages", view.word()];
                parts.extend(wamids.iter().map(|wamid| wamid.as_str()));
                let place = (self.bound(&parts), request.resume_token);
                let subject = Subject::Messages { wamids, view };
                // What is decided for a message is told with it, and may come without a row.
                let topics = [Topic::MessageState, Topic::Action, Topic::Alert];
                self.states(subject, &topics, place, access).await
            }
            .boxed()
        };
        let tell = |told: Told<Update>, resume_token| {
            let (item, skipped_revisions) = match told {
                Told::Item(Update { found: Found::Message(message), skipped }) => {
                    (Some(One::Message(*message)), skipped)
                }
                Told::Item(Update { found: Found::NoMessage(wamid), skipped }) => {
                    (Some(One::Missing(wamid)), skipped)
                }
                Told::Item(Update { skipped, .. }) => (None, skipped),
                Told::Mark(mark) => (Some(One::Mark(mark.into())), 0),
            };
            pb::WatchMessagesResponse { item, skipped_revisions, resume_token }
        };
        self.open("WatchMessages", request, open, tell).await
    }

    async fn watch_conversation(
        &self,
        request: Request<pb::WatchConversationRequest>,
    ) -> Result<Response<Self::WatchConversationStream>, Status> {
        use pb::watch_conversation_response::Item as One;
        let open = |request: pb::WatchConversationRequest, access: Access| {
            async move {
                let key = arguments::conversation_key(request.phone_number_id, request.party)?;
                let parts = ["WatchConversation", key.phone_number_id.as_str(), key.party.as_str()];
                let place = (self.bound(&parts), request.resume_token);
                // Rows of users tell which identifiers belong together.
                let topics = [Topic::ConversationState, Topic::UserState];
                self.states(Subject::Conversation(key), &topics, place, access).await
            }
            .boxed()
        };
        let tell = |told: Told<Update>, resume_token| {
            let (item, skipped_revisions) = match told {
                Told::Item(Update { found: Found::Conversation(found), skipped }) => {
                    (One::Conversation(*found), skipped)
                }
                Told::Item(Update { skipped, .. }) => (One::Missing(true), skipped),
                Told::Mark(mark) => (One::Mark(mark.into()), 0),
            };
            pb::WatchConversationResponse { item: Some(item), skipped_revisions, resume_token }
        };
        self.open("WatchConversation", request, open, tell).await
    }

    async fn watch_number(
        &self,
        request: Request<pb::WatchNumberRequest>,
    ) -> Result<Response<Self::WatchNumberStream>, Status> {
        use pb::watch_number_response::Item as One;
        let open = |request: pb::WatchNumberRequest, access: Access| {
            async move {
                let id =
                    PhoneNumberId::new(arguments::id("phone_number_id", request.phone_number_id)?);
                let place = (self.bound(&["WatchNumber", id.as_str()]), request.resume_token);
                let subject = Subject::Number(id.to_string());
                self.states(subject, &[Topic::NumberState], place, access).await
            }
            .boxed()
        };
        let tell = |told: Told<Update>, resume_token| {
            let (item, skipped_revisions) = match told {
                Told::Item(Update { found: Found::Number(found), skipped }) => {
                    (One::Number(*found), skipped)
                }
                Told::Item(Update { skipped, .. }) => (One::Missing(true), skipped),
                Told::Mark(mark) => (One::Mark(mark.into()), 0),
            };
            pb::WatchNumberResponse { item: Some(item), skipped_revisions, resume_token }
        };
        self.open("WatchNumber", request, open, tell).await
    }

    async fn watch_account(
        &self,
        request: Request<pb::WatchAccountRequest>,
    ) -> Result<Response<Self::WatchAccountStream>, Status> {
        use pb::watch_account_response::Item as One;
        let open = |request: pb::WatchAccountRequest, access: Access| {
            async move {
                let waba_id = WabaId::new(arguments::id("waba_id", request.waba_id)?);
                let place = (self.bound(&["WatchAccount", waba_id.as_str()]), request.resume_token);
                let subject = Subject::Account(waba_id);
                self.states(subject, &[Topic::AccountState], place, access).await
            }
            .boxed()
        };
        let tell = |told: Told<Update>, resume_token| {
            let (item, skipped_revisions) = match told {
                Told::Item(Update { found: Found::Account(found), skipped }) => {
                    (One::Account(*found), skipped)
                }
                Told::Item(Update { skipped, .. }) => (One::Missing(true), skipped),
                Told::Mark(mark) => (One::Mark(mark.into()), 0),
            };
            pb::WatchAccountResponse { item: Some(item), skipped_revisions, resume_token }
        };
        self.open("WatchAccount", request, open, tell).await
    }

    async fn watch_transitions(
        &self,
        request: Request<pb::WatchTransitionsRequest>,
    ) -> Result<Response<Self::WatchTransitionsStream>, Status> {
        use pb::watch_transitions_response::Item as One;
        let view = View::of(request.get_ref().view)?;
        let open = |q: pb::WatchTransitionsRequest, access: Access| {
            let what = ("WatchTransitions", q.waba_id, view);
            self.records(Topic::Transition, what, (q.resume_token, q.from_beginning), access)
                .boxed()
        };
        let tell = move |told: Told<Arc<Item>>, resume_token| {
            let item = match told {
                Told::Item(item) => One::Transition(item.transition(view)),
                Told::Mark(mark) => One::Mark(mark.into()),
            };
            pb::WatchTransitionsResponse { item: Some(item), resume_token }
        };
        self.open("WatchTransitions", request, open, tell).await
    }

    async fn watch_actions(
        &self,
        request: Request<pb::WatchActionsRequest>,
    ) -> Result<Response<Self::WatchActionsStream>, Status> {
        use pb::watch_actions_response::Item as One;
        let view = View::of(request.get_ref().view)?;
        let open = |q: pb::WatchActionsRequest, access: Access| {
            let what = ("WatchActions", q.waba_id, view);
            self.records(Topic::Action, what, (q.resume_token, q.from_beginning), access).boxed()
        };
        let tell = move |told: Told<Arc<Item>>, resume_token| {
            let item = match told {
                Told::Item(item) => One::Action(item.action(view)),
                Told::Mark(mark) => One::Mark(mark.into()),
            };
            pb::WatchActionsResponse { item: Some(item), resume_token }
        };
        self.open("WatchActions", request, open, tell).await
    }

    async fn watch_alerts(
        &self,
        request: Request<pb::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        use pb::watch_alerts_response::Item as One;
        let view = View::of(request.get_ref().view)?;
        let open = |q: pb::WatchAlertsRequest, access: Access| {
            let what = ("WatchAlerts", q.waba_id, view);
            self.records(Topic::Alert, what, (q.resume_token, q.from_beginning), access).boxed()
        };
        let tell = move |told: Told<Arc<Item>>, resume_token| {
            let item = match told {
                Told::Item(item) => One::Alert(item.alert(view)),
                Told::Mark(mark) => One::Mark(mark.into()),
            };
            pb::WatchAlertsResponse { item: Some(item), resume_token }
        };
        self.open("WatchAlerts", request, open, tell).await
    }
}
