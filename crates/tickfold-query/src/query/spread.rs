//! One call over several nodes: each is asked of the partitions that it owns, and the replies become
//! one.
//!
//! A call between nodes names the partitions it is about in its metadata. Who is asked so answers
//! from those of them that it has itself, or had until now and nobody else has taken over yet, says in
//! the metadata of the answer which these were, and asks nobody else: a question travels once. What is
//! left over, since its owner is away or moved on, is read from the store that this node has of an earlier time, if there is one; `as_of` tells
//! its age. What is left even then can only be told to be unreachable, unless what was asked for was
//! found elsewhere.
//!
//! The map of the owners and the connections are in `peers`; how replies of one kind become one is in
//! `merge`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::query_service_server::SERVICE_NAME;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::Query;
use super::merge::Spread;
use super::partitions::Asked;
use super::then::one_has;
use crate::call::Call;
use crate::peers::{Split, name_partitions, named_partitions, partitions_text};
use crate::reasons::{Failure, Reason};
use crate::{QueryOptions, metrics};

/// How long a call waits for a new map of the owners, after the old one was wrong.
const MAP_PATIENCE: Duration = Duration::from_millis(300);

/// How often the owners of what is left over are asked: by the map that there is, and by a new one.
const ROUNDS: usize = 2;

/// Pause before they are asked again for a position that nobody who answered has.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// What the nodes answered.
#[derive(Debug)]
pub(super) struct Gathered<R> {
    pub(super) answers: Vec<Result<R, Failure>>,
    /// Partitions that nobody answered of.
    pub(super) missing: BTreeSet<u32>,
}

impl Query {
    /// Answers a call: from here, if all that it asks is here or another node asks it; else by
    /// asking around. `local` answers from the partitions of the call that are here.
    pub(super) async fn everywhere<Q, F>(
        &self,
        method: &'static str,
        mut request: Request<Q>,
        local: impl Fn(Q, Call) -> F,
    ) -> Result<Response<Q::Reply>, Status>
    where
        Q: Spread,
        F: Future<Output = Result<Q::Reply, Failure>>,
    {
        if let Some(named) = named_partitions(request.metadata()) {
            let here = self.answered_here(named, request.get_mut().min_position()).await;
            let (here, local) = (&here, &local);
            let answer = |request: Q, call: Call| async move {
                request.view()?.check(&call.access)?;
                if here.is_empty() {
                    let what = "this node has none of the partitions";
                    return Err(Failure::new(Reason::PartitionElsewhere, what));
                }
                local(request, call.part(here)).await
            };
            let mut answered = self.limits.unary(method, request, answer).await;
            let metadata = match &mut answered {
                Ok(response) => response.metadata_mut(),
                Err(status) => status.metadata_mut(),
            };
            name_partitions(metadata, here);
            return answered;
        }
        let all = self.partitions.of(&Asked::All);
        if all.iter().all(|partition| self.peers.is_here(*partition)) {
            let local = &local;
            let answer = |request: Q, call: Call| async move {
                request.view()?.check(&call.access)?;
                local(request, call).await
            };
            return self.limits.unary(method, request, answer).await;
        }
        let spread = |request, call| self.spread(method, request, call, &local);
        self.limits.unary(method, request, spread).await
    }

    /// Of which of the partitions this node answers another one: of what it has; and of what it had, if
    /// the log, read once more, names nobody else yet. Who has that by now may fold for hours, and this state
    /// is the newest. A position that it has not it will never have: of that others are asked.
    pub(super) async fn answered_here(
        &self,
        mut named: BTreeSet<u32>,
        min_position: &[pb::Position],
    ) -> BTreeSet<u32> {
        let was_here =
            |partition: &u32| !self.peers.is_here(*partition) && self.peers.is_named(*partition);
        let mut gone = self.partitions.open(&named.iter().copied().filter(was_here).collect());
        if !gone.is_empty() && !self.peers.read_anew(MAP_PATIENCE).await {
            gone.clear();
        }
        // What is wrong with a position the call says itself.
        let wanted = self.partitions.wanted(min_position).unwrap_or_default();
        named.retain(|partition| {
            let is_left = gone.contains(partition) && self.peers.is_named(*partition);
            self.peers.is_here(*partition)
                || is_left && self.partitions.have(&wanted, &BTreeSet::from([*partition]))
        });
        self.partitions.open(&named)
    }

