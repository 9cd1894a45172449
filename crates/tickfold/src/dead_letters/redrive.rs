//! Redrives: what is asked for is found, checked, verified and appended, and then looked for in what
//! was folded.
//!
//! A redrive is harmless where it was not needed, since a body that comes again tells nothing. So two
//! nodes may redrive the same position at once, and whoever is not sure may do it again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tickfold_core::raw::{header, redrive_headers};
use tickfold_core::signature::Signature;
use tickfold_core::time::Timestamp;
use tickfold_ingress::Apps;
use tickfold_log::{Append, Header, Offset, Record};
use tickfold_processor::raw_record;
use tickfold_proto::admin::v1 as pb;
use tickfold_query::Reason;
use tokio::time::Instant;
use tonic::Status;
use tracing::info;

use super::letter::{Attempts, Letter};
use super::list::{Found, Page};
use super::show::original;
use super::{Parts, Position, failed, header_text, told};

/// Positions of one call.
const POSITIONS_MAX: usize = 100;

/// Dead letters that are looked through for the positions of a filter: of one position there may be
/// many.
const LETTERS_MAX: usize = 10_000;

/// Between two appends, so that redrives take little from what comes in.
const PAUSE: Duration = Duration::from_millis(10);

/// How long it is waited for what was appended to be folded, and how often it is looked.
const FOLD_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Why a position is not redriven: the word of the API, and a sentence.
type Refusal = (&'static str, String);

/// A position on its way.
#[derive(Debug)]
enum Course {
    Refused(Refusal),
    Possible,
    Appended { redrive: Position, left: Option<u32> },
}

/// What is asked for, and what it stands for. Its body is read when its turn comes: there may be many.
#[derive(Debug)]
struct Target {
    /// What a refusal names, and where the body is.
    asked: Position,
    original: Position,
    /// When the webhook was appended.
    appended: Result<Timestamp, Refusal>,
}

impl Parts {
    pub(super) async fn redrive(
        &self,
        request: pb::RedriveDeadLettersRequest,
        caller: Option<SocketAddr>,
    ) -> Result<pb::RedriveDeadLettersResponse, Status> {
        let Some(apps) = &self.apps else {
            let message = "this node takes no webhooks, so it has no secrets to verify with: ask \
                           one that does";
            return Err(Reason::NoSecrets.status(message));
        };
        let invalid = |message: String| Err(Reason::InvalidArgument.status(message));
        if request.positions.is_empty() == request.filter.is_none() {
            return invalid("positions: give them, or a filter".to_owned());
        }
        if request.positions.len().max(request.limit as usize) > POSITIONS_MAX {
            return invalid(format!("positions: are more than {POSITIONS_MAX}"));
        }
        let _redriving = self.redriving.lock().await;
        let (asked, more) = match &request.filter {
            Some(filter) => self.standing(filter, request.limit, request.again).await?,
            None => (request.positions.iter().map(|p| (p.partition, p.offset)).collect(), false),
        };
        let targets = self.targets(asked).await?;
        let mut redriven = BTreeMap::new();
        if request.filter.is_none() {
            redriven = self.redriven(&targets).await?;
        }
        // Where to look from for what comes of them: whatever it is, it comes later.
        let mut looks = BTreeMap::new();
        for partition in targets.iter().map(|target| target.original.0) {
            let end = self.log.bounds(&self.letters_of(partition)).await.map_err(failed)?.end;
            looks.insert(partition, end);
        }
        let mut courses = Vec::new();
        for Target { asked, original, appended } in targets {
            let record = self.raw_record(asked).await?;
            let checked = appended.and_then(|_| {
                if request.filter.is_none() {
                    check_standing(original, redriven.get(&original), request.again)?;
                }
                let record = record.ok_or_else(|| ("trimmed", trimmed(asked)))?;
                let id = verified(&record, apps, &request.retired_secret_ids)?;
                Ok((record, id))
            });
            let course = match checked {
                Err(refusal) => (asked, Course::Refused(refusal)),
                Ok(_) if request.validate_only => (original, Course::Possible),
                Ok((record, verified_by)) => match self.append(asked, record).await {
                    Err(refusal) => (asked, Course::Refused(refusal)),
                    Ok(redrive) => {
                        crate::metrics::redrive_appended();
                        let (partition, offset) = redrive;
                        let (of, caller) = (original.1, caller.map(|caller| caller.to_string()));
                        info!(partition, of, offset, verified_by, caller, "dead letter redriven");
                        tokio::time::sleep(PAUSE).await;
                        (original, Course::Appended { redrive, left: None })
                    }
                },
            };
            courses.push(course);
        }
        self.look(&mut courses, looks).await?;
        let results = courses.into_iter().map(|(position, course)| course.told(position));
        Ok(pb::RedriveDeadLettersResponse { results: results.collect(), more })
    }

    /// Positions that stand open and are meant, each once, the oldest first; and whether there are more.
    async fn standing(
        &self,
        filter: &pb::DeadLetterFilter,
        limit: u32,
        failed_again: bool,
    ) -> Result<(Vec<Position>, bool), Status> {
        let limit = if limit == 0 { POSITIONS_MAX } else { limit as usize };
        let page = Page {
            filter: filter.clone(),
            failed_again,
            oldest_first: true,
            size: LETTERS_MAX,
            ..Page::default()
        };
        let Found { letters, more, .. } = self.find(&page).await?;
        let (mut seen, mut positions) = (BTreeSet::new(), Vec::new());
        for Letter { position, .. } in letters {
            if seen.insert(position) {
                positions.push(position);
            }
        }
        let more = more || positions.len() > limit;
        positions.truncate(limit);
        Ok((positions, more))
    }

    /// What stands at these places, and which webhook it is or repeats; each webhook once.
    async fn targets(&self, asked: Vec<Position>) -> Result<Vec<Target>, Status> {
        let (mut seen, mut targets) = (BTreeSet::new(), Vec::new());
        for asked in asked {
            let found = self.raw_record(asked).await?;
            let webhook = found.as_ref().map_or(asked, |record| original(asked, record));
            if !seen.insert(webhook) {
                continue;
            }
            let appended = match found {
                Some(record) => match raw_record(&record).webhook(asked.0) {
                    Some(webhook) => Ok(webhook.appended),
                    None => Err(("no_webhook", no_webhook(asked))),
                },
                None => Err(self.missing(asked).await?),
            };
            targets.push(Target { asked, original: webhook, appended });
        }
        Ok(targets)
    }

    async fn missing(&self, (partition, offset): Position) -> Result<Refusal, Status> {
        let bounds = self.log.bounds(&self.raw_of(partition)).await.map_err(failed)?;
        if offset < bounds.start {
            return Ok(("trimmed", trimmed((partition, offset))));
        }
        Ok(("no_dead_letter", format!("no record stands at {partition}@{offset}")))
    }

    /// Of the targets that have dead letters: their redrives so far.
    async fn redriven(&self, targets: &[Target]) -> Result<BTreeMap<Position, Attempts>, Status> {
        let mut since: BTreeMap<u32, i64> = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        for target in targets {
            let Ok(appended) = &target.appended else { continue };
            wanted.insert(target.original);
            let time_ms = appended.as_millis();
            let since = since.entry(target.original.0).or_insert(time_ms);
            *since = time_ms.min(*since);
        }
        let mut found: BTreeMap<Position, Attempts> = BTreeMap::new();
        for (partition, time_ms) in since {
            let from = self.letters_since(partition, time_ms).await?;
            let mut count = |letter: Letter| {
                if wanted.contains(&letter.position) {
                    found.entry(letter.position).or_default().add(&letter);
                }
            };
            self.scan(partition, from, &mut count).await?;
        }
        Ok(found)
    }

    /// Appends the redrive of a record, and returns its place.
    async fn append(
        &self,
        (partition, offset): Position,
        record: Record,
    ) -> Result<Position, Refusal> {
        let headers = redrive_headers(partition, &raw_record(&record));
        let headers = headers.ok_or_else(|| ("no_webhook", no_webhook((partition, offset))))?;
        let header = |(name, value): (&'static str, Vec<u8>)| Header {
            name: name.into(),
            value: Bytes::from(value),
        };
        let append = Append {
            to: self.raw_of(partition),
            key: record.key,
            value: record.value,
            headers: headers.into_iter().map(header).collect(),
            timestamp_ms: None,
        };
        let appended = self.log.append(vec![append]).await;
        match appended.map(|offsets| offsets.first().copied()) {
            Ok(Some(offset)) => Ok((partition, offset)),
            Ok(None) => Err(("not_appended", "the log told no offset".to_owned())),
            Err(error) => {
                let error = anyhow::Error::from(error);
                let message = format!("{error:#}; it may be there all the same");
                Err(("not_appended", message))
            }
        }
    }

    /// Looks for what came of what was appended, until all of it is folded or patience ends.
    async fn look(
        &self,
        courses: &mut [(Position, Course)],
        mut looks: BTreeMap<u32, Offset>,
    ) -> Result<(), Status> {
        let deadline = Instant::now() + FOLD_PATIENCE;
        let mut waiting: BTreeSet<Position> = BTreeSet::new();
        waiting.extend(courses.iter().filter_map(|(_, course)| course.redrive()));
        let mut came: BTreeMap<Position, Attempts> = BTreeMap::new();
        while !waiting.is_empty() && Instant::now() < deadline {
            let partitions: BTreeSet<u32> =
                waiting.iter().map(|(partition, _)| *partition).collect();
            for partition in partitions {
                let from = looks.get(&partition).copied().unwrap_or_default();
                let mut count = |letter: Letter| {
                    if let Some(redrive) = letter.redrive {
                        came.entry(redrive).or_default().add(&letter);
                    }
                };
                // What one record gave is committed as one, so it is here whole or not at all.
                let end = self.scan(partition, from, &mut count).await?;
                looks.insert(partition, end);
            }
            waiting.retain(|redrive| !came.contains_key(redrive));
            tokio::time::sleep(LOOK).await;
        }
        for (_, course) in courses {
            if let Course::Appended { redrive, left } = course {
                *left = came.get(redrive).map(|attempts| attempts.left);
            }
        }
        Ok(())
    }
}

impl Course {
    fn redrive(&self) -> Option<Position> {
        match self {
            Self::Appended { redrive, .. } => Some(*redrive),
            Self::Refused(_) | Self::Possible => None,
        }
    }

    fn told(self, position: Position) -> pb::RedriveResult {
        let outcome = match &self {
            Self::Refused(_) => pb::RedriveOutcome::Refused,
            Self::Possible => pb::RedriveOutcome::Possible,
            Self::Appended { left: None, .. } => pb::RedriveOutcome::Pending,
            Self::Appended { left: Some(0), .. } => pb::RedriveOutcome::Redriven,
            Self::Appended { .. } => pb::RedriveOutcome::FailedAgain,
        };
        let redrive = self.redrive().map(told);
        let (left, (refused, message)) = match self {
            Self::Refused((word, message)) => (0, (word.to_owned(), message)),
            Self::Possible => (0, Default::default()),
            Self::Appended { left, .. } => (left.unwrap_or_default(), Default::default()),
        };
        let position = Some(told(position));
        pb::RedriveResult { position, redrive, outcome: outcome.into(), left, refused, message }
    }
}

/// Refuses what has no dead letter, and without `again` what has none any more.
fn check_standing(
    (partition, offset): Position,
    redriven: Option<&Attempts>,
    again: bool,
) -> Result<(), Refusal> {
    match redriven {
        None => Err((
            "no_dead_letter",
            format!("{partition}@{offset} has no dead letter: it was folded"),
        )),
        Some(Attempts { count, newest, left: 0, .. }) if *count > 0 && !again => {
            let message = format!("{partition}@{newest} redrove it, and nothing was left");
            Err(("redriven_already", message))
        }
        Some(_) => Ok(()),
    }
}

/// The id of the secret that vouches for a webhook: one that verifies its body now, or, where none
/// does, the one that did when it came, if the caller names it as gone.
fn verified(record: &Record, apps: &Apps, retired: &[String]) -> Result<String, Refusal> {
    let (app, named) = (header_text(record, header::APP), header_text(record, header::SECRET_ID));
    let body = record.value.as_deref().unwrap_or_default();
    let signature = record.header(header::SIGNATURE).and_then(|text| Signature::parse(text));
    let signature = signature.ok_or_else(|| {
        ("signature_not_verified", "the record has no well-formed signature".to_owned())
    })?;
    if let Some(id) = apps.verifying_secret(&app, body, &signature) {
        return Ok(id);
    }
    if retired.contains(&named) {
        return Ok(named);
    }
    let message = format!(
        "no secret of app {app:?} that this node serves verifies it; it came with the secret {named:?}"
    );
    Err(("signature_not_verified", message))
}

fn trimmed((partition, offset): Position) -> String {
    format!("{partition}@{offset} was trimmed from raw")
}

fn no_webhook((partition, offset): Position) -> String {
    format!("{partition}@{offset} is no webhook, nor a redrive of one")
}
