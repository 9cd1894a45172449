//! Bugs to plant: of the driver, of the fold, and of what the simulation puts in the place of the
//! adapters; and what each needs to show.

use tickfold_core::planted::Bug as FoldBug;
use tickfold_processor::Bug as DriverBug;

use crate::plan::Fault;

/// A bug of a log client or of ingress. The simulation has its own of both, since the real ones are
/// made of librdkafka, RocksDB and sockets; these bugs show that its log punishes what Kafka and a
/// disk would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortBug {
    /// The position is read before the claim fences the earlier owner.
    PositionBeforeInit,
    /// Commits carry no generation, so the group cannot refuse them.
    NoGeneration,
    /// After a commit in doubt the same producer goes on, without a new epoch.
    ProducerReused,
    /// A producer whose connection failed in a commit goes on.
    RepeatedTrusted,
    /// Raw is read with what is open or aborted.
    ReadsUncommitted,
    /// A commit of the embedded log is answered before it is synced.
    NoSync,
    /// Ingress answers 200 before the log holds the record.
    AckedEarly,
}

/// A bug to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// In the driver: commit, start, restore.
    Driver(DriverBug),
    /// In the fold.
    Fold(FoldBug),
    /// In what stands for the adapters.
    Port(PortBug),
}

impl Planted {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let port = [
            PortBug::PositionBeforeInit,
            PortBug::NoGeneration,
            PortBug::ProducerReused,
            PortBug::RepeatedTrusted,
            PortBug::ReadsUncommitted,
            PortBug::NoSync,
            PortBug::AckedEarly,
        ];
        let driver = DriverBug::ALL.into_iter().map(Self::Driver);
        driver.chain(FoldBug::ALL.map(Self::Fold)).chain(port.map(Self::Port)).collect()
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Self::Driver(bug) => format!("{bug:?}"),
            Self::Fold(bug) => format!("{bug:?}"),
            Self::Port(bug) => format!("{bug:?}"),
        }
    }

    /// The one of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|bug| bug.name() == name)
    }

    /// How the law begins that has to see it: whatever else a run says shows only that something went
    /// wrong, and not that this law has eyes. `None` where no run sees it.
    pub fn caught_by(self) -> Option<&'static str> {
        use DriverBug as D;
        use FoldBug as F;
        use PortBug as P;
        Some(match self {
            Self::Driver(
                D::StoreBeforeCommit
                | D::UnclearIsSuccess
                | D::AbortedIsSuccess
                | D::FencedIsSuccess
                | D::StoreHasBoth
                | D::StoreAfterLoss,
            )
            | Self::Port(P::NoSync) => "a store ahead of the log",
            Self::Driver(D::RefoldSkipsOne) => "a store that is not the golden one",
            Self::Driver(
                D::DigestNotCompared
                | D::SecondIgnoresFirst
                | D::SecondDigestIgnoresFirst
                | D::SecondBeforeFirst,
            )
            | Self::Fold(F::TickIsWallClock | F::ExpiryByWallClock | F::ConfigInFold) => {
                "a token that is not the golden one"
            }
            Self::Driver(
                D::TokenNotChecked | D::UnclearAlwaysResent | D::RefoldEmits | D::ExpiredOffByOne,
            )
            | Self::Port(P::PositionBeforeInit | P::ProducerReused | P::RepeatedTrusted) => {
                "outputs twice"
            }
            Self::Driver(D::TicksNeverCommitted | D::UnclearOnOldClaim) => "does not come to rest",
            Self::Driver(D::SwapBeforeCommit) => "a store that no commit names",
            Self::Driver(D::SwapNotLookedFor) => "another store goes on",
            Self::Driver(D::StoreAheadAccepted | D::CrcNotCompared | D::SecondOutlivesFirst) => {
                return None;
            }
            Self::Fold(F::FireBeforeFold) => "a shown state that falls",
            Self::Fold(F::RowPerItem) => "a row twice of one raw record",
            Self::Fold(F::AliasByArrival | F::TimeByArrival) => "facts that depend on order",
            Self::Fold(F::FoldsForeignItems | F::DecidedForgotten) => "an action twice",
            Self::Fold(F::RoutedByEntry) => "a status told nowhere",
            Self::Port(P::NoGeneration) => "a commit of what the group gave to another",
            Self::Port(P::ReadsUncommitted) => "a position at the end of no record",
            Self::Port(P::AckedEarly) => "a webhook that is not in raw",
        })
    }

    /// What catches it where no run can: the world has no raw that is replaced, no store from
    /// elsewhere, and hardly ever an owner that is overtaken in doubt before its group tells it.
    pub fn other_catcher(self) -> Option<&'static str> {
        match self {
            Self::Driver(DriverBug::StoreAheadAccepted) => Some("start table: \"store ahead\""),
            Self::Driver(DriverBug::CrcNotCompared) => {
                Some("start table: \"last record replaced\"")
            }
            Self::Driver(DriverBug::SecondOutlivesFirst) => {
                Some("seeded runs of the processor: outputs lost and doubled")
            }
            Self::Driver(_) | Self::Fold(_) | Self::Port(_) => None,
        }
    }

    /// Faults of which it needs one to show; with all of them off it is not seen. Empty: it shows
    /// by itself.
    pub fn needs(self) -> Vec<Fault> {
        use DriverBug as D;
        use FoldBug as F;
        use PortBug as P;
        let one_of = |groups: &[&[Fault]]| groups.concat();
        match self {
            Self::Driver(D::UnclearIsSuccess | D::UnclearAlwaysResent | D::UnclearOnOldClaim) => {
                one_of(&[&DOUBTS])
            }
            Self::Driver(D::FencedIsSuccess | D::SecondOutlivesFirst | D::StoreAfterLoss)
            | Self::Port(P::NoGeneration) => {
                one_of(&[&DOUBTS, &MOVES, &[Fault::Outages, Fault::Days]])
            }
            Self::Driver(D::TokenNotChecked) => vec![Fault::OffsetMoved],
            Self::Driver(D::DigestNotCompared) => vec![Fault::StoreRots],
            Self::Driver(D::ExpiredOffByOne) => vec![Fault::OffsetExpired],
            Self::Driver(D::SwapBeforeCommit) => vec![Fault::Replay],
            Self::Driver(D::SwapNotLookedFor) => {
                one_of(&[&DOUBTS, &MOVES, &[Fault::DiskFull, Fault::Outages, Fault::Days]])
            }
            Self::Fold(F::ExpiryByWallClock) => vec![Fault::Days],
            Self::Port(P::ProducerReused) => one_of(&[&DOUBTS]),
            Self::Port(P::RepeatedTrusted) => vec![Fault::RequestRepeated],
            Self::Port(P::ReadsUncommitted) => vec![Fault::ForeignTxn],
            Self::Port(P::AckedEarly) => vec![Fault::IngressUnsure],
            // Processes come up one after the other, so the group moves on without any fault.
            Self::Driver(
                D::StoreBeforeCommit
                | D::AbortedIsSuccess
                | D::SecondBeforeFirst
                | D::RefoldSkipsOne
                | D::RefoldEmits
                | D::StoreAheadAccepted
                | D::CrcNotCompared
                | D::SecondIgnoresFirst
                | D::SecondDigestIgnoresFirst
                | D::StoreHasBoth
                | D::TicksNeverCommitted,
            )
            | Self::Fold(
                F::FireBeforeFold
                | F::TickIsWallClock
                | F::ConfigInFold
                | F::RowPerItem
                | F::AliasByArrival
                | F::TimeByArrival
                | F::FoldsForeignItems
                | F::RoutedByEntry
                | F::DecidedForgotten,
            )
            | Self::Port(P::PositionBeforeInit | P::NoSync) => Vec::new(),
        }
    }
}