    /// Waits until what is here of these partitions has the positions, and refuses those of which nobody
    /// can be asked just now. What other nodes have is waited for by the call itself.
    pub(crate) async fn ready(
        &self,
        min_position: &[pb::Position],
        deadline: Instant,
    ) -> Result<(), Failure> {
        let wanted = self.partitions.wanted(min_position)?;
        let (mut here, mut nobodys) = (BTreeMap::new(), BTreeSet::new());
        for (&partition, &offset) in &wanted {
            let only = BTreeSet::from([partition]);
            if self.peers.is_here(partition) {
                here.insert(partition, offset);
            } else if !self.peers.can_be_asked(partition) && !self.partitions.have(&wanted, &only) {
                nobodys.insert(partition);
            }
        }
        if !nobodys.is_empty() {
            return Err(unreachable(&nobodys));
        }
        self.partitions.reached(&here, deadline).await
    }

    async fn spread<Q, F>(
        &self,
        method: &'static str,
        mut request: Q,
        call: Call,
        local: &impl Fn(Q, Call) -> F,
    ) -> Result<Q::Reply, Failure>
    where
        Q: Spread,
        F: Future<Output = Result<Q::Reply, Failure>>,
    {
        request.view()?.check(&call.access)?;
        let wanted = self.partitions.wanted(request.min_position())?;
        let (request, call) = (&request, &call);
        let here = |part: BTreeSet<u32>| local(cut(request, &part), call.part(&part));
        let there = |address: String, part: BTreeSet<u32>| async move {
            self.forward(method, &address, cut(request, &part), &part, call).await
        };
        let asked = self.partitions.of(&request.asked());
        let Gathered { answers, missing } = self.gather(asked, &wanted, call, here, there).await?;
        let reply = join(request, &self.options, answers, &missing)?;
        self.fits(reply)
    }

    /// Asks of each of the partitions whoever owns it: `here` answers for this node, `there` asks another
    /// one and says of which partitions it answered, or `None` if it is away.
    pub(super) async fn gather<R, H, T>(
        &self,
        asked: BTreeSet<u32>,
        wanted: &BTreeMap<u32, u64>,
        call: &Call,
        here: impl Fn(BTreeSet<u32>) -> H,
        there: impl Fn(String, BTreeSet<u32>) -> T,
    ) -> Result<Gathered<R>, Failure>
    where
        H: Future<Output = Result<R, Failure>>,
        T: Future<Output = Option<(BTreeSet<u32>, Result<R, Failure>)>>,
    {
        let mut left = asked;
        left.extend(wanted.keys());
        let mut answers = Vec::new();
        let mut asked = BTreeSet::new();
        for round in 0.. {
            if round >= ROUNDS {
                // What is read here of an earlier time may never reach a position that somebody
                // takes over to: whoever has it by then is asked, as long as there is time.
                let is_behind = !self.partitions.have(wanted, &left);
                if !is_behind || Instant::now() + MAP_PATIENCE + ROUND_PAUSE > call.deadline {
                    break;
                }
                asked.clear();
                tokio::time::sleep(ROUND_PAUSE).await;
            }
            if round > 0 {
                self.peers.refreshed(MAP_PATIENCE).await;
            }
            let Split { here: own, mut at, nowhere: _ } = self.peers.split(left.iter().copied());
            at.retain(|address, partitions| {
                partitions.retain(|partition| asked.insert((address.clone(), *partition)));
                !partitions.is_empty()
            });
            let own = self.partitions.open(&own);
            let others = at.into_iter().map(|(address, partitions)| there(address, partitions));
            let own = async {
                if own.is_empty() { None } else { Some((own.clone(), here(own.clone()).await)) }
            };
            let (own, others) = future::join(own, future::join_all(others)).await;
            for (partitions, answer) in own.into_iter().chain(others.into_iter().flatten()) {
                left.retain(|partition| !partitions.contains(partition));
                answers.push(answer);
            }
            if left.is_empty() {
                break;
            }
        }
        let last = self.partitions.open(&left);
        if !last.is_empty() {
            metrics::fallback();
            answers.push(here(last.clone()).await);
            left.retain(|partition| !last.contains(partition));
        }
        if wanted.keys().any(|partition| left.contains(partition)) {
            return Err(unreachable(&left));
        }
        Ok(Gathered { answers, missing: left })
    }

