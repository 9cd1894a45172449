//! An explanation from several nodes: each explains the partitions that it owns, and what they tell comes
//! one node after the other, with one end.
//!
//! All of them are asked before the first record is told, so that absence, and whatever is refused, is the
//! answer to the call. A node that breaks off ends the whole with a failure: nobody could say what is
//! missing. One that cannot be asked at all leaves an explanation that does not call itself complete.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tickfold_core::ids::Wamid;
use tickfold_proto::query::v1 as pb;
use tickfold_proto::query::v1::explain_message_response::Part;
use tickfold_proto::query::v1::query_service_server::SERVICE_NAME;
use tickfold_store::Snapshot;
use tonic::{Code, Request, Response, Status};

use super::Query;
use super::arguments::{View, id};
use super::explain::Explanation;
use super::partitions::{Asked, Snapshots};
use super::spread::{Gathered, join_as_of, told, unreachable};
use super::then::{Lookup, one_has};
use crate::call::{Call, within};
use crate::peers::{name_partitions, named_partitions};
use crate::reasons::{Failure, Reason};

const METHOD: &str = "ExplainMessage";

/// The records of an explanation as they are found, then its end.
pub(super) type Explained =
    Pin<Box<dyn Stream<Item = Result<pb::ExplainMessageResponse, Status>> + Send>>;

impl Query {
    /// Explains a message: what of it is here to another node, and all of it to anybody else.
    pub(super) async fn explain(
        &self,
        request: Request<pb::ExplainMessageRequest>,
    ) -> Result<Response<Explained>, Status> {
        let call = self.streams.enter(&request)?;
        let deadline = call.deadline;
        let named = named_partitions(request.metadata());
        let request = request.into_inner();
        let Some(named) = named else {
            let all = self.partitions.of(&Asked::All);
            let explained = match all.iter().all(|partition| self.peers.is_here(*partition)) {
                true => within(deadline, self.explain_here(request, call)).await,
                false => within(deadline, self.explain_everywhere(request, call, all)).await,
            };
            return Ok(Response::new(explained?));
        };
        let here = self.answered_here(named, &request.min_position).await;
        let explained = match here.is_empty() {
            true => {
                let what = "this node has none of the partitions";
                Err(Failure::new(Reason::PartitionElsewhere, what))
            }
            false => within(deadline, self.explain_here(request, call.part(&here))).await,
        };
        let mut answered = explained.map(Response::new).map_err(Status::from);
        let metadata = match &mut answered {
            Ok(response) => response.metadata_mut(),
            Err(status) => status.metadata_mut(),
        };
        name_partitions(metadata, &here);
        answered
    }

    /// Explains from the partitions of the call that are here.
    async fn explain_here(
        &self,
        request: pb::ExplainMessageRequest,
        call: Call,
    ) -> Result<Explained, Failure> {
        let wamid = Wamid::new(id("wamid", request.wamid)?);
        let (view, limit) = (View::of(request.view)?, request.limit);
        view.check(&call.access)?;
        let (raw, access) = (self.raw.clone(), call.access.clone());
        let key = wamid.clone();
        let read = move |snapshots: Snapshots| {
            let as_of = snapshots.as_of();
            let explanation = Explanation::of(&snapshots, raw, &wamid, access, view, limit);
            explanation.map_err(|failure| failure.reflecting(Some(as_of)))
        };
        let asked = Lookup::of(request.at, request.min_position, Asked::All)?;
        let holds = move |snapshot: &dyn Snapshot| Ok(snapshot.message(&key)?.is_some());
        let explanation = self.look_up_at(&call, asked, holds, read).await?;
        explanation.check_raw().await?;
        let Call { deadline, shutdown, slot, .. } = call;
        Ok(Box::pin(explanation.stream(deadline, shutdown, slot)))
    }

