//! Why no traffic can be made.

/// A [`Spec`](crate::Spec) that no traffic can be made of. The caller has to change it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A share outside 0 to 1.
    #[error("share {name} is {value}, not between 0 and 1")]
    Share {
        /// The field, or the sum of two.
        name: &'static str,
        /// What it was.
        value: f64,
    },
    /// A count that must not be zero.
    #[error("{name} is zero")]
    Zero {
        /// The field.
        name: &'static str,
    },
    /// Not a batch, or more than Meta aggregates.
    #[error("batch_statuses_max is {value}, not between 2 and {max}", max = crate::spec::BATCH_MAX)]
    Batch {
        /// What it was.
        value: usize,
    },
}
