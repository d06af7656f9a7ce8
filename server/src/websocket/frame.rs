//! What stands in one WebSocket message (openport contract section 11). Pure.

use std::net::Ipv4Addr;

use bytes::{BufMut as _, Bytes, BytesMut};
use moorline_protocol::Secret;

/// Address, port and operation, in bytes.
const HEAD_BYTES: usize = 7;
/// Most data in one message that we send, in bytes. What a client sends may be longer, up to the limit of a message.
pub const MAX_DATA_BYTES: usize = 4096;

const OPEN: u8 = 1;
const DATA: u8 = 2;
const CLOSE: u8 = 3;

/// Names one visitor's connection among those of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionName {
    /// The visitor's address, or one that stands for it.
    pub address: Ipv4Addr,
    /// The visitor's port.
    pub port: u16,
}

/// What happens to a visitor's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// There is a new one; said by the server alone.
    Open,
    /// Bytes of it, one at least.
    Data(Bytes),
    /// It is over, both directions.
    Close,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which connection.
    pub name: ConnectionName,
    /// What happens to it.
    pub operation: Operation,
}

impl Frame {
    /// Reads a message of a client; `None` for what is to be ignored: too short, without data, or an operation that
    /// clients do not have.
    #[must_use]
    pub fn parse(mut message: Bytes) -> Option<Self> {
        let &[a, b, c, d, low, high, operation] = message.first_chunk::<HEAD_BYTES>()?;
        let name = ConnectionName {
            address: Ipv4Addr::new(a, b, c, d),
            port: u16::from_le_bytes([low, high]),
        };
        let data = message.split_off(HEAD_BYTES);
        let operation = match operation {
            DATA if !data.is_empty() => Operation::Data(data),
            CLOSE => Operation::Close,
            _ => return None,
        };
        Some(Self { name, operation })
    }

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (operation, data) = match &self.operation {
            Operation::Open => (OPEN, &[][..]),
            Operation::Data(data) => (DATA, data.as_ref()),
            Operation::Close => (CLOSE, &[][..]),
        };
        let mut message = BytesMut::with_capacity(HEAD_BYTES + data.len());
        message.put_slice(&self.name.address.octets());
        message.put_u16_le(self.name.port);
        message.put_u8(operation);
        message.put_slice(data);
        message.freeze()
    }
}

/// The first message: which session a client brings the tunnel for.
#[derive(Debug)]
pub struct Greeting {
    /// Its public port.
    pub port: u16,
    /// Its token.
    pub token: Secret<String>,
}

impl Greeting {
    /// Reads `{"Port":34567,"Token":"…"}`; the names are in any case, others are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
        let get = |wanted: &str| {
            let mut members = object.iter();
            members.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
        };
        Some(Self {
            port: u16::try_from(get("port")?.as_u64()?).ok()?,
            token: Secret::new(get("token")?.as_str()?.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ConnectionName = ConnectionName {
        address: Ipv4Addr::new(192, 0, 2, 7),
        port: 0x1234,
    };

    fn frame(operation: Operation) -> Frame {
        Frame {
            name: NAME,
            operation,
        }
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let data = frame(Operation::Data(Bytes::from_static(b"hi")));
        assert_eq!(&data.encode()[..], b"\xc0\x00\x02\x07\x34\x12\x02hi");
        assert_eq!(
            &frame(Operation::Open).encode()[..],
            b"\xc0\x00\x02\x07\x34\x12\x01"
        );
        assert_eq!(Frame::parse(data.encode()), Some(data));
        let close = frame(Operation::Close);
        assert_eq!(Frame::parse(close.encode()), Some(close));
    }

    #[test]
    fn what_clients_do_not_say_is_ignored() {
        for message in [
            &b""[..],
            b"\xc0\x00\x02\x07\x34\x12",
            b"\xc0\x00\x02\x07\x34\x12\x01",
            b"\xc0\x00\x02\x07\x34\x12\x02",
            b"\xc0\x00\x02\x07\x34\x12\x00x",
            b"\xc0\x00\x02\x07\x34\x12\x04x",
        ] {
            assert_eq!(Frame::parse(Bytes::from_static(message)), None);
        }
    }

    #[test]
    fn greetings_are_read_in_any_case() {
        for text in [
            r#"{"Port":34567,"Token":"t"}"#,
            r#"{"token":"t","PORT":34567,"more":[1]}"#,
        ] {
            let greeting = Greeting::parse(text).unwrap();
            assert_eq!(
                (greeting.port, greeting.token.expose().as_str()),
                (34567, "t")
            );
        }
        for text in [
            "",
            "[]",
            r#"{"Port":65536,"Token":"t"}"#,
            r#"{"Port":"34567","Token":"t"}"#,
            r#"{"Port":34567}"#,
            r#"{"Port":34567,"Token":null}"#,
        ] {
            assert!(Greeting::parse(text).is_none(), "{text}");
        }
    }
}