    /// Asks a node. `None` if it is away; else the partitions that it answered of, and its answer.
    async fn forward<Q: Spread>(
        &self,
        method: &'static str,
        address: &str,
        part: Q,
        partitions: &BTreeSet<u32>,
        call: &Call,
    ) -> Option<(BTreeSet<u32>, Result<Q::Reply, Failure>)> {
        let path = format!("/{SERVICE_NAME}/{method}");
        let answered = self.peers.ask(address, path, part, partitions, call.deadline, &call.access);
        let answered = call.shutdown.run_until_cancelled(answered).await?;
        let (metadata, answered) = match answered {
            Ok(response) => {
                let (metadata, reply, _) = response.into_parts();
                (metadata, Ok(reply))
            }
            Err(status) => (status.metadata().clone(), Err(status)),
        };
        told(method, address, &metadata, answered)
    }
}

/// What came of a question to a node: the partitions that it answered of, and its answer; `None` if that
/// says no more than that somebody else has to be asked.
pub(super) fn told<R>(
    method: &'static str,
    address: &str,
    metadata: &MetadataMap,
    answered: Result<R, Status>,
) -> Option<(BTreeSet<u32>, Result<R, Failure>)> {
    let answer = match answered {
        Ok(reply) => Ok(reply),
        Err(status) => Err(Failure::of_peer(&status)?),
    };
    if let Err(refused) = &answer
        && matches!(refused.reason(), Reason::Unauthenticated | Reason::ScopeMissing)
    {
        // What the caller may was asked here already: it is this node that it does not believe.
        tracing::warn!(address, reason = refused.reason().as_str(), "a node refuses this one");
        return None;
    }
    let outcome = answer.as_ref().map_or_else(|failure| failure.reason().code(), |_| Code::Ok);
    metrics::forward(method, outcome);
    if outcome == Code::Unavailable {
        return None;
    }
    Some((named_partitions(metadata).unwrap_or_default(), answer))
}

/// The part of a request that concerns these partitions.
fn cut<Q: Spread>(request: &Q, partitions: &BTreeSet<u32>) -> Q {
    let mut part = request.clone();
    part.min_position().retain(|position| partitions.contains(&position.partition));
    part
}

