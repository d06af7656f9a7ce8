//! [`Forwards`]: which forwards the tunnel holds, and how each stands. Pure.

use moorline_protocol::control::{DeviceForward, MAX_FORWARDS};

use crate::provision::Forward;
use crate::status::ForwardState;

/// How a forward stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    ToAsk,
    Open,
    Refused,
}

/// The forwards, the first one first.
pub(super) struct Forwards(Vec<(Forward, Standing)>);

impl Forwards {
    /// The one of the client script.
    pub(super) fn only(forward: Forward) -> Self {
        Self(vec![(forward, Standing::ToAsk)])
    }

    /// Takes over what the server says. Gives the ports that are open and not wanted any more.
    pub(super) fn replace(&mut self, wanted: &[DeviceForward]) -> Vec<u16> {
        let before = std::mem::take(&mut self.0);
        let standing = |forward: &Forward| {
            let mut known = before.iter().filter(|(one, _)| one == forward);
            known
                .next()
                .map_or(Standing::ToAsk, |(_, standing)| *standing)
        };
        for wanted in wanted.iter().take(MAX_FORWARDS) {
            let forward = Forward {
                remote_port: wanted.remote_port,
                local_port: wanted.local_port,
            };
            self.0.push((forward, standing(&forward)));
        }
        let kept = |forward: &Forward| self.0.iter().any(|(one, _)| one == forward);
        let given_up = |(forward, standing): &(Forward, Standing)| {
            (*standing == Standing::Open && !kept(forward)).then_some(forward.remote_port)
        };
        before.iter().filter_map(given_up).collect()
    }

    /// Remote and local port of one that is still to be asked for.
    pub(super) fn next_to_ask(&self) -> Option<(u16, u16)> {
        let mut to_ask = self.0.iter().filter(|(_, one)| *one == Standing::ToAsk);
        to_ask
            .next()
            .map(|(one, _)| (one.remote_port, one.local_port))
    }

    /// Notes the server's answer.
    pub(super) fn answered(&mut self, remote_port: u16, open: bool) {
        for (forward, standing) in &mut self.0 {
            if forward.remote_port == remote_port {
                *standing = if open {
                    Standing::Open
                } else {
                    Standing::Refused
                };
            }
        }
    }

    /// What was refused is to be asked for again.
    pub(super) fn forget_refusals(&mut self) {
        for (_, standing) in &mut self.0 {
            if *standing == Standing::Refused {
                *standing = Standing::ToAsk;
            }
        }
    }

    pub(super) fn any_refused(&self) -> bool {
        self.0.iter().any(|(_, one)| *one == Standing::Refused)
    }

    /// Gives all of them up; gives the ports that were open.
    pub(super) fn close(&mut self) -> Vec<u16> {
        let mut ports = Vec::new();
        for (forward, standing) in &mut self.0 {
            if *standing == Standing::Open {
                ports.push(forward.remote_port);
            }
            *standing = Standing::ToAsk;
        }
        ports
    }

    /// Where a visitor of that public port is led to.
    pub(super) fn local_port(&self, remote_port: u32) -> Option<u16> {
        let mut known = self.0.iter().map(|(forward, _)| forward);
        known
            .find(|forward| u32::from(forward.remote_port) == remote_port)
            .map(|forward| forward.local_port)
    }

    /// For people: that of the first one.
    pub(super) fn state(&self) -> ForwardState {
        match self.0.first() {
            Some((_, Standing::Open)) => ForwardState::Open,
            Some((_, Standing::Refused)) => ForwardState::Refused,
            Some((_, Standing::ToAsk)) | None => ForwardState::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ports: &[(u16, u16)]) -> Vec<DeviceForward> {
        let forward = |(remote_port, local_port): &(u16, u16)| DeviceForward {
            remote_port: *remote_port,
            local_port: *local_port,
        };
        ports.iter().map(forward).collect()
    }

    fn ask_all(forwards: &mut Forwards, open: bool) -> Vec<u16> {
        let mut asked = Vec::new();
        while let Some((remote_port, _)) = forwards.next_to_ask() {
            asked.push(remote_port);
            forwards.answered(remote_port, open);
        }
        asked
    }

    #[test]
    fn only_what_changed_is_asked_for_or_given_up() {
        let mut forwards = Forwards::only(Forward {
            remote_port: 40001,
            local_port: 22,
        });
        assert_eq!(ask_all(&mut forwards, true), [40001]);
        assert!(
            forwards
                .replace(&wanted(&[(40001, 22), (40002, 80)]))
                .is_empty()
        );
        assert_eq!(ask_all(&mut forwards, true), [40002]);
        assert_eq!(forwards.local_port(40002), Some(80));
        let given_up = forwards.replace(&wanted(&[(40001, 22), (40003, 80)]));
        assert_eq!(given_up, [40002]);
        assert_eq!(forwards.local_port(40002), None);
        assert_eq!(ask_all(&mut forwards, false), [40003]);
        assert!(forwards.any_refused() && forwards.state() == ForwardState::Open);
        forwards.forget_refusals();
        assert_eq!(ask_all(&mut forwards, true), [40003]);
        assert_eq!(forwards.close(), [40001, 40003]);
        assert_eq!(ask_all(&mut forwards, true), [40001, 40003]);
    }

    #[test]
    fn there_is_a_limit() {
        let mut forwards = Forwards(Vec::new());
        let many: Vec<_> = (1..200).map(|port| (port, 22)).collect();
        forwards.replace(&wanted(&many));
        assert_eq!(forwards.0.len(), MAX_FORWARDS);
    }
}
