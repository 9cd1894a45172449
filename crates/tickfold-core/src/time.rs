//! Points in time, as data: nothing here reads a clock.

use std::fmt;

use crate::json::Json;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// One second in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600 * SECOND_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The same without a sign.
const DAY: u64 = 86_400_000;

/// 2009-01-01, before which no WhatsApp event can have happened.
const EARLIEST_MS: i64 = 1_230_768_000_000;

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by so many milliseconds; saturates.
    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The month in UTC, `2026-11`.
    pub fn month(self) -> String {
        match self.plain() {
            Some([a, b, c, d, e, f, g, ..]) => {
                String::from_utf8_lossy(&[a, b, c, d, e, f, g]).into_owned()
            }
            None => self.to_string().chars().take(7).collect(),
        }
    }

    /// Reads what [`Display`](fmt::Display) writes, or any RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }

    /// Reads a day in English, `November 30, 2026`: its beginning in UTC.
    pub fn parse_english_date(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] =
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let (month, day, year) = (words.next()?, words.next()?, words.next()?);
        let month = month.get(..3)?.to_ascii_lowercase();
        let month = MONTHS.iter().position(|known| *known == month)?;
        let month = i8::try_from(month).ok()?.checked_add(1)?;
        let date = jiff::civil::Date::new(year.parse().ok()?, month, day.parse().ok()?).ok()?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        words.next().is_none().then(|| Self(midnight.as_millisecond()))
    }

    /// Reads Meta's time of an event: seconds as text or number, 13 digits are milliseconds.
    ///
    /// Missing, zero, negative, or absurd values are `None`, "time unknown". Absurd is judged
    /// against the append time of the record that carries it and not against a clock, so a replay
    /// judges the same: more than a day after it, or before 2009.
    pub fn of_event(json: Option<Json<'_>>, appended: Self) -> Option<Self> {
        let text = json?.scalar_text()?;
        Self::of_event_number(text.trim().parse().ok()?, appended)
    }

    /// [`of_event`](Self::of_event) of a number that was read already.
    pub(crate) fn of_event_number(number: i64, appended: Self) -> Option<Self> {
        let ms = if number >= 1_000_000_000_000 { number } else { number.checked_mul(1_000)? };
        let plausible = EARLIEST_MS..=appended.0.saturating_add(DAY_MS);
        plausible.contains(&ms).then_some(Self(ms))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds. Times outside years −9999 to 9999 are clamped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.plain() {
            return f.write_str(str::from_utf8(&text).unwrap_or_default());
        }
        let clamped = jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{clamped:.3}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.plain() {
            Some(text) => serializer.serialize_str(str::from_utf8(&text).unwrap_or_default()),
            None => serializer.collect_str(self),
        }
    }
}

impl Timestamp {
    /// The text of a time since 1970 that is not clamped, which is every time that anybody means.
    /// Each output has several, and a formatter of anything takes far longer than the digits need.
    fn plain(self) -> Option<[u8; 24]> {
        let last = jiff::Timestamp::MAX.as_millisecond();
        let ms = u64::try_from(self.0).ok().filter(|_| self.0 <= last)?;
        let (days, of_day) = (ms / DAY, ms % DAY);
        // Years begin in March here, so that the leap day is the last; 400 of them are an era.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let digit = |number: u64| b'0' + u8::try_from(number % 10).unwrap_or_default();
        let (hour, minute, second) =
            (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
        #[rustfmt::skip]
        let text = [
            digit(year / 1_000), digit(year / 100), digit(year / 10), digit(year), b'-',
            digit(month / 10), digit(month), b'-',
            digit(day / 10), digit(day), b'T',
            digit(hour / 10), digit(hour), b':',
            digit(minute / 10), digit(minute), b':',
            digit(second / 10), digit(second), b'.',
            digit(of_day / 100), digit(of_day / 10), digit(of_day), b'Z',
        ];
        Some(text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    const APPENDED: Timestamp = Timestamp::from_millis(1_795_132_800_000);

    fn event(json: &str) -> Option<i64> {
        let json = Document::parse(json.as_bytes()).unwrap();
        Timestamp::of_event(Some(json.root()), APPENDED).map(Timestamp::as_millis)
    }

    #[test]
    fn event_times_come_as_text_or_number_in_seconds_or_milliseconds() {
        assert_eq!(event(r#""1795132800""#), Some(1_795_132_800_000));
        assert_eq!(event("1795132800"), Some(1_795_132_800_000));
        assert_eq!(event("1795132800123"), Some(1_795_132_800_123));
    }

    #[test]
    fn absurd_times_are_unknown() {
        for absurd in ["0", "-5", r#""""#, "null", "[]", "12", r#""soon""#, "1795999999", "1e30"] {
            assert_eq!(event(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn prints_rfc3339_with_milliseconds_and_reads_it_back() {
        assert_eq!(APPENDED.to_string(), "2026-11-20T00:00:00.000Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-20T00:00:00.000Z"), Some(APPENDED));
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string().len(), 24);
    }

    #[test]
    fn prints_each_day_as_the_calendar_has_it() {
        // Two eras, each day at another time; then what is clamped, and what is not just before.
        let last = jiff::Timestamp::MAX.as_millisecond();
        let days = (0..292_194).map(|day| day * 86_400_000 + day * 7_919 % 86_400_000);
        for ms in days.chain([-1, -86_400_001, last, last + 1]) {
            let calendar = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
            assert_eq!(Timestamp::from_millis(ms).to_string(), format!("{calendar:.3}"), "{ms}");
        }
    }
}
