//! Flow control of one stream inside a tunnel, above SSH's own windows.
//!
//! An SSH library that reopens a channel's window when bytes arrive, not when they are read, lets one slow reader
//! either fill the memory or hold up every channel of its connection. So a sender of forwarded bytes may have no
//! more than the receiver's credit under way. The receiver grants as it consumes, in-band: extended data
//! (RFC 4254 section 5.2) of the private type [`CREDIT`], four bytes, big endian, the number of bytes granted.
//! Both ends name their first credit in the hello of [`crate::control`]; peers without that hello use plain SSH.

/// Extended data type that carries a grant; in the range that RFC 4254 leaves to private use.
pub const CREDIT: u32 = 0xFE00_4D4C;

/// The receiver's side: what was consumed and not yet granted again.
#[derive(Debug)]
pub struct Grants {
    limit: u32,
    consumed: u32,
}

impl Grants {
    /// For a stream whose sender starts with `limit` bytes of credit.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit, consumed: 0 }
    }

    /// Notes `bytes` as consumed; gives the grant to send when a quarter of the credit has been used up, so that
    /// grants are few and the sender does not run dry.
    pub fn consumed(&mut self, bytes: usize) -> Option<u32> {
        self.consumed = self
            .consumed
            .saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        (self.consumed >= self.limit / 4).then(|| std::mem::take(&mut self.consumed))
    }
}

/// The bytes of a grant.
#[must_use]
pub const fn encode(grant: u32) -> [u8; 4] {
    grant.to_be_bytes()
}

/// The grant in `payload`; `None` when it is not four bytes.
#[must_use]
pub fn decode(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_consumed_is_granted_once() {
        let mut grants = Grants::new(1000);
        assert_eq!(grants.consumed(249), None);
        assert_eq!(grants.consumed(1), Some(250));
        assert_eq!(grants.consumed(100), None);
        assert_eq!(grants.consumed(5000), Some(5100));
    }

    #[test]
    fn a_grant_reads_back_and_other_lengths_do_not() {
        assert_eq!(decode(&encode(70_000)), Some(70_000));
        assert_eq!(decode(&[1, 2, 3]), None);
    }
}
