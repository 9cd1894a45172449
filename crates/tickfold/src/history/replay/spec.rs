//! What a replay is of: read from a request, resolved against the log once, and kept in a file, so
//! that it is the same after a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tickfold_core::FOLD_VERSION;
use tickfold_core::rules::Rules;
use tickfold_core::time::Timestamp;
use tickfold_log::{Bounds, Offset};
use tickfold_processor::{MutedFold, Selection};
use tickfold_proto::admin::v1 as pb;
use tickfold_proto::admin::v1::replay_scope::{From as Begin, To as End};
use tickfold_query::Reason;
use tonic::Status;

use crate::history::Ground;

/// Ids of one kind that a selection names at most: each record is searched for them.
const IDS_MAX: usize = 1_000;

/// A replay, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub generation: u64,
    pub fold_version: u32,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    pub partitions: BTreeMap<u32, Range>,
    pub waba_ids: Vec<String>,
    pub phone_number_ids: Vec<String>,
    pub wamids: Vec<String>,
    /// In canonical form.
    pub rules: Option<String>,
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub from: Offset,
    /// The checkpoint that it begins on, which stands at `from`.
    pub checkpoint: Option<String>,
    /// Where it ends: the end of the log as it was, if it is open.
    pub to: Offset,
    /// A comparison goes on from `to`.
    pub is_open: bool,
}

impl Spec {
    /// Resolves a request. `here` are the partitions that this node has.
    pub(super) async fn resolve(
        ground: &Ground,
        scope: pb::ReplayScope,
        here: &[u32],
        refused: &[u32],
        created_ms: i64,
    ) -> Result<Self, Status> {
        let rules = rules(&scope.rules_json)?;
        for (field, ids) in [
            ("waba_ids", &scope.waba_ids),
            ("phone_number_ids", &scope.phone_number_ids),
            ("wamids", &scope.wamids),
        ] {
            if ids.len() > IDS_MAX || ids.iter().any(String::is_empty) {
                let what = format!("{field}: an id is empty, or there are more than {IDS_MAX}");
                return Err(Reason::InvalidArgument.status(what));
            }
        }
        let asked = asked(&scope, here)?;
        let mut partitions = BTreeMap::new();
        for (partition, own) in asked {
            let is_refused = refused.contains(&partition);
            let range = range(ground, partition, &scope, own, is_refused).await?;
            partitions.insert(partition, range);
        }
        Ok(Self {
            generation: 0,
            fold_version: FOLD_VERSION,
            created_ms,
            partitions,
            waba_ids: scope.waba_ids,
            phone_number_ids: scope.phone_number_ids,
            wamids: scope.wamids,
            rules: rules.map(|rules| text(&rules)),
        })
    }

    /// Everything of these partitions, by the rules in the log.
    pub(super) fn whole(partitions: BTreeMap<u32, Range>) -> Self {
        Self {
            generation: 0,
            fold_version: FOLD_VERSION,
            created_ms: 0,
            partitions,
            waba_ids: Vec::new(),
            phone_number_ids: Vec::new(),
            wamids: Vec::new(),
            rules: None,
        }
    }

    /// Whether both are replays of the same: what they are of, whenever they were begun.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let key = |spec: &Self| {
            let ranges = spec.partitions.iter().map(|(partition, range)| {
                // An open one ends later when it is asked for later.
                let to = (!range.is_open).then_some(range.to);
                // Nobody asks for a certain checkpoint: it is the oldest one that there is.
                let from = range.checkpoint.is_none().then_some(range.from);
                (*partition, from, to)
            });
            (
                ranges.collect::<Vec<_>>(),
                spec.waba_ids.clone(),
                spec.phone_number_ids.clone(),
                spec.wamids.clone(),
                spec.rules.clone(),
            )
        };
        key(self) == key(other)
    }

    /// Whether it gives another state than the log does: a part of the history, or by other rules.
    pub(super) fn is_part(&self) -> bool {
        self.lacks_history() || self.rules.is_some()
    }

    /// Whether only a part of the history is folded.
    pub(super) fn lacks_history(&self) -> bool {
        let on_nothing = |range: &Range| range.from > 0 && range.checkpoint.is_none();
        !self.selection().is_all() || self.partitions.values().any(on_nothing)
    }

    pub(super) fn selection(&self) -> Selection {
        Selection {
            waba_ids: self.waba_ids.iter().map(|id| id.as_str().into()).collect(),
            phone_number_ids: self.phone_number_ids.iter().map(|id| id.as_str().into()).collect(),
            wamids: self.wamids.iter().map(|id| id.as_str().into()).collect(),
        }
    }

    /// The fold of one of its partitions.
    pub(super) fn fold(&self, ground: &Ground, partition: u32) -> Result<MutedFold> {
        let rules = self.rules.as_ref().map(|text| Rules::parse(text.as_bytes()).map(Arc::new));
        let rules = rules.transpose().context("read the rules of the replay")?;
        Ok(ground.fold(partition).select(self.selection()).under(rules))
    }

    /// Reads the file of a replay.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))
    }

    /// Writes it, whole and durably.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }
}

