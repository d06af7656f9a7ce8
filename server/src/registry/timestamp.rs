//! Moments in time as the database keeps them and as the surfaces write them.

use std::time::{Duration, SystemTime};

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, Time};

use super::model::Timestamp;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i128 = 1_000;
const OPENPORT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
const OPENPORT_MICROS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+00:00");

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time such as 2027-01-31T12:00:00Z")]
pub struct InvalidTime(String);

impl Timestamp {
    /// The present. Clocks before 1970 count as 1970.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// `2026-11-22T03:24:17.512Z`; the fraction is left out when it is 0.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.date_time().format(&Rfc3339).unwrap_or_default()
    }

    /// `2026-11-22T03:24:17Z` (provisioning contract section 2).
    #[must_use]
    pub fn to_provisioning(self) -> String {
        Self(self.0 - self.0.rem_euclid(MICROS_PER_SECOND)).to_rfc3339()
    }

    /// `2026-11-22T03:24:17.512Z`, always with three digits (API client contract section 2).
    #[must_use]
    pub fn to_millis(self) -> String {
        let at = self.date_time();
        let (date, time) = (at.date(), at.time());
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }

    /// `2026-11-22T03:24:17+00:00` (openport contract section 2).
    #[must_use]
    pub fn to_openport(self) -> String {
        self.date_time().format(OPENPORT).unwrap_or_default()
    }

    /// `2026-11-01T00:00:00.000000+00:00` (openport contract section 2).
    #[must_use]
    pub fn to_openport_micros(self) -> String {
        self.date_time().format(OPENPORT_MICROS).unwrap_or_default()
    }

    /// The first of this month, 00:00 UTC.
    #[must_use]
    pub fn month_start(self) -> Self {
        let first = self.date_time().replace_time(Time::MIDNIGHT);
        let first = first.replace_day(1).unwrap_or(first);
        Self(first.unix_timestamp().saturating_mul(MICROS_PER_SECOND))
    }

    /// Reads an RFC 3339 time of any offset.
    ///
    /// # Errors
    /// [`InvalidTime`] when `text` is none.
    pub fn from_rfc3339(text: &str) -> Result<Self, InvalidTime> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTime(text.into()))?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(NANOS_PER_MICRO))
            .map(Self)
            .map_err(|_| InvalidTime(text.into()))
    }

    /// This moment and `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * NANOS_PER_MICRO)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let at = Timestamp(1_795_317_857_512_000);
        assert_eq!(at.to_provisioning().len(), "2026-11-22T03:24:17Z".len());
        assert_eq!(Timestamp::from_rfc3339(&at.to_rfc3339()), Ok(at));
        assert_eq!(
            Timestamp::from_rfc3339("2026-11-22T04:24:17.5+01:00")
                .unwrap()
                .to_rfc3339(),
            "2026-11-22T03:24:17.5Z"
        );
        assert!(Timestamp::from_rfc3339("tomorrow").is_err());
    }

    #[test]
    fn milliseconds_always_have_three_digits() {
        for (text, shown) in [
            ("2026-11-22T03:24:17Z", "2026-11-22T03:24:17.000Z"),
            ("2026-01-02T03:04:05.0129Z", "2026-01-02T03:04:05.012Z"),
        ] {
            assert_eq!(Timestamp::from_rfc3339(text).unwrap().to_millis(), shown);
        }
    }

    #[test]
    fn openport_times_have_a_numeric_offset() {
        let at = Timestamp::from_rfc3339("2026-11-22T03:24:17.05Z").unwrap();
        assert_eq!(at.to_openport(), "2026-11-22T03:24:17+00:00");
        assert_eq!(at.to_openport_micros(), "2026-11-22T03:24:17.050000+00:00");
    }

    #[test]
    fn a_month_begins_on_its_first_at_midnight() {
        for (at, start) in [
            ("2026-11-22T03:24:17.5Z", "2026-11-01T00:00:00Z"),
            ("2024-02-29T23:59:59.999999Z", "2024-02-01T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z"),
        ] {
            let at = Timestamp::from_rfc3339(at).unwrap();
            assert_eq!(at.month_start().to_rfc3339(), start);
        }
    }

    #[test]
    fn provisioning_times_have_no_fraction() {
        let at = Timestamp::from_rfc3339("2026-11-22T03:24:17.999999Z").unwrap();
        assert_eq!(at.to_provisioning(), "2026-11-22T03:24:17Z");
    }
}
