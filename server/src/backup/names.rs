//! `<name>_YYYYmmdd_HHMMSS.db`, in UTC; `.dump` for PostgreSQL.

use std::str::FromStr;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::registry::model::Timestamp;
use crate::registry::snapshot::Kind;

/// Longest retention: a hundred years.
pub const MAX_RETENTION_DAYS: u32 = 36_500;
/// Longest name, in bytes: with all that is added, a file name stays under 255.
const NAME_MAX: usize = 64;
const STAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]_[hour][minute][second]");

/// What the names of snapshots begin with: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName(String);

impl FromStr for SnapshotName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = (1..=NAME_MAX).contains(&text.len())
            && text.chars().all(plain)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            "a name is 1 to 64 of A-Z a-z 0-9 . _ -, and begins with a letter or digit".to_owned()
        })
    }
}

impl SnapshotName {
    /// File name of the snapshot taken at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp, kind: Kind) -> String {
        format!("{}_{}.{}", self.0, stamp(now), kind.extension())
    }

    /// When the snapshot called `file` was taken; `None` when it is no snapshot of this name.
    #[must_use]
    pub fn taken_at(&self, file: &str) -> Option<OffsetDateTime> {
        let rest = file.strip_prefix(&self.0)?.strip_prefix('_')?;
        let (stamp, extension) = rest.split_once('.')?;
        let known = [Kind::Sqlite, Kind::Postgres].map(Kind::extension);
        if stamp.len() != "YYYYmmdd_HHMMSS".len() || !known.contains(&extension) {
            return None;
        }
        let taken = PrimitiveDateTime::parse(stamp, STAMP).ok()?;
        Some(taken.assume_utc())
    }
}

/// `YYYYmmdd_HHMMSS`.
#[must_use]
pub fn stamp(now: Timestamp) -> String {
    date_time(now).format(STAMP).unwrap_or_default()
}

/// Whether a snapshot `taken` then is older than `days`.
#[must_use]
pub fn is_expired(taken: OffsetDateTime, days: u32, now: Timestamp) -> bool {
    date_time(now) - taken > Duration::days(days.into())
}

fn date_time(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    #[test]
    fn only_snapshots_of_exactly_the_name_are_recognised() {
        let name: SnapshotName = "moorline".parse().unwrap();
        let now = at("2026-11-22T03:04:05.9Z");
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let file = name.at(now, kind);
            assert_eq!(
                name.taken_at(&file).unwrap().unix_timestamp(),
                now.unix_seconds()
            );
        }
        assert_eq!(name.at(now, Kind::Sqlite), "moorline_20261122_030405.db");
        for other in [
            "moorline_eu_20261122_030405.db",
            "moorline_20261122_030405.db.old",
            "moorline_20261122_030405.db-wal",
            "moorline_20261122_030405.sql",
            "moorline_20261122_030405",
            "moorline_20261322_030405.db",
            "moorline_20261122_250405.db",
            "moorline_2026112_030405.db",
            "moorline_+261122_030405.db",
            "moorline-20261122_030405.db",
            "xmoorline_20261122_030405.db",
            "Moorline_20261122_030405.db",
            ".moorline_20261122_030405.db.0.tmp",
            "moorline.db",
            "",
        ] {
            assert_eq!(name.taken_at(other), None, "{other}");
        }
    }

    #[test]
    fn a_snapshot_expires_after_so_many_whole_days() {
        let name: SnapshotName = "m".parse().unwrap();
        let taken = name.taken_at("m_20261115_120000.db").unwrap();
        assert!(!is_expired(taken, 7, at("2026-11-22T12:00:00Z")));
        assert!(is_expired(taken, 7, at("2026-11-22T12:00:01Z")));
        assert!(!is_expired(taken, 7, at("2020-01-01T00:00:00Z")));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for text in [
            "",
            "a/b",
            "..",
            ".hidden",
            "-x",
            "a b",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(text.parse::<SnapshotName>().is_err(), "{text}");
        }
        assert!("prod-eu_1.main".parse::<SnapshotName>().is_ok());
    }
}