/// Writes a file, whole and durably.
pub(super) fn write_json(path: &Path, what: &impl Serialize) -> Result<()> {
    use std::io::Write as _;
    let write = || {
        let text = serde_json::to_vec_pretty(what)?;
        let fresh = path.with_extension("new");
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
    };
    write().with_context(|| format!("write {}", path.display()))
}

fn rules(json: &str) -> Result<Option<Rules>, Status> {
    if json.is_empty() {
        return Ok(None);
    }
    let invalid = |invalid| Reason::InvalidArgument.status(format!("rules_json: {invalid}"));
    Rules::parse(json.as_bytes()).map(Some).map_err(invalid)
}

fn text(rules: &Rules) -> String {
    String::from_utf8_lossy(&rules.canonical()).into_owned()
}

/// The partitions asked for, each with a range of its own if it has one.
fn asked<'a>(
    scope: &'a pb::ReplayScope,
    here: &[u32],
) -> Result<BTreeMap<u32, Option<&'a pb::ReplayRange>>, Status> {
    let invalid = |what: String| Err(Reason::InvalidArgument.status(what));
    if !scope.ranges.is_empty()
        && (!scope.partitions.is_empty() || scope.from.is_some() || scope.to.is_some())
    {
        return invalid("ranges: stand instead of partitions, from and to".to_owned());
    }
    let mut asked = BTreeMap::new();
    for range in &scope.ranges {
        if asked.insert(range.partition, Some(range)).is_some() {
            return invalid(format!("ranges: partition {} is named twice", range.partition));
        }
    }
    asked.extend(scope.partitions.iter().map(|partition| (*partition, None)));
    if asked.is_empty() {
        asked.extend(here.iter().map(|partition| (*partition, None)));
    }
    if let Some(absent) = asked.keys().find(|partition| !here.contains(partition)) {
        let what = format!("partition {absent} is not on this node, which has {here:?}");
        return Err(Reason::PartitionElsewhere.status(what));
    }
    if asked.is_empty() {
        return Err(Reason::PartitionElsewhere.status("no partition is on this node"));
    }
    Ok(asked)
}

