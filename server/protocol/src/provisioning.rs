//! Codes and answers of the provisioning calls (`contract/provisioning.md` sections 2 and 4).

use serde::{Deserialize, Serialize};

/// The error codes, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// `connect`: the tunnel was not up in time.
    NotConnected = 11,
    /// `disconnect`: the node did not confirm in time.
    NotDisconnected = 12,
    /// No such call.
    InvalidCall = 21,
    /// A rate limit was passed.
    TooManyCalls = 22,
    /// The device is blocked.
    Blocked = 23,
    /// The device is inactive, or its account suspended.
    Inactive = 24,
    /// A parameter is bad.
    WrongData = 31,
    /// No valid credential.
    InvalidKey = 32,
    /// The node cannot be used.
    NoForwardingServer = 40,
    /// The region cannot be used.
    InvalidRegion = 41,
    /// Anything else.
    Internal = 45,
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The text of the contract; of [`Code::WrongData`] only the beginning.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotConnected => "not connected",
            Self::NotDisconnected => "not disconnected",
            Self::InvalidCall => "invalid API call",
            Self::TooManyCalls => "Too many API calls",
            Self::Blocked => "Client blocked",
            Self::Inactive => "Client inactive",
            Self::WrongData => "Wrong data: ",
            Self::InvalidKey => "Invalid API key or API key missing",
            Self::NoForwardingServer => "Cannot access forwarding server",
            Self::InvalidRegion => "Invalid region key",
            Self::Internal => "Internal error",
        }
    }
}

/// The object that every call answers, with what `create_new_client` adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `OK`, or a text for a person.
    pub message: String,
    /// See [`Code`].
    pub error_code: u16,
    /// Whether the call was done.
    pub success: bool,
    /// What `create_new_client` adds.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub created: Option<NewClient>,
}

/// What `create_new_client` tells about the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// Name of the device.
    pub client_name: String,
    /// UUID of the device.
    pub client_id: String,
    /// Node the device connects to.
    pub region: String,
    /// Public DNS name of that node.
    pub forwarding_server: String,
    /// Public port of the first forward.
    pub port: u16,
    /// Number of the first forward.
    pub ports_id: i64,
    /// False when the device existed already.
    pub created: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_has_three_members_in_order() {
        let answer = Answer {
            message: "OK".into(),
            error_code: 0,
            success: true,
            created: None,
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"message":"OK","error_code":0,"success":true}"#
        );
        let read: Answer =
            serde_json::from_str(r#"{"message":"x","error_code":32,"success":false}"#).unwrap();
        assert_eq!(read.created, None);
    }
}
