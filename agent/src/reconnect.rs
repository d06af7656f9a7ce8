//! How long to wait before the next attempt. Pure: no clock, no socket, no randomness.

use std::time::Duration;

/// Shortest wait after a loss.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait after a loss.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Losses in a row that are answered quickly: a server that restarts is back in seconds, and so is a link.
const QUICK_LOSSES: u32 = 4;
/// Longest wait after one of them.
const QUICK_WAIT: Duration = Duration::from_millis(1500);
/// Wait after a refusal: an operator must act, so knock rarely.
pub const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Longest wait that a server may ask for; a mistake there must not silence a device for days.
pub const LONGEST_TOLD: Duration = Duration::from_secs(3600);
/// A tunnel that lived this long was a good one: the waits start again at the shortest.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// Losses in a row after which the API is asked where the node is; then again each time the number has doubled,
/// at the latest after [`ASK_AT_LEAST_EVERY`] more.
const ASK_AFTER_LOSSES: u32 = 3;
/// Refusals in a row after which the API is asked: it knows whether the node moved or the device is blocked.
const ASK_AFTER_REFUSALS: u32 = 1;
/// Attempts between two questions at most; at the longest wait that is ten minutes.
const ASK_AT_LEAST_EVERY: u32 = 20;

/// Why an attempt or a tunnel ended, as far as the next attempt cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The network or the server failed; it will heal.
    Lost {
        /// How long the tunnel was up.
        lived: Duration,
    },
    /// A newer tunnel with the same key took over.
    Displaced,
    /// The other end said no.
    Rejected,
    /// The server said when to come back.
    Told {
        /// From now.
        come_back_in: Duration,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Wait that long; a wake-up ends it unless the server asked for it.
    pub wait: Duration,
    /// Whether a wake-up (link up, new address, wake from sleep) ends the wait.
    pub wakes: Wakes,
    /// Whether to ask the API where the node is before the next attempt.
    pub ask: AskApi,
}

/// Whether a wake-up ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// The network changed, so the next attempt may well do better.
    Yes,
    /// The server asked for this wait.
    No,
}

/// Whether the node may have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskApi {
    /// Failed often enough to ask.
    Yes,
    /// Not yet.
    No,
}

/// The state between attempts.
#[derive(Debug, Default)]
pub struct Reconnect {
    last_wait: Option<Duration>,
    /// Waits since the last good tunnel or wake-up.
    waits: u32,
    just_woken: bool,
    losses: u32,
    refusals: u32,
    asked_at: u32,
}

impl Reconnect {
    /// The only place that decides a delay. `dice` is a random number; it spreads the attempts of a fleet.
    pub fn after(&mut self, ended: &Ended, dice: u32) -> Next {
        let mut wakes = Wakes::Yes;
        let wait = match ended {
            Ended::Lost { lived } => {
                if *lived >= STABLE_AFTER {
                    self.start_again();
                }
                if lived.is_zero() {
                    self.losses = self.losses.saturating_add(1);
                } else {
                    self.came_up();
                }
                self.jittered(dice)
            }
            Ended::Displaced => spread(REFUSED_WAIT / 2, REFUSED_WAIT, dice),
            Ended::Rejected => {
                self.refusals = self.refusals.saturating_add(1);
                spread(REFUSED_WAIT, REFUSED_WAIT + REFUSED_WAIT / 4, dice)
            }
            Ended::Told { come_back_in } => {
                self.start_again();
                wakes = Wakes::No;
                (*come_back_in).min(LONGEST_TOLD)
            }
        };
        Next {
            wait,
            wakes,
            ask: self.ask(ended),
        }
    }

    /// Notes that a tunnel is up: what failed before counts no more.
    pub fn came_up(&mut self) {
        self.losses = 0;
        self.refusals = 0;
        self.asked_at = 0;
    }

    /// Notes a wake-up: the waits start again at the shortest. A route often follows its link by a moment, so the
    /// next wait is nearly that.
    pub fn woken(&mut self) {
        self.start_again();
        self.just_woken = true;
    }

    fn start_again(&mut self) {
        self.last_wait = None;
        self.waits = 0;
    }

    /// Decorrelated jitter: between the shortest wait and three times the last one, capped.
    fn jittered(&mut self, dice: u32) -> Duration {
        let last = self.last_wait.unwrap_or(SHORTEST_WAIT);
        let longest = if std::mem::take(&mut self.just_woken) {
            SHORTEST_WAIT * 5 / 4
        } else {
            let cap = if self.waits < QUICK_LOSSES {
                QUICK_WAIT
            } else {
                LONGEST_WAIT
            };
            (last * 3).min(cap)
        };
        let wait = spread(SHORTEST_WAIT, longest, dice);
        self.last_wait = Some(wait);
        self.waits = self.waits.saturating_add(1);
        wait
    }

