//! Planted bugs: switches that break the fold on purpose (feature `planted-bugs`), so that the
//! simulation can prove that it would notice.
//!
//! Each is a bug that a careless change could make, or that some system had. What a fold must never
//! look at, a clock and a configuration, is lent to it here by whoever plants the bug. Without the
//! feature nothing of this is compiled: `planted!` is `false`.

/// A bug of the fold to plant. `docs/testing.md` lists what catches which.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Timers fire before the items of their record are folded.
    FireBeforeFold,
    /// A tick stands for the clock of whoever folds it, not for its append.
    TickIsWallClock,
    /// Entities expire by the clock of whoever folds.
    ExpiryByWallClock,
    /// Deadlines follow the configuration of the process.
    ConfigInFold,
    /// Table rows are written after each item, not at the end of the record.
    RowPerItem,
    /// Two identifiers are one since the record came, not since the event.
    AliasByArrival,
    /// Of two times of one status the later to arrive counts, not the earlier.
    TimeByArrival,
    /// All items of a body are folded, also those of other partitions.
    FoldsForeignItems,
    /// Items are placed by the entry they stand in, whatever account they name.
    RoutedByEntry,
    /// An action that was decided is not remembered.
    DecidedForgotten,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::FireBeforeFold,
        Self::TickIsWallClock,
        Self::ExpiryByWallClock,
        Self::ConfigInFold,
        Self::RowPerItem,
        Self::AliasByArrival,
        Self::TimeByArrival,
        Self::FoldsForeignItems,
        Self::RoutedByEntry,
        Self::DecidedForgotten,
    ];
}

/// What a broken fold looks at.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Ambient {
    /// The bug; `None` is the sound fold.
    pub bug: Option<Bug>,
    /// The clock of the process, in milliseconds since 1970.
    pub wall_ms: i64,
    /// What its configuration adds to deadlines.
    pub config_ms: i64,
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static AMBIENT: std::cell::Cell<Ambient> = const {
        std::cell::Cell::new(Ambient { bug: None, wall_ms: 0, config_ms: 0 })
    };
}

/// Plants a bug into every fold of this thread, or takes it back.
#[cfg(feature = "planted-bugs")]
pub fn set(ambient: Ambient) {
    AMBIENT.set(ambient);
}

/// What folds of this thread look at.
#[cfg(feature = "planted-bugs")]
pub(crate) fn ambient() -> Ambient {
    AMBIENT.get()
}

/// True if this bug is planted.
#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::ambient().bug == Some($crate::planted::Bug::$bug)
    };
}

#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub(crate) use planted;
