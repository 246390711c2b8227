//! How long a crud lives.

use std::str::FromStr;

use chrono::TimeDelta;

/// How long a crud lives: one of the choices that the frontend offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// `30-days`
    ThirtyDays,
    /// `7-days`
    SevenDays,
    /// `3-days`
    ThreeDays,
    /// `1-day`
    OneDay,
    /// `12-hours`
    TwelveHours,
    /// `3-hours`
    ThreeHours,
    /// `1-hour`
    OneHour,
}

/// A time to live that the frontend does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of the offered times to live")]
pub struct UnknownTtl;

impl Ttl {
    /// Every choice, longest first, as the frontend lists them.
    pub const ALL: [Self; 7] = [
        Self::ThirtyDays,
        Self::SevenDays,
        Self::ThreeDays,
        Self::OneDay,
        Self::TwelveHours,
        Self::ThreeHours,
        Self::OneHour,
    ];

    /// The name the frontend sends.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThirtyDays => "30-days",
            Self::SevenDays => "7-days",
            Self::ThreeDays => "3-days",
            Self::OneDay => "1-day",
            Self::TwelveHours => "12-hours",
            Self::ThreeHours => "3-hours",
            Self::OneHour => "1-hour",
        }
    }

    /// From creation to expiry.
    #[must_use]
    pub const fn lifetime(self) -> TimeDelta {
        match self {
            Self::ThirtyDays => TimeDelta::days(30),
            Self::SevenDays => TimeDelta::days(7),
            Self::ThreeDays => TimeDelta::days(3),
            Self::OneDay => TimeDelta::days(1),
            Self::TwelveHours => TimeDelta::hours(12),
            Self::ThreeHours => TimeDelta::hours(3),
            Self::OneHour => TimeDelta::hours(1),
        }
    }
}

impl FromStr for Ttl {
    type Err = UnknownTtl;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|ttl| ttl.name() == name).ok_or(UnknownTtl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_back_from_its_name() {
        for ttl in Ttl::ALL {
            assert_eq!(ttl.name().parse(), Ok(ttl));
        }
    }

    #[test]
    fn names_say_how_long() {
        for ttl in Ttl::ALL {
            let (number, unit) = ttl.name().split_once('-').unwrap();
            let unit = if unit.starts_with("day") { TimeDelta::days(1) } else { TimeDelta::hours(1) };
            assert_eq!(ttl.lifetime(), unit * number.parse().unwrap(), "{}", ttl.name());
        }
    }

    #[test]
    fn near_misses_are_unknown() {
        for name in ["", "1-days", "1-Day", "2-days", " 1-day", "1"] {
            assert_eq!(name.parse::<Ttl>(), Err(UnknownTtl), "{name:?}");
        }
    }
}
