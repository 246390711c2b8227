//! Numbers, as the specification has them: whole, and up to 2³¹ − 1.

use std::time::Duration;

use crate::config::parse::Parsed;
use crate::config::shown::Shown;

const LARGEST: u32 = i32::MAX.unsigned_abs();

/// A duration that is written as a number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Millis(pub(super) Duration);

impl Millis {
    pub(super) const TEN_SECONDS: Self = Self(Duration::from_secs(10));
}

impl Shown for Millis {
    fn shown(&self) -> String {
        self.0.as_millis().to_string()
    }
}

/// A limit, which may be zero.
pub(super) fn limit(text: &str) -> Parsed<usize> {
    number(text, 0).map(|number| number as usize).ok_or("a number from 0 to 2147483647".into())
}

/// A size: there is nothing that holds nothing.
pub(super) fn size(text: &str) -> Parsed<usize> {
    number(text, 1).map(|number| number as usize).ok_or("a number from 1 to 2147483647".into())
}

/// The time between two of something; none would have it happen all the time.
pub(super) fn interval(text: &str) -> Parsed<Millis> {
    number(text, 1).map(millis).ok_or("a number of milliseconds from 1 to 2147483647".into())
}

/// The time that something may take; zero stands for no limit, that is, for the longest there is.
pub(super) fn timeout(text: &str) -> Parsed<Millis> {
    let number = number(text, 0).ok_or("a number of milliseconds from 0 (no limit) to 2147483647")?;
    Ok(millis(if number == 0 { LARGEST } else { number }))
}

fn millis(number: u32) -> Millis {
    Millis(Duration::from_millis(number.into()))
}

fn number(text: &str, least: u32) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (least..=LARGEST).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_not_negative() {
        for (text, number) in [
            ("0", Some(0)),
            ("128", Some(128)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("10s", None),
            ("", None),
        ] {
            assert_eq!(limit(text).ok(), number, "{text}");
        }
        assert!(size("0").is_err() && interval("0").is_err());
    }

    #[test]
    fn a_timeout_of_zero_is_no_limit() {
        assert_eq!(timeout("0").unwrap().0.as_millis(), 2_147_483_647);
        assert_eq!(timeout("250").unwrap().0.as_millis(), 250);
    }
}
