//! Messages on the `moorline` channel: a session channel with the subsystem [`SUBSYSTEM`] inside the device's own
//! SSH connection. One JSON object a line, at most [`MAX_LINE_BYTES`] with its line break.
//!
//! The agent speaks first with [`ToServer::Hello`], waits for [`ToAgent::Welcome`] and only then asks for its
//! forwards, so that both ends agree on flow control before the first stream. Unknown messages and unknown members
//! are ignored: an old agent works with a new server and the other way round.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Subsystem name that opens the channel.
pub const SUBSYSTEM: &str = "moorline";
/// Longest line, in bytes. An inventory has at most 4 KiB, host keys about 2 KiB.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// What our agent calls itself in the SSH version exchange (RFC 4253 section 4.2), followed by its version.
pub const AGENT_IDENT: &str = "SSH-2.0-MoorlineAgent_";

/// Forwards that one agent holds at most. A device has no more than 50.
pub const MAX_FORWARDS: usize = 64;

/// From the agent to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToServer {
    /// First message: who is speaking.
    Hello(Hello),
    /// Asks the server to answer at once; proof that the link works end to end.
    Echo {
        /// Comes back in the answer.
        id: u32,
    },
    /// Answer to [`ToAgent::Echo`].
    EchoReply {
        /// Of the message that is answered.
        id: u32,
    },
    /// Bytes since the agent started, counted on the socket.
    Counters {
        /// Received.
        received_bytes: u64,
        /// Sent.
        sent_bytes: u64,
    },
    /// The agent stops on purpose; the tunnel ends as a clean stop.
    Bye,
    /// A message of a newer agent.
    #[serde(other)]
    Unknown,
}

/// Who the agent is and what it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Version of the agent.
    pub agent_version: String,
    /// Changes with every boot of the device (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// What the device calls itself.
    pub hostname: String,
    /// Short inventory: model, serial number, architecture, image version, kernel ….
    pub hardware: BTreeMap<String, String>,
    /// Host keys of the device's own sshd, `type base64`; the gateway checks them strictly.
    pub sshd_host_keys: Vec<String>,
    /// Bytes that the agent takes on one stream before it must have granted more ([`crate::flow`]).
    pub stream_credit_bytes: u32,
    /// Longest silence the agent lets pass without an echo, in seconds.
    pub keepalive_secs: u32,
}

/// A public port on the node and the port on the device behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceForward {
    /// Port on the node, as asked for by `tcpip-forward`.
    pub remote_port: u16,
    /// Port on the device.
    pub local_port: u16,
}

/// From the server to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAgent {
    /// Answer to [`ToServer::Hello`].
    Welcome {
        /// Counts up with every tunnel of this device; the highest one wins.
        generation: u64,
        /// Bytes that the server takes on one stream before it must have granted more.
        stream_credit_bytes: u32,
    },
    /// Asks the agent to answer at once.
    Echo {
        /// Comes back in the answer.
        id: u32,
    },
    /// Answer to [`ToServer::Echo`].
    EchoReply {
        /// Of the message that is answered.
        id: u32,
    },
    /// The server is about to end this connection; reconnect after that time, not before.
    ComeBackIn {
        /// Seconds from now.
        secs: u32,
    },
    /// The forwards of the device changed: fetch the client script again.
    Reprovision,
    /// All forwards that the agent is to hold, said after the welcome and whenever they change: what is missing is
    /// given up, what is new is asked for at once. Without this message it is the one of the client script.
    Forwards {
        /// At most [`MAX_FORWARDS`]; what is beyond is left out.
        forwards: Vec<DeviceForward>,
    },
    /// An operator wants the tunnel closed: give up the forwards, stay in touch.
    Close,
    /// An operator wants the tunnel open again: ask for the forwards.
    Open,
    /// A message of a newer server.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_messages_and_members_are_ignored() {
        let message: ToAgent = serde_json::from_str(r#"{"type":"sing","song":"x"}"#).unwrap();
        assert_eq!(message, ToAgent::Unknown);
        let message: ToServer =
            serde_json::from_str(r#"{"type":"hello","agent_version":"9","mood":"fine"}"#).unwrap();
        assert!(
            matches!(message, ToServer::Hello(Hello { agent_version, .. }) if agent_version == "9")
        );
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let text = serde_json::to_string(&ToAgent::ComeBackIn { secs: 30 }).unwrap();
        assert_eq!(text, r#"{"type":"come_back_in","secs":30}"#);
        let forward = DeviceForward {
            remote_port: 40001,
            local_port: 22,
        };
        let forwards = vec![forward; MAX_FORWARDS];
        let text = serde_json::to_string(&ToAgent::Forwards { forwards }).unwrap();
        let begin = r#"{"type":"forwards","forwards":[{"remote_port":40001,"local_port":22},"#;
        assert!(text.starts_with(begin) && text.len() < MAX_LINE_BYTES);
    }
}