async fn range(
    ground: &Ground,
    partition: u32,
    scope: &pb::ReplayScope,
    own: Option<&pb::ReplayRange>,
    is_refused: bool,
) -> Result<Range, Status> {
    let place = ground.place(partition);
    let failed = |error: tickfold_log::Error| {
        let error = anyhow::Error::from(error);
        Reason::LogUnavailable.status(format!("look at raw of partition {partition}: {error:#}"))
    };
    let bounds = ground.log.bounds(&place).await.map_err(failed)?;
    let Bounds { start, mut end } = bounds;
    if is_refused && let Some(committed) = ground.committed(partition).await.map_err(failed)? {
        // Nothing behind its position was told yet.
        end = end.min(committed.offset).max(start);
    }
    let begin = match (own, &scope.from) {
        (Some(own), _) => own.from_offset,
        (None, None) => None,
        (None, Some(Begin::FromOffset(offset))) => Some(*offset),
        (None, Some(Begin::FromTime(time))) => {
            Some(ground.log.offset_at(&place, ms("from_time", time)?).await.map_err(failed)?)
        }
    };
    let finish = match (own, &scope.to) {
        (Some(own), _) => own.to_offset,
        (None, None) => None,
        (None, Some(End::ToOffset(offset))) => Some(*offset),
        (None, Some(End::ToTime(time))) => {
            Some(ground.log.offset_at(&place, ms("to_time", time)?).await.map_err(failed)?)
        }
    };
    let to = finish.unwrap_or(end).min(end);
    let (from, checkpoint) = match begin {
        // Of all partitions one may be shorter: nothing of it is replayed.
        Some(from) if from >= start => (from.min(to), None),
        Some(from) => {
            let what = format!("raw of partition {partition} begins at {start}, above {from}");
            return Err(Reason::RawTrimmed.status(what));
        }
        None if start == 0 => (0, None),
        None => {
            let failed = |error| {
                let error = anyhow::Error::from(error);
                Reason::StoreReadFailed.status(format!("look for checkpoints: {error:#}"))
            };
            let found = ground.checkpoints(partition, start, to).map_err(failed)?;
            let oldest = found.into_iter().min_by_key(|checkpoint| checkpoint.head.cursor);
            let oldest = oldest.ok_or_else(|| {
                Reason::RawTrimmed.status(format!(
                    "raw of partition {partition} begins at {start}, and no checkpoint reaches down to \
                     it: name where to begin on nothing with from_offset"
                ))
            })?;
            (oldest.head.cursor, Some(oldest.id))
        }
    };
    if from > to {
        let what = format!("partition {partition}: {from}, where it begins, is above its end {to}");
        return Err(Reason::InvalidArgument.status(what));
    }
    Ok(Range { from, checkpoint, to, is_open: finish.is_none() })
}

fn ms(field: &str, time: &prost_types::Timestamp) -> Result<i64, Status> {
    let nanos_ms = i64::from(time.nanos).div_euclid(1_000_000);
    let ms = time.seconds.checked_mul(1_000).and_then(|ms| ms.checked_add(nanos_ms));
    ms.ok_or_else(|| Reason::InvalidArgument.status(format!("{field}: is out of range")))
}

/// A moment as the API has it.
pub(super) fn time(ms: i64) -> prost_types::Timestamp {
    let ms = Timestamp::from_millis(ms).as_millis();
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(from: Offset, checkpoint: Option<&str>) -> Spec {
        let checkpoint = checkpoint.map(str::to_owned);
        let range = Range { from, checkpoint, to: 9, is_open: true };
        Spec {
            generation: 1,
            fold_version: FOLD_VERSION,
            created_ms: 5,
            partitions: BTreeMap::from([(0, range)]),
            waba_ids: Vec::new(),
            phone_number_ids: Vec::new(),
            wamids: Vec::new(),
            rules: None,
        }
    }

    #[test]
    fn what_is_not_all_of_the_history_by_its_own_rules_is_a_part() {
        assert!(!spec(0, None).is_part());
        assert!(!spec(4, Some("4")).is_part());
        assert!(spec(4, None).is_part());
        assert!(Spec { wamids: vec!["w".to_owned()], ..spec(0, None) }.is_part());
        let ruled = Spec { rules: Some(String::new()), ..spec(0, None) };
        assert!(ruled.is_part() && !ruled.lacks_history());
    }

    #[test]
    fn an_open_replay_is_the_same_one_later() {
        let mut later = spec(0, None);
        later.created_ms = 8;
        later.partitions.get_mut(&0).unwrap().to = 12;
        assert!(spec(0, None).is_same(&later));
        assert!(spec(4, Some("4")).is_same(&spec(6, Some("6"))));
        assert!(!spec(4, None).is_same(&spec(6, None)));
        later.partitions.get_mut(&0).unwrap().is_open = false;
        assert!(!spec(0, None).is_same(&later));
    }

    #[test]
    fn it_comes_back_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replay.json");
        spec(4, Some("4")).write(&path).unwrap();
        assert_eq!(Spec::read(&path).unwrap(), spec(4, Some("4")));
        std::fs::write(&path, "{").unwrap();
        assert!(Spec::read(&path).is_err());
    }
}
