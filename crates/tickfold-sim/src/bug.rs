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

    /// What catches it where no run can: the world has no raw that is replaced, no store from
    /// elsewhere, and hardly ever an owner that is overtaken in doubt before its group tells it.
    pub fn other_catcher(self) -> Option<&'static str> {
        match self {
            Self::Driver(DriverBug::StoreAheadAccepted) => Some("start table: store ahead"),
            Self::Driver(DriverBug::CrcNotCompared) => Some("start table: last record replaced"),
            Self::Driver(DriverBug::SecondOutlivesFirst) => Some("seeded runs of the processor"),
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
