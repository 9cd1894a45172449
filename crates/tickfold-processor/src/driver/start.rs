//! The start table: what to do with a partition, given what was found of it.
//!
//! E is the group's position (outputs are emitted below it), S the cursor of the store, B..N the
//! bounds of raw. [`decide`] is pure; the driver asks for what it needs and does what it says.

use std::collections::BTreeSet;

use tickfold_core::FOLD_VERSION;
use tickfold_core::fold::Partition;
use tickfold_log::{Bounds, Committed, Offset};
use tickfold_store::{Checkpoint, StoreHead};

use super::refusal::{RawDamage, Refusal};
use crate::token::Token;

/// What was found of a partition, after it was claimed.
#[derive(Debug, Clone)]
pub struct Found {
    /// The partition that starts.
    pub partition: Partition,
    /// E.
    pub emitted: Emitted,
    /// S.
    pub store: StoreFound,
    /// B..N.
    pub bounds: Bounds,
    /// The raw record just below E.
    pub last_folded: LastFolded,
}

/// The group's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emitted {
    /// None: never committed, or expired. Then the derived topics tell.
    None(Derived),
    /// With a token of ours.
    Ours {
        /// Position.
        offset: Offset,
        /// Token.
        token: Token,
    },
    /// With anything else beside it.
    Foreign {
        /// Position.
        offset: Offset,
        /// Text found.
        metadata: String,
    },
    /// A person says so, whatever the group has.
    Accepted {
        /// Position.
        offset: Offset,
        /// Whether the state is folded from what raw has, without store and checkpoints.
        anew: bool,
    },
}

/// What a person decided about a partition that was refused, for one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The group's position that it was decided upon. Another one by then is another case.
    pub found: Option<Committed>,
    /// Position to go on from: everything below counts as emitted. So the store may stand up there
    /// before it is committed; a start that ends in between leaves no more than was accepted.
    pub offset: Offset,
    /// Fold the state from what raw has, without the store and checkpoints that are there: where
    /// raw is another one, or lacks its beginning, they do not belong to it or do not suffice.
    pub anew: bool,
}

/// What the derived partitions tell of outputs emitted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Derived {
    /// True if any has, or ever had, a record.
    pub had_records: bool,
    /// The greatest raw offset named by the last records.
    pub highest_source: Option<Offset>,
}

/// The store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFound {
    /// It opens; an empty one if there was none.
    Readable(StoreHead),
    /// There is one that cannot be understood.
    Unreadable,
}

/// The raw record just below E.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastFolded {
    /// There is none to look at: E is 0, or E = B since it was trimmed.
    NotReadable,
    /// It should be there and is not.
    Missing,
    /// Its CRC.
    Crc(u32),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing was ever emitted: commit position 0 with a token, then go live.
    FirstStart,
    /// Fold S→E silently, compare the digest, commit once with a new token, go live.
    Refold(Target),
    /// The store cannot be used: newest checkpoint with B ≤ cursor ≤ E, else empty if B = 0, else
    /// refuse.
    Replace {
        /// Why.
        reason: Reason,
        /// E.
        emitted: Offset,
    },
    /// A person must act.
    Refuse(Refusal),
}

/// Where refolding ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// E.
    pub emitted: Offset,
    /// Digest of the state at E, if a token tells.
    pub digest: Option<u128>,
    /// CRC of the raw record just below E, for the next token; 0 if there is none.
    pub crc: u32,
}

/// Why a store is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is none.
    Missing,
    /// It cannot be understood.
    Unreadable,
    /// S > E: it holds what was never committed, or the position was set back.
    Ahead,
    /// S < B: raw no longer has what comes next.
    BelowRaw,
    /// At E its digest is not the token's.
    DigestDiffers,
    /// A person wants none of it.
    Anew,
}

impl Reason {
    /// As part of the name of the rejected store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Ahead => "ahead-of-log",
            Self::BelowRaw => "below-raw",
            Self::DigestDiffers => "digest-differs",
            Self::Anew => "folded-anew",
        }
    }
}

/// The start table.
pub fn decide(found: &Found) -> Decision {
    if let Some(refusal) = foreign_owner(found) {
        return Decision::Refuse(refusal);
    }
    let emitted = match position(&found.emitted, &found.store) {
        Position::At(offset) => offset,
        // E = B, and only a log from its beginning can be folded from nothing.
        Position::First if found.bounds.start == 0 => 0,
        Position::First => {
            let (start, reason) = (found.bounds.start, Reason::Missing.as_str());
            return Decision::Refuse(Refusal::RawGap { start, emitted: start, reason });
        }
        Position::Unknown => return Decision::Refuse(Refusal::NothingReadable),
    };
    let token = token(&found.emitted);
    if let Some(damage) = damage(found, emitted, token) {
        return Decision::Refuse(Refusal::RawDamaged(damage));
    }
    let replace = |reason| Decision::Replace { reason, emitted };
    let store = match found.store {
        StoreFound::Unreadable => return replace(Reason::Unreadable),
        StoreFound::Readable(store) => store,
    };
    if store.cursor > emitted {
        return replace(Reason::Ahead);
    }
    let anew = matches!(found.emitted, Emitted::Accepted { anew: true, .. });
    if anew && store != StoreHead::EMPTY {
        return replace(Reason::Anew);
    }
    if store == StoreHead::EMPTY && emitted > 0 {
        // Folding from 0 would do, but a checkpoint is nearer.
        return replace(Reason::Missing);
    }
    if store.cursor < found.bounds.start {
        return replace(Reason::BelowRaw);
    }
    if store.cursor == emitted && token.is_some_and(|token| token.digest != store.digest) {
        return replace(Reason::DigestDiffers);
    }
    if emitted == 0 && token.is_none() {
        return Decision::FirstStart;
    }
    Decision::Refold(target(found, emitted))
}