    /// Explains from the partitions of all nodes.
    async fn explain_everywhere(
        &self,
        request: pb::ExplainMessageRequest,
        call: Call,
        all: BTreeSet<u32>,
    ) -> Result<Explained, Failure> {
        View::of(request.view)?.check(&call.access)?;
        let wanted = self.partitions.wanted(&request.min_position)?;
        let gathered = {
            let (request, call) = (&request, &call);
            let here =
                |part: BTreeSet<u32>| self.explain_here(cut(request, &part), call.part(&part));
            let there = |address: String, part: BTreeSet<u32>| async move {
                self.explain_there(&address, cut(request, &part), &part, call).await
            };
            self.gather(all, &wanted, call, here, there).await?
        };
        let Gathered { answers, missing } = gathered;
        let (mut streams, mut absent, mut reflected) = (VecDeque::new(), None, Vec::new());
        for answer in answers {
            match answer {
                Ok(explained) => streams.push_back(explained),
                Err(mut failure) if failure.reason().code() == Code::NotFound => {
                    reflected.push(failure.as_of.take().map(|as_of| *as_of));
                    absent = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        one_has(request.at.as_ref(), streams.len())?;
        if streams.is_empty() {
            return Err(match absent.filter(|_| missing.is_empty()) {
                Some(absent) => absent.reflecting(join_as_of(reflected.into_iter())),
                None => unreachable(&missing),
            });
        }
        let whole = Whole {
            streams,
            limit: (request.limit > 0).then_some(request.limit),
            told: 0,
            told_by_first: 0,
            end: pb::Explanation { complete: missing.is_empty(), ..Default::default() },
            reflected,
            call,
        };
        Ok(whole.stream())
    }

    /// Asks a node for its part, as `Query::forward` does for a reply.
    async fn explain_there(
        &self,
        address: &str,
        part: pb::ExplainMessageRequest,
        partitions: &BTreeSet<u32>,
        call: &Call,
    ) -> Option<(BTreeSet<u32>, Result<Explained, Failure>)> {
        let path = format!("/{SERVICE_NAME}/{METHOD}");
        let (deadline, access) = (call.deadline, &call.access);
        let asked = self.peers.ask_stream(address, path, part, partitions, deadline, access);
        let (metadata, answered) = match call.shutdown.run_until_cancelled(asked).await? {
            Ok(response) => {
                let (metadata, parts, _) = response.into_parts();
                let partitions = partitions.clone();
                let broken = move |status: Status| match Failure::of_peer(&status) {
                    Some(failure) => Status::from(failure),
                    None => unreachable(&partitions).into(),
                };
                let parts = parts.map(move |told| told.map_err(&broken));
                (metadata, Ok(Box::pin(parts) as Explained))
            }
            Err(status) => (status.metadata().clone(), Err(status)),
        };
        told(METHOD, address, &metadata, answered)
    }
}

/// The part of a request that concerns these partitions.
fn cut(
    request: &pb::ExplainMessageRequest,
    partitions: &BTreeSet<u32>,
) -> pb::ExplainMessageRequest {
    let mut part = request.clone();
    part.min_position.retain(|position| partitions.contains(&position.partition));
    part
}

/// The explanations of several nodes, told as one.
struct Whole {
    /// Those that are not at their end; the first one is told.
    streams: VecDeque<Explained>,
    /// Records that may be told, and how many were, also of the first stream alone.
    limit: Option<u32>,
    told: u32,
    told_by_first: u32,
    /// What those that are at their end have read.
    end: pb::Explanation,
    reflected: Vec<Option<pb::AsOf>>,
    call: Call,
}

impl Whole {
    fn stream(self) -> Explained {
        Box::pin(stream::unfold(Some(self), |whole| async move {
            let mut whole = whole?;
            let told = whole.next().await;
            let goes_on = matches!(told, Ok(Part::Record(_)));
            let response = told.map(|part| pb::ExplainMessageResponse { part: Some(part) });
            Some((response, goes_on.then_some(whole)))
        }))
    }

    async fn next(&mut self) -> Result<Part, Status> {
        while let Some(first) = self.streams.front_mut() {
            // A node that told as many as it was asked for is at its end, and says how far it read.
            if self.limit == Some(self.told) && self.limit != Some(self.told_by_first) {
                break;
            }
            let next = tokio::time::timeout_at(self.call.deadline, first.next());
            let told = match self.call.shutdown.run_until_cancelled(next).await {
                None => {
                    let failure = Failure::new(Reason::ShuttingDown, "the server is stopping");
                    return Err(failure.into());
                }
                Some(Ok(told)) => told.transpose()?,
                Some(Err(_)) => break,
            };
            match told.and_then(|response| response.part) {
                Some(Part::Record(record)) => {
                    self.told += 1;
                    self.told_by_first += 1;
                    return Ok(Part::Record(record));
                }
                Some(Part::End(end)) => {
                    self.streams.pop_front();
                    self.told_by_first = 0;
                    self.end.complete &= end.complete;
                    self.end.ranges.extend(end.ranges);
                    self.reflected.push(end.as_of);
                }
                None => {
                    let what = "a node ended before it said how far it went";
                    return Err(Failure::new(Reason::Defect, what).into());
                }
            }
        }
        let mut end = std::mem::take(&mut self.end);
        end.complete &= self.streams.is_empty();
        end.ranges.sort_by_key(|range| range.partition);
        end.as_of = join_as_of(std::mem::take(&mut self.reflected).into_iter());
        Ok(Part::End(end))
    }
}