/// One reply from those of all partitions but the `missing` ones.
fn join<Q: Spread>(
    request: &Q,
    options: &QueryOptions,
    replies: Vec<Result<Q::Reply, Failure>>,
    missing: &BTreeSet<u32>,
) -> Result<Q::Reply, Failure> {
    let (mut found, mut absent, mut reflected) = (Vec::new(), None, Vec::new());
    for reply in replies {
        match reply {
            Ok(mut reply) => {
                reflected.push(Q::as_of(&mut reply).take());
                found.push(reply);
            }
            Err(mut failure) if failure.reason().code() == Code::NotFound => {
                reflected.push(failure.as_of.take().map(|as_of| *as_of));
                absent = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    let as_of = join_as_of(reflected.into_iter());
    one_has(request.at(), found.len())?;
    let reply = match (found.len(), absent) {
        (0, Some(absent)) if missing.is_empty() => return Err(absent.reflecting(as_of)),
        (0, _) => return Err(unreachable(missing)),
        (1, _) => found.pop(),
        _ => Some(request.merge(found, options)?),
    };
    let whole = |reply: &Q::Reply| missing.is_empty() || !request.tells_absence(reply);
    let mut reply = reply.filter(whole).ok_or_else(|| unreachable(missing))?;
    *Q::as_of(&mut reply) = as_of;
    Ok(reply)
}

pub(super) fn unreachable(missing: &BTreeSet<u32>) -> Failure {
    let partitions = partitions_text(missing);
    let what = format!("nobody can be asked of partitions {partitions} now");
    Failure::new(Reason::PartitionUnreachable, what).with("partitions", partitions)
}

/// What a reply from several nodes reflects.
pub(super) fn join_as_of(replies: impl Iterator<Item = Option<pb::AsOf>>) -> Option<pb::AsOf> {
    replies.flatten().reduce(|mut a, b| {
        a.positions.extend(b.positions);
        a.positions.sort_by_key(|position| (position.partition, position.offset));
        // Two that both have a partition: the later one counts, as what it says does.
        a.positions.reverse();
        a.positions.dedup_by_key(|position| position.partition);
        a.positions.reverse();
        a.event_time = a.event_time.into_iter().chain(b.event_time).min_by_key(instant);
        let length = |age: &prost_types::Duration| (age.seconds, age.nanos);
        a.age = a.age.into_iter().chain(b.age).max_by_key(length);
        a.role = a.role.max(b.role);
        a
    })
}

/// A time as something to compare.
pub(super) fn instant(time: &prost_types::Timestamp) -> (i64, i32) {
    (time.seconds, time.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_of(positions: &[(u32, u64)], seconds: Option<i64>, role: pb::Role) -> Option<pb::AsOf> {
        let position = |&(partition, offset): &(u32, u64)| pb::Position { partition, offset };
        let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let age = |seconds: i64| prost_types::Duration { seconds: 100 - seconds, nanos: 0 };
        Some(pb::AsOf {
            positions: positions.iter().map(position).collect(),
            event_time: seconds.map(time),
            age: seconds.map(age),
            role: role.into(),
        })
    }

    #[test]
    fn as_of_is_the_vector_the_earliest_time_the_greatest_age_and_the_weakest_role() {
        let joined = join_as_of(
            [
                as_of(&[(1, 5), (4, 9)], Some(50), pb::Role::Owner),
                as_of(&[(0, 7), (4, 8)], Some(40), pb::Role::Frozen),
                None,
                as_of(&[(2, 0)], None, pb::Role::Follower),
            ]
            .into_iter(),
        );
        let wanted = as_of(&[(0, 7), (1, 5), (2, 0), (4, 9)], Some(40), pb::Role::Frozen);
        assert_eq!(joined, wanted);
    }

    #[test]
    fn an_offset_is_refused_where_two_nodes_have_what_it_is_about() {
        use pb::moment::Moment as Told;
        let joined = |moment, nodes: usize| {
            let at = Some(pb::Moment { moment: Some(moment) });
            let request = pb::GetMessageRequest { at, ..Default::default() };
            let message = Some(pb::Message::default());
            let reply = pb::GetMessageResponse { message, as_of: None };
            let absent = Err(Failure::new(Reason::MessageNotFound, "no such message"));
            let replies = std::iter::repeat_n(reply, nodes).map(Ok).chain([absent]).collect();
            join(&request, &QueryOptions::default(), replies, &BTreeSet::new())
        };
        let refused = joined(Told::Offset(7), 2).unwrap_err();
        assert_eq!(refused.reason(), Reason::InvalidArgument);
        assert!(refused.message().starts_with("at.offset: "), "{}", refused.message());
        assert!(joined(Told::Offset(7), 1).is_ok());
        let position = pb::Position { partition: 1, offset: 7 };
        assert!(joined(Told::Time(prost_types::Timestamp::default()), 2).is_ok());
        assert!(joined(Told::Position(position), 1).is_ok());
    }

    #[test]
    fn only_all_partitions_together_say_that_something_is_not_there() {
        fn joined<Q: Spread>(
            request: &Q,
            replies: Vec<Result<Q::Reply, Failure>>,
            missing: &BTreeSet<u32>,
        ) -> Result<Q::Reply, Failure> {
            join(request, &QueryOptions::default(), replies, missing)
        }
        let request = pb::LookupMessagesRequest::default();
        let reply = |missing: &[&str]| pb::LookupMessagesResponse {
            missing: missing.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let away = BTreeSet::from([3]);
        assert!(joined(&request, vec![Ok(reply(&[]))], &away).is_ok());
        let failure = joined(&request, vec![Ok(reply(&["x"]))], &away).unwrap_err();
        assert_eq!(failure.reason(), Reason::PartitionUnreachable);
        assert!(joined(&request, vec![Ok(reply(&["x"]))], &BTreeSet::new()).is_ok());
        let absent = || Err(Failure::new(Reason::MessageNotFound, "no such message"));
        let request = pb::GetMessageRequest::default();
        let reason =
            |missing| joined(&request, vec![absent(), absent()], missing).unwrap_err().reason();
        let nobody = BTreeSet::new();
        assert_eq!(reason(&nobody), Reason::MessageNotFound);
        assert_eq!(reason(&away), Reason::PartitionUnreachable);
        let found = joined(&request, vec![absent(), Ok(pb::GetMessageResponse::default())], &away);
        assert!(found.is_ok());
    }
}