/// Where refolding to E ends.
pub(super) fn target(found: &Found, emitted: Offset) -> Target {
    let token = token(&found.emitted);
    let crc = match found.last_folded {
        LastFolded::Crc(crc) => crc,
        // Trimmed: the token still knows it.
        LastFolded::NotReadable | LastFolded::Missing => token.map_or(0, |token| token.crc),
    };
    Target { emitted, digest: token.map(|token| token.digest), crc }
}

fn token(emitted: &Emitted) -> Option<&Token> {
    match emitted {
        Emitted::Ours { token, .. } => Some(token),
        Emitted::None(_) | Emitted::Foreign { .. } | Emitted::Accepted { .. } => None,
    }
}

/// The newest checkpoint from which E can be reached, of those not tried before.
pub fn choose_checkpoint(
    checkpoints: Vec<Checkpoint>,
    tried: &BTreeSet<String>,
    bounds: Bounds,
    emitted: Offset,
) -> Option<Checkpoint> {
    let fits = |checkpoint: &Checkpoint| {
        (bounds.start..=emitted).contains(&checkpoint.head.cursor)
            && checkpoint.head.fold_version == FOLD_VERSION
            && !tried.contains(&checkpoint.id)
    };
    checkpoints.into_iter().filter(fits).max_by_key(|checkpoint| checkpoint.head.cursor)
}

/// E, as far as it is known before raw is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Nothing was ever emitted.
    First,
    /// There.
    At(Offset),
    /// Something was emitted, and nothing tells how far.
    Unknown,
}

pub(super) fn position(emitted: &Emitted, store: &StoreFound) -> Position {
    let derived = match emitted {
        Emitted::Ours { offset, .. }
        | Emitted::Foreign { offset, .. }
        | Emitted::Accepted { offset, .. } => return Position::At(*offset),
        Emitted::None(derived) => derived,
    };
    let store = match store {
        StoreFound::Readable(head) if head.cursor > 0 => Some(head.cursor),
        StoreFound::Readable(_) | StoreFound::Unreadable => None,
    };
    // The state never runs ahead of what was emitted, and a commit holds all outputs of its
    // records, so each of the two is a lower bound of E and outputs below the greater are there.
    // Where the store decides, S = E, so it is not replaced and E does not fall back behind it.
    let next = derived.highest_source.map(|offset| offset.saturating_add(1));
    match store.max(next) {
        Some(offset) => Position::At(offset),
        None if derived.had_records => Position::Unknown,
        None => Position::First,
    }
}

/// Whoever wrote the position or the store is not this program as it is configured.
fn foreign_owner(found: &Found) -> Option<Refusal> {
    let version = |of, found| Refusal::FoldVersion { of, found, ours: FOLD_VERSION };
    match &found.emitted {
        Emitted::None(_) | Emitted::Accepted { .. } => {}
        Emitted::Foreign { offset, metadata } => {
            let metadata = metadata.chars().take(64).collect();
            return Some(Refusal::OffsetMoved { offset: *offset, metadata });
        }
        Emitted::Ours { token, .. } if token.fold_version != FOLD_VERSION => {
            return Some(version("group's position", token.fold_version));
        }
        Emitted::Ours { token, .. } if token.partition_count != found.partition.count => {
            let (found, ours) = (token.partition_count, found.partition.count);
            return Some(Refusal::PartitionCount { found, ours });
        }
        Emitted::Ours { .. } => {}
    }
    match found.store {
        StoreFound::Readable(store) if store.fold_version != FOLD_VERSION => {
            Some(version("store", store.fold_version))
        }
        StoreFound::Readable(_) | StoreFound::Unreadable => None,
    }
}

/// Raw is not the log that was folded up to E.
fn damage(found: &Found, emitted: Offset, token: Option<&Token>) -> Option<RawDamage> {
    let bounds = found.bounds;
    if !(bounds.start..=bounds.end).contains(&emitted) {
        return Some(RawDamage::OutOfBounds { emitted, bounds });
    }
    let offset = emitted.saturating_sub(1);
    match (found.last_folded, token) {
        (LastFolded::NotReadable, _) | (LastFolded::Crc(_), None) => None,
        (LastFolded::Missing, _) => Some(RawDamage::LastMissing { offset }),
        (LastFolded::Crc(found), Some(token)) => (found != token.crc)
            .then_some(RawDamage::LastReplaced { offset, found, token: token.crc }),
    }
}
