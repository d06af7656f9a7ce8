//! When to ask for a sign of life, and when to give a tunnel up. Pure: time comes in as an argument.
//!
//! An echo costs about 300 bytes on the wire in both directions, headers and acknowledgements included. A tunnel
//! that is young, in use or was lost lately is watched closely; one that stays quiet and healthy is asked less and
//! less often, down to what the data budget allows.

use std::time::Duration;

use crate::config::Profile;

/// The limits of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Silence after which a watched tunnel is asked.
    pub close: Duration,
    /// Silence after which a quiet tunnel is asked.
    pub relaxed: Duration,
    /// Time an answer may take.
    pub answer: Duration,
    /// Time an answer may take when the network has just changed.
    pub suspicious: Duration,
}

impl Pace {
    /// The limits of `profile`.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        match profile {
            // Watched: noticed dead within 15 + 12 s. Quiet: 1,152 echoes a day, 0.35 MB.
            Profile::Default => Self {
                close: Duration::from_secs(15),
                relaxed: Duration::from_secs(75),
                answer: Duration::from_secs(12),
                suspicious: Duration::from_secs(5),
            },
            // Quiet: 72 echoes a day, 0.65 MB a month; the rest is for reconnects and for tunnels in use.
            Profile::Lte => Self {
                close: Duration::from_secs(60),
                relaxed: Duration::from_secs(1200),
                answer: Duration::from_secs(25),
                suspicious: Duration::from_secs(12),
            },
        }
    }
}

/// Echoes at the close pace before a healthy tunnel is asked less often.
const CLOSE_ECHOES: u32 = 4;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before that time.
    At(Duration),
    /// Ask for a sign of life now.
    Ask,
    /// No sign of life for too long: the tunnel is dead.
    Dead,
}

/// The watch over one tunnel; times are since it came up.
#[derive(Debug)]
pub struct Keepalive {
    pace: Pace,
    interval: Duration,
    healthy_echoes: u32,
    last_heard: Duration,
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Duration,
    answer_within: Duration,
}

impl Keepalive {
    /// A tunnel that came up now.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self {
            pace,
            interval: pace.close,
            healthy_echoes: 0,
            last_heard: Duration::ZERO,
            asked: None,
        }
    }

    /// Bytes came in at that time: the link worked then.
    pub fn heard(&mut self, at: Duration) {
        self.last_heard = self.last_heard.max(at);
        if self.asked.is_some_and(|asked| at >= asked.at) {
            self.asked = None;
        }
    }

    /// Bytes came in while nobody uses the tunnel: an answer, if one is waited for.
    pub fn heard_while_quiet(&mut self, at: Duration) {
        match self.asked {
            Some(asked) if at < asked.at => {}
            Some(_) => self.answered(at),
            None => self.last_heard = self.last_heard.max(at),
        }
    }

    /// The echo that was asked for came back and nothing else happened: the link is quiet and healthy.
    pub fn answered(&mut self, at: Duration) {
        self.heard(at);
        self.healthy_echoes = self.healthy_echoes.saturating_add(1);
        if self.healthy_echoes >= CLOSE_ECHOES {
            self.interval = (self.interval * 3 / 2).min(self.pace.relaxed);
        }
    }

    /// Someone uses the tunnel: watch it closely.
    pub const fn used(&mut self) {
        self.interval = self.pace.close;
        self.healthy_echoes = 0;
    }

    /// The network changed: the link is to be asked now and has a short time to answer.
    pub fn suspect(&mut self, now: Duration) {
        self.used();
        let earlier = self.asked.map(|asked| asked.at + asked.answer_within);
        let until = now + self.pace.suspicious;
        self.asked = Some(Asked {
            at: now,
            answer_within: earlier.unwrap_or(until).min(until).saturating_sub(now),
        });
    }

    /// An echo was sent.
    pub const fn asked(&mut self, now: Duration) {
        if self.asked.is_none() {
            self.asked = Some(Asked {
                at: now,
                answer_within: self.pace.answer,
            });
        }
    }

    /// What is due now.
    #[must_use]
    pub fn due(&self, now: Duration) -> Due {
        let (at, then) = match self.asked {
            Some(asked) => (asked.at + asked.answer_within, Due::Dead),
            None => (self.last_heard + self.interval, Due::Ask),
        };
        if now >= at { then } else { Due::At(at) }
    }

    /// Longest silence that this watch lets pass, in whole seconds; told to the server.
    #[must_use]
    pub fn longest_silence_secs(pace: Pace) -> u32 {
        u32::try_from(pace.relaxed.as_secs()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds.
    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Runs a quiet, healthy tunnel for `length` and gives the times of its echoes.
    fn echoes(profile: Profile, length: Duration) -> Vec<Duration> {
        let mut keepalive = Keepalive::new(Pace::of(profile));
        let mut now = Duration::ZERO;
        let mut times = Vec::new();
        while now < length {
            match keepalive.due(now) {
                Due::At(at) => now = at,
                Due::Ask => {
                    times.push(now);
                    keepalive.asked(now);
                    now += Duration::from_millis(50);
                    keepalive.answered(now);
                }
                Due::Dead => panic!("dead at {now:?}"),
            }
        }
        times
    }

    #[test]
    fn a_dead_link_is_noticed_within_thirty_seconds_while_watched() {
        let mut keepalive = Keepalive::new(Pace::of(Profile::Default));
        keepalive.heard(s(100));
        assert_eq!(keepalive.due(s(100)), Due::At(s(115)));
        assert_eq!(keepalive.due(s(115)), Due::Ask);
        keepalive.asked(s(115));
        assert_eq!(keepalive.due(s(115)), Due::At(s(127)));
        assert_eq!(keepalive.due(s(127)), Due::Dead);
    }

    #[test]
    fn a_quiet_tunnel_relaxes_and_use_tightens_it_again() {
        let times = echoes(Profile::Default, s(3600));
        assert_eq!(times[1] - times[0], s(15) + Duration::from_millis(50));
        let last = times.len() - 1;
        assert_eq!(
            times[last] - times[last - 1],
            s(75) + Duration::from_millis(50)
        );

        let mut keepalive = Keepalive::new(Pace::of(Profile::Default));
        for second in 0..20 {
            keepalive.answered(s(second));
        }
        assert_eq!(keepalive.due(s(20)), Due::At(s(19 + 75)));
        keepalive.used();
        assert_eq!(keepalive.due(s(20)), Due::At(s(19 + 15)));
    }

    #[test]
    fn the_echoes_of_an_idle_tunnel_fit_the_data_budget() {
        let bytes_each = 300;
        let day = echoes(Profile::Default, s(86_400)).len() * bytes_each;
        assert!(day <= 350_000 + 10 * bytes_each, "{day} bytes a day");
        let month = echoes(Profile::Lte, s(30 * 86_400)).len() * bytes_each;
        assert!(month <= 800_000, "{month} bytes a month");
    }

    #[test]
    fn a_change_of_the_network_asks_at_once_and_waits_shortly() {
        let mut keepalive = Keepalive::new(Pace::of(Profile::Default));
        keepalive.suspect(s(3));
        assert_eq!(keepalive.due(s(7)), Due::At(s(8)));
        // A second change does not put the verdict off.
        keepalive.suspect(s(6));
        assert_eq!(keepalive.due(s(8)), Due::Dead);
        keepalive.answered(s(7));
        assert_eq!(keepalive.due(s(8)), Due::At(s(22)));
    }
}
