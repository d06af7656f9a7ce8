//! The clock floor: devices without a battery wake in 1970, and no certificate is valid then.
//!
//! *Invariant:* the system clock is read, never set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in seconds since 1970.
pub type UnixSeconds = u64;

/// When this program was built; no honest clock shows less.
#[must_use]
pub fn build_time() -> UnixSeconds {
    env!("MOORLINE_BUILD_TIME").parse().unwrap_or(0)
}

/// What the system clock shows.
#[must_use]
pub fn system_time() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// The earliest time that it can be now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFloor(UnixSeconds);

/// How far the system clock can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It shows a time that is possible.
    Plausible(UnixSeconds),
    /// It is behind the floor: the time is that of the floor or later, more is not known.
    Behind {
        /// What it shows.
        shows: UnixSeconds,
        /// The floor.
        floor: UnixSeconds,
    },
}

impl ClockFloor {
    /// The floor of a device that last heard a trusted time at `last_seen`.
    #[must_use]
    pub fn new(build_time: UnixSeconds, last_seen: Option<UnixSeconds>) -> Self {
        Self(build_time.max(last_seen.unwrap_or(0)))
    }

    /// The floor in seconds.
    #[must_use]
    pub const fn seconds(self) -> UnixSeconds {
        self.0
    }

    /// Judges what the system clock shows.
    #[must_use]
    pub const fn judge(self, shows: UnixSeconds) -> Clock {
        // A day of slack: a build machine may be ahead of a device by a time zone mistake.
        if shows.saturating_add(DAY) >= self.0 {
            Clock::Plausible(shows)
        } else {
            Clock::Behind {
                shows,
                floor: self.0,
            }
        }
    }
}

const DAY: UnixSeconds = 86_400;

/// Reads the `Date` of an HTTP answer (RFC 9110 section 5.6.7, the preferred form only).
#[must_use]
pub fn parse_http_date(text: &str) -> Option<UnixSeconds> {
    let (_, rest) = text.split_once(", ")?;
    let mut fields = rest.split([' ', ':']);
    let mut number = || fields.next()?.parse::<u64>().ok();
    let day = number()?;
    let month_name = fields.next()?;
    let month = MONTHS.iter().position(|name| *name == month_name)? as u64 + 1;
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let in_range = (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    in_range.then(|| days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Days since 1970-01-01 of a date of the Gregorian calendar; the year begins in March, so that the leap day is last.
const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_later_of_build_and_last_seen() {
        assert_eq!(ClockFloor::new(100, None).seconds(), 100);
        assert_eq!(ClockFloor::new(100, Some(50)).seconds(), 100);
        assert_eq!(ClockFloor::new(100, Some(500)).seconds(), 500);
    }

    #[test]
    fn a_clock_at_1970_is_behind_and_a_running_one_is_not() {
        let floor = ClockFloor::new(1_790_000_000, None);
        assert_eq!(
            floor.judge(86_400),
            Clock::Behind {
                shows: 86_400,
                floor: 1_790_000_000
            }
        );
        assert_eq!(floor.judge(1_790_000_000), Clock::Plausible(1_790_000_000));
        assert_eq!(
            floor.judge(1_790_000_000 - 3600),
            Clock::Plausible(1_790_000_000 - 3600)
        );
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            parse_http_date("Thu, 29 Feb 2024 12:00:00 GMT"),
            Some(1_709_208_000)
        );
        for text in [
            "",
            "yesterday",
            "Thu, 99 Jan 1970 00:00:00 GMT",
            "Thu, 01 Foo 1970 00:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
