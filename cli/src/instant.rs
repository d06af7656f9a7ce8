//! Points in time as operators read and write them.

use std::time::{Duration, SystemTime};

use crate::exit::Exit;
use crate::failure::Failure;

/// Now, after `life`, in RFC 3339.
pub(crate) fn after(now: SystemTime, life: Duration) -> Option<String> {
    let then = now.checked_add(life)?;
    Some(humantime::format_rfc3339_seconds(then).to_string())
}

/// The instant that `text` names: RFC 3339 in UTC, or a time from now such as `30d`.
pub(crate) fn parse_when(text: &str, now: SystemTime) -> Result<String, Failure> {
    let wrong = || {
        Failure::new(Exit::Usage, format!("read time {text}: not understood"))
            .hint("write 2027-01-31T12:00:00Z, or a time from now such as 30d or 12h")
    };
    if let Ok(life) = humantime::parse_duration(text) {
        return after(now, life).ok_or_else(wrong);
    }
    humantime::parse_rfc3339(text)
        .map(|when| humantime::format_rfc3339_seconds(when).to_string())
        .map_err(|_| wrong())
}

/// The instant since when something is asked for: RFC 3339 in UTC, or so long ago, such as `24h`.
pub(crate) fn parse_since(text: &str, now: SystemTime) -> Result<String, Failure> {
    let wrong = || {
        Failure::new(Exit::Usage, format!("read time {text}: not understood"))
            .hint("write 2027-01-31T12:00:00Z, or how long ago, such as 24h or 30d")
    };
    let when = match humantime::parse_duration(text) {
        Ok(ago) => now
            .checked_sub(ago)
            .filter(|when| *when >= SystemTime::UNIX_EPOCH),
        Err(_) => humantime::parse_rfc3339(text).ok(),
    };
    let when = when.ok_or_else(wrong)?;
    Ok(humantime::format_rfc3339_micros(when).to_string())
}

/// How long before `now` the instant `text` was, in one unit; `text` itself where it is not a time.
pub(crate) fn ago(text: &str, now: SystemTime) -> String {
    let Ok(then) = humantime::parse_rfc3339(text) else {
        return text.to_owned();
    };
    // A clock that is a little behind the server's makes it the future.
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// The instant `text` for a person: to the second, in UTC, and how long ago it was; `text` itself where it is not a time.
pub(crate) fn shown(text: &str) -> String {
    shown_at(text, SystemTime::now())
}

fn shown_at(text: &str, now: SystemTime) -> String {
    let Ok(then) = humantime::parse_rfc3339(text) else {
        return text.to_owned();
    };
    let whole = humantime::format_rfc3339_seconds(then);
    match then.duration_since(now).map(|left| left.as_secs()) {
        Ok(1..) => format!("{whole} ({})", ahead(then, now)),
        _ => format!("{whole} ({})", ago(text, now)),
    }
}

/// How long after `now` the instant `then` comes, in one unit.
fn ahead(then: SystemTime, now: SystemTime) -> String {
    let seconds = then.duration_since(now).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("in {seconds} s"),
        60..3600 => format!("in {} min", seconds / 60),
        3600..86_400 => format!("in {} h", seconds / 3600),
        _ => format!("in {} d", seconds / 86_400),
    }
}

/// When the time that ends at `text` is over, in one unit, from `now`: `in 29 d`, `2 h ago`.
pub(crate) fn until(text: &str, now: SystemTime) -> String {
    match humantime::parse_rfc3339(text) {
        Ok(then) if then > now => ahead(then, now),
        _ => ago(text, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> SystemTime {
        humantime::parse_rfc3339("2026-11-22T12:00:00Z").unwrap()
    }

    #[test]
    fn when_is_a_time_or_a_life() {
        assert_eq!(parse_when("30d", noon()).unwrap(), "2026-12-22T12:00:00Z");
        assert_eq!(
            parse_when("2027-01-31T12:00:00Z", noon()).unwrap(),
            "2027-01-31T12:00:00Z"
        );
        for bad in ["", "tomorrow", "2027-01-31", "99999999999999y"] {
            assert_eq!(
                parse_when(bad, noon()).unwrap_err().exit(),
                Exit::Usage,
                "{bad}"
            );
        }
    }

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        for (text, expected) in [
            ("24h", "2026-11-21T12:00:00.000000Z"),
            ("2026-11-22T11:30:00.5Z", "2026-11-22T11:30:00.500000Z"),
        ] {
            assert_eq!(parse_since(text, noon()).unwrap(), expected);
        }
        for bad in ["", "yesterday", "100y", "-1h"] {
            let refused = parse_since(bad, noon()).unwrap_err();
            assert_eq!(refused.exit(), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_person_reads_when_and_how_far() {
        for (text, expected) in [
            (
                "2026-11-22T11:59:58.123456Z",
                "2026-11-22T11:59:58Z (1 s ago)",
            ),
            ("2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z (in 2 d)"),
            ("soon", "soon"),
        ] {
            assert_eq!(shown_at(text, noon()), expected);
        }
        assert_eq!(until("2026-11-22T13:30:00Z", noon()), "in 1 h");
        assert_eq!(until("2026-11-21T12:00:00Z", noon()), "1 d ago");
    }

    #[test]
    fn ago_uses_one_unit() {
        for (text, expected) in [
            ("2026-11-22T11:59:58Z", "2 s ago"),
            ("2026-11-22T12:00:05.123Z", "0 s ago"),
            ("2026-11-22T11:30:00Z", "30 min ago"),
            ("2026-11-22T01:00:00Z", "11 h ago"),
            ("2026-11-01T12:00:00Z", "21 d ago"),
            ("soon", "soon"),
        ] {
            assert_eq!(ago(text, noon()), expected);
        }
    }
}
