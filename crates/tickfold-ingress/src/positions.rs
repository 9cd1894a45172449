//! Where a webhook stands in the raw log, as the answer to it tells.
//!
//! Each partition is named with the place behind the record, which is how queries count: given back as
//! `min_position`, a query waits until the webhook is folded. A webhook stands at more than one place
//! if it tells of accounts of several partitions.

use std::fmt::{self, Write as _};

use axum::http::{HeaderName, HeaderValue};
use tickfold_log::Offset;

/// The header that tells them.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("tickfold-positions");

/// Proxies refuse an answer whose head is above 4 or 8 KiB, and Meta would repeat the webhook for days.
/// Enough for a hundred partitions; Meta's webhooks name one or two.
const HEADER_BYTES_MAX: usize = 2 * 1024;

/// The places of one webhook, by rising partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Positions(Vec<(u32, Offset)>);

impl Positions {
    /// The record of a partition has this offset.
    pub(crate) fn add(&mut self, partition: u32, offset: Offset) {
        let at = self.0.partition_point(|(of, _)| *of < partition);
        self.0.insert(at, (partition, offset.saturating_add(1)));
    }

    pub(crate) fn append(&mut self, others: Self) {
        self.0.extend(others.0);
        self.0.sort_unstable();
    }

    /// Value of the header. `None` if it would be too long for those between Meta and us.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = self.to_string();
        if text.len() > HEADER_BYTES_MAX {
            return None;
        }
        HeaderValue::try_from(text).ok()
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, offset)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            write!(f, "{partition}:{offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_behind_the_records_and_rise_by_partition() {
        let mut positions = Positions::default();
        positions.add(5, 87);
        positions.add(3, 1_233);
        let mut others = Positions::default();
        others.add(4, 0);
        positions.append(others);
        assert_eq!(positions.header().unwrap(), "3:1234,4:1,5:88");
    }

    #[test]
    fn an_answer_stays_below_what_proxies_take() {
        let mut positions = Positions::default();
        (0..100).for_each(|partition| positions.add(partition, 9_999_999_999_998));
        assert!(positions.header().is_some_and(|header| header.len() > 1_600));
        (100..1_024).for_each(|partition| positions.add(partition, 9_999_999_999_998));
        assert_eq!(positions.header(), None);
    }
}
