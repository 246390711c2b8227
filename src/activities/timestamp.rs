//! Times as the frontend reads them.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::digits;

/// A moment, written `2026-11-20T23:56:35.179053+00:00`: microseconds always, offset always.
///
/// The frontend takes a time without an offset for local time and then shows wrong ages, and parses the fraction
/// only where there is one. Hence a type of its own rather than whatever a library writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

/// Bytes of a written timestamp.
const LEN: usize = 32;

/// The offset that is written.
const UTC: &[u8; 6] = b"+00:00";

impl Timestamp {
    /// The moment that is `offset` away from this one, or the last one that can be written.
    #[must_use]
    pub fn offset(self, offset: TimeDelta) -> Self {
        Self(self.0.checked_add_signed(offset).unwrap_or(self.0))
    }

    /// The moment itself.
    #[must_use]
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }

    /// As it is written; what is before 1970 is 1970.
    #[inline]
    pub(super) fn written(self) -> Written {
        const SECOND: u64 = 1_000_000;
        let micros = u64::try_from(self.0.timestamp_micros()).unwrap_or_default();
        let seconds = micros / SECOND;
        let mut text = [0; LEN];
        let (date_time, offset) = text.split_at_mut(LEN - UTC.len());
        date_time.copy_from_slice(&digits::date_time(seconds, micros % SECOND));
        offset.copy_from_slice(UTC);
        Written { text, hours: seconds / 3600 }
    }
}

/// A timestamp's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    text: [u8; LEN],
    /// Whole hours since 1970.
    hours: u64,
}

impl Written {
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// In ASCII.
    pub(super) fn bytes(&self) -> &[u8; LEN] {
        &self.text
    }

    /// The text of the moment that is so many hours later: of it only the date and the hour are another.
    #[inline]
    pub(super) fn later(&self, hours: i64) -> [u8; LEN] {
        let (mut text, hours) = (self.text, self.hours.saturating_add_signed(hours));
        let day = hours / 24;
        let [tens, ones] = [text[8], text[9]].map(|digit| u64::from(digit - b'0'));
        match (tens * 10 + ones + day).checked_sub(self.hours / 24) {
            // In the same month, for all have that many days.
            Some(of_month @ 1..=28) => text[8..10].copy_from_slice(&digits::two(of_month)),
            _ => text[..10].copy_from_slice(&digits::date(day)),
        }
        text[11..13].copy_from_slice(&digits::two(hours % 24));
        text
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written().as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.written().as_str())
    }
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    use super::*;

    fn stamp(text: &str) -> String {
        Timestamp::from(text.parse::<DateTime<Utc>>().unwrap()).to_string()
    }

    #[test]
    fn a_time_has_microseconds_and_an_offset() {
        assert_eq!(stamp("2026-11-20T23:56:35.179053Z"), "2026-11-20T23:56:35.179053+00:00");
    }

    #[test]
    fn a_whole_second_keeps_its_microseconds() {
        assert_eq!(stamp("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000+00:00");
    }

    #[test]
    fn finer_than_a_microsecond_is_cut_not_rounded() {
        assert_eq!(stamp("2026-01-02T03:04:05.999999999Z"), "2026-01-02T03:04:05.999999+00:00");
    }

    #[test]
    fn json_is_the_same_text() {
        let time = Timestamp::from("2026-11-20T23:56:35.179053Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(serde_json::to_string(&time).unwrap(), format!("\"{time}\""));
    }

    proptest! {
        #[test]
        fn any_moment_reads_as_chrono_writes_it(seconds in 0_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
            let time = DateTime::from_timestamp(seconds, nanos).unwrap();
            let theirs = time.to_rfc3339_opts(SecondsFormat::Micros, false);
            prop_assert_eq!(Timestamp::from(time).to_string(), theirs);
        }

        #[test]
        fn hours_later_is_what_is_written_then(seconds in 1_000_000_i64..4_000_000_000, hours in -200_i64..1_000) {
            let time = Timestamp::from(DateTime::from_timestamp(seconds, 42_000).unwrap());
            let then = time.offset(TimeDelta::hours(hours));
            prop_assert_eq!(time.written().later(hours), *then.written().bytes());
        }
    }
}