    fn ask(&mut self, ended: &Ended) -> AskApi {
        let (count, first) = match ended {
            Ended::Rejected => (self.refusals, ASK_AFTER_REFUSALS),
            Ended::Lost { .. } => (self.losses, ASK_AFTER_LOSSES),
            Ended::Displaced | Ended::Told { .. } => return AskApi::No,
        };
        let due = first
            .max(self.asked_at.saturating_mul(2))
            .min(self.asked_at.saturating_add(ASK_AT_LEAST_EVERY));
        if count >= due {
            self.asked_at = count;
            AskApi::Yes
        } else {
            AskApi::No
        }
    }
}

/// A point between `from` and `to`, chosen by `dice`.
fn spread(from: Duration, to: Duration, dice: u32) -> Duration {
    let width = to.saturating_sub(from);
    from + width.mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_UP: Ended = Ended::Lost {
        lived: Duration::ZERO,
    };

    #[test]
    fn waits_after_losses_grow_between_their_bounds() {
        let mut reconnect = Reconnect::default();
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let next = reconnect.after(&NEVER_UP, u32::MAX);
            assert!(next.wait >= SHORTEST_WAIT && next.wait <= LONGEST_WAIT);
            assert_eq!(next.wakes, Wakes::Yes);
            longest = longest.max(next.wait);
        }
        assert_eq!(longest, LONGEST_WAIT);
        let mut lucky = Reconnect::default();
        assert_eq!(lucky.after(&NEVER_UP, 0).wait, SHORTEST_WAIT);
        assert_eq!(lucky.after(&NEVER_UP, 0).wait, SHORTEST_WAIT);
    }

    #[test]
    fn a_long_life_or_a_wake_up_starts_the_waits_again() {
        let mut reconnect = Reconnect::default();
        for _ in 0..10 {
            reconnect.after(&NEVER_UP, u32::MAX);
        }
        let lived = Duration::from_secs(3600);
        let next = reconnect.after(&Ended::Lost { lived }, u32::MAX);
        assert_eq!(next.wait, SHORTEST_WAIT * 3);
        for _ in 0..10 {
            reconnect.after(&NEVER_UP, u32::MAX);
        }
        reconnect.woken();
        let next = reconnect.after(&NEVER_UP, u32::MAX);
        assert_eq!(next.wait, SHORTEST_WAIT * 5 / 4);
        // A few quick ones, then longer again.
        for _ in 1..QUICK_LOSSES {
            let next = reconnect.after(&NEVER_UP, u32::MAX);
            assert_eq!(next.wait, QUICK_WAIT);
        }
        let next = reconnect.after(&NEVER_UP, u32::MAX);
        assert!(next.wait > QUICK_WAIT);
    }

    #[test]
    fn a_tunnel_that_dies_young_each_time_still_waits_longer() {
        let mut reconnect = Reconnect::default();
        let young = Ended::Lost {
            lived: Duration::from_secs(1),
        };
        for _ in 0..QUICK_LOSSES {
            assert_eq!(reconnect.after(&young, u32::MAX).wait, QUICK_WAIT);
        }
        let first = reconnect.after(&young, u32::MAX).wait;
        let second = reconnect.after(&young, u32::MAX).wait;
        assert!(first > QUICK_WAIT && second > first);
    }

    #[test]
    fn a_refusal_waits_a_minute_and_an_order_is_obeyed_up_to_an_hour() {
        let mut reconnect = Reconnect::default();
        assert_eq!(reconnect.after(&Ended::Rejected, 0).wait, REFUSED_WAIT);
        assert_eq!(reconnect.after(&Ended::Rejected, 0).wait, REFUSED_WAIT);
        let told = |secs| Ended::Told {
            come_back_in: Duration::from_secs(secs),
        };
        let next = reconnect.after(&told(7), u32::MAX);
        assert_eq!((next.wait, next.wakes), (Duration::from_secs(7), Wakes::No));
        assert_eq!(reconnect.after(&told(1_000_000), 0).wait, LONGEST_TOLD);
        let displaced = reconnect.after(&Ended::Displaced, 0).wait;
        assert!(displaced >= REFUSED_WAIT / 2);
    }

    #[test]
    fn the_api_is_asked_after_repeated_failures_and_ever_less_often() {
        let mut reconnect = Reconnect::default();
        let asked: Vec<u32> = (1..=90)
            .filter(|_| reconnect.after(&NEVER_UP, 0).ask == AskApi::Yes)
            .collect();
        assert_eq!(asked, [3, 6, 12, 24, 44, 64, 84]);
        reconnect.came_up();
        let asked: Vec<u32> = (1..=9)
            .filter(|_| reconnect.after(&Ended::Rejected, 0).ask == AskApi::Yes)
            .collect();
        assert_eq!(asked, [1, 2, 4, 8]);
    }
}