/// What leaves a commit in doubt.
const DOUBTS: [Fault; 8] = [
    Fault::RequestLost,
    Fault::AnswerLost,
    Fault::RequestLate,
    Fault::RequestRepeated,
    Fault::Refusal,
    Fault::Cut,
    Fault::SlowMarkers,
    Fault::SyncFails,
];

/// What moves partitions from one process to another.
const MOVES: [Fault; 8] = [
    Fault::Kill,
    Fault::PowerLoss,
    Fault::Pause,
    Fault::Leave,
    Fault::Restart,
    Fault::Takeover,
    Fault::OffsetMoved,
    Fault::OffsetExpired,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_page_names_who_catches_each() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| {
            let [name, _, _, caught_by] = line
                .strip_prefix("| `")?
                .strip_suffix(" |")?
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()[..]
            else {
                return None;
            };
            // Behind a semicolon stands what else catches it.
            let catcher = caught_by.split(';').next().unwrap_or_default();
            Some((name.trim_end_matches('`').to_owned(), catcher.to_owned()))
        });
        let catcher = |bug: Planted| {
            let (law, other) = (bug.caught_by(), bug.other_catcher());
            assert!(law.is_none() || other.is_none(), "{} has both", bug.name());
            law.or(other).unwrap_or_default().to_owned()
        };
        let known = Planted::all().into_iter().map(|bug| (bug.name(), catcher(bug)));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), known.collect::<BTreeMap<_, _>>());
    }
}
