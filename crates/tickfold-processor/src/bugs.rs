//! Planted bugs: switches that break the commit and start code on purpose (feature
//! `planted-bugs`), so that tests can prove that they would notice.
//!
//! Each is a bug that a careless change could make. Without the feature nothing of this is
//! compiled: [`planted!`] is `false`.

#[cfg(feature = "planted-bugs")]
use crate::driver::{Derived, Emitted, Found, LastFolded, StoreFound};

/// A bug to plant. `docs/testing.md` lists which test catches which.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The store is written before the log has committed.
    StoreBeforeCommit,
    /// A position without our token is taken as it is.
    TokenNotChecked,
    /// A commit whose outcome is unknown counts as done.
    UnclearIsSuccess,
    /// A commit whose outcome is unknown is sent again without looking.
    UnclearAlwaysResent,
    /// A commit that was aborted counts as done.
    AbortedIsSuccess,
    /// A commit that was fenced counts as done.
    FencedIsSuccess,
    /// The digest of a refolded state is not compared to the token's.
    DigestNotCompared,
    /// Refolding begins one record after the cursor.
    RefoldSkipsOne,
    /// Live at the store's cursor instead of the committed position: what was committed since is
    /// emitted again.
    RefoldEmits,
    /// A store ahead of the committed position is folded on.
    StoreAheadAccepted,
    /// The CRC of the last folded record is not compared to the token's.
    CrcNotCompared,
    /// What is folded on top of a commit in flight is folded on top of the store alone.
    SecondIgnoresFirst,
    /// The digest of what is folded on top of a commit in flight is made on top of the store alone.
    SecondDigestIgnoresFirst,
    /// After the first commit the store is written with both overlays.
    StoreHasBoth,
    /// While an aborted commit waits to be sent again, what was folded on top is committed.
    SecondBeforeFirst,
    /// A commit that is not ours any more is dropped, and what was folded on top is kept.
    SecondOutlivesFirst,
    /// When the partition is taken away, the store is written with what is being committed.
    StoreAfterLoss,
    /// Where the group's position expired, the last record that the derived topics name is emitted
    /// once more.
    ExpiredOffByOne,
    /// Batches in which only time passed are never committed.
    TicksNeverCommitted,
    /// A commit whose outcome is unknown is sent again through the claim it came from.
    UnclearOnOldClaim,
    /// The other store of a swap is opened, and no commit names it.
    SwapBeforeCommit,
    /// A start whose token is that of a swap does not look for the other store.
    SwapNotLookedFor,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::StoreBeforeCommit,
        Self::TokenNotChecked,
        Self::UnclearIsSuccess,
        Self::UnclearAlwaysResent,
        Self::AbortedIsSuccess,
        Self::FencedIsSuccess,
        Self::DigestNotCompared,
        Self::RefoldSkipsOne,
        Self::RefoldEmits,
        Self::StoreAheadAccepted,
        Self::CrcNotCompared,
        Self::SecondIgnoresFirst,
        Self::SecondDigestIgnoresFirst,
        Self::StoreHasBoth,
        Self::SecondBeforeFirst,
        Self::SecondOutlivesFirst,
        Self::StoreAfterLoss,
        Self::ExpiredOffByOne,
        Self::TicksNeverCommitted,
        Self::UnclearOnOldClaim,
        Self::SwapBeforeCommit,
        Self::SwapNotLookedFor,
    ];
}

/// Spoils what was found of a partition, before the start table sees it.
#[cfg(feature = "planted-bugs")]
pub(crate) fn spoil(bug: Option<Bug>, mut found: Found) -> Found {
    let cursor = match found.store {
        StoreFound::Readable(head) => head.cursor,
        StoreFound::Unreadable => 0,
    };
    // A position as if it had been read off the derived topics: taken without a token.
    let trusted = |offset: u64| {
        let highest_source = offset.checked_sub(1);
        Emitted::None(Derived { had_records: highest_source.is_some(), highest_source })
    };
    match (bug, &mut found.emitted) {
        (Some(Bug::TokenNotChecked), Emitted::Foreign { offset, .. }) => {
            found.emitted = trusted(*offset);
        }
        (Some(Bug::StoreAheadAccepted), Emitted::Ours { offset, .. }) if cursor > *offset => {
            found.emitted = trusted(cursor);
        }
        (Some(Bug::DigestNotCompared), Emitted::Ours { offset, token }) if cursor == *offset => {
            if let StoreFound::Readable(head) = found.store {
                token.digest = head.digest;
            }
        }
        (Some(Bug::ExpiredOffByOne), Emitted::None(derived)) => {
            derived.highest_source = derived.highest_source.map(|last| last.saturating_sub(1));
        }
        (Some(Bug::CrcNotCompared), Emitted::Ours { .. }) => {
            found.last_folded = LastFolded::NotReadable;
        }
        _ => {}
    }
    found
}

/// True if the options plant this bug.
#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($options:expr, $bug:ident) => {
        $options.bug == Some($crate::bugs::Bug::$bug)
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($options:expr, $bug:ident) => {{
        let _ = &$options;
        false
    }};
}

pub(crate) use planted;
