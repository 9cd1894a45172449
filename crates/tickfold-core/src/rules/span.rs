//! Lengths of time as the rules document writes them: `30s`, `10m`, `24h`, `90d`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::time::{DAY_MS, HOUR_MS, SECOND_MS};

/// Units, the longest first, with their length in milliseconds.
const UNITS: [(&str, i64); 4] =
    [("d", DAY_MS), ("h", HOUR_MS), ("m", 60 * SECOND_MS), ("s", SECOND_MS)];

/// A length of time of whole seconds, never negative. Written with the longest unit that leaves no
/// rest, so that two spellings of one length are one canonical text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    /// So many seconds.
    pub const fn seconds(count: i64) -> Self {
        Self(count.saturating_mul(SECOND_MS))
    }

    /// So many minutes.
    pub const fn minutes(count: i64) -> Self {
        Self(count.saturating_mul(60 * SECOND_MS))
    }

    /// So many hours.
    pub const fn hours(count: i64) -> Self {
        Self(count.saturating_mul(HOUR_MS))
    }

    /// So many days.
    pub const fn days(count: i64) -> Self {
        Self(count.saturating_mul(DAY_MS))
    }

    /// Milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (unit, length) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let digits = text.strip_suffix(unit)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<i64>().ok()?.checked_mul(*length).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.iter().find(|(_, length)| self.0 != 0 && self.0 % length == 0);
        let (unit, length) = fits.copied().unwrap_or(("s", SECOND_MS));
        write!(f, "{}{unit}", self.0 / length)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = &"a whole number with the unit s, m, h or d, such as \"30s\"";
        Self::parse(&text)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_length_has_one_text() {
        for (text, canonical) in [
            ("30s", "30s"),
            ("60s", "1m"),
            ("90m", "90m"),
            ("24h", "1d"),
            ("90d", "90d"),
            ("0s", "0s"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.to_string(), canonical);
            assert_eq!(Span::parse(canonical), Some(span));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "s", "30", "-1s", "+1s", "1.5h", "1 h", "1H", "ms", "5ms", "9999999999999999d"]
        {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
