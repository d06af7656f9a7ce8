//! [`LoginLimits`]: failed passwords, counted over every way in (control contract section 1).

use std::net::IpAddr;
use std::sync::Arc;

use crate::rate_limit::{Exceeded, RateLimiter, address_key};

/// Failures a minute, per source address and per user.
pub const FAILURES_PER_MINUTE: u32 = 10;

/// Counts failed passwords. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct LoginLimits(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    addresses: RateLimiter<IpAddr>,
    users: RateLimiter<String>,
}

/// A password that is being checked. It counts as a failure unless [`Attempt::succeeded`] says otherwise, so that
/// many checks at once cannot pass the limit.
#[derive(Debug)]
#[must_use = "a right password has to be given back with `succeeded`"]
pub struct Attempt {
    limits: LoginLimits,
    address: IpAddr,
    user: String,
}

impl LoginLimits {
    /// Begins an attempt of `address` to log in as `user`: the id of a known user, else what was typed.
    ///
    /// # Errors
    /// [`Exceeded`] when address or user failed too often; the password must not be looked at then.
    pub fn begin(&self, address: IpAddr, user: &str) -> Result<Attempt, Exceeded> {
        let address = address_key(address);
        self.0.addresses.take(&address, FAILURES_PER_MINUTE)?;
        let user = user.to_lowercase();
        if let Err(exceeded) = self.0.users.take(&user, FAILURES_PER_MINUTE) {
            self.0.addresses.give_back(&address, FAILURES_PER_MINUTE);
            return Err(exceeded);
        }
        Ok(Attempt {
            limits: self.clone(),
            address,
            user,
        })
    }
}

impl Attempt {
    /// The password was right: the attempt does not count.
    pub fn succeeded(self) {
        let tables = &self.limits.0;
        tables
            .addresses
            .give_back(&self.address, FAILURES_PER_MINUTE);
        tables.users.give_back(&self.user, FAILURES_PER_MINUTE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn ten_failures_close_the_address_and_the_user() {
        let limits = LoginLimits::default();
        for _ in 0..FAILURES_PER_MINUTE {
            drop(limits.begin(address(1), "Anna").unwrap());
        }
        assert!(limits.begin(address(1), "berta").is_err(), "address");
        assert!(limits.begin(address(2), "anna").is_err(), "user");
        assert!(limits.begin(address(2), "berta").is_ok());
    }

    #[test]
    fn right_passwords_do_not_count() {
        let limits = LoginLimits::default();
        for _ in 0..100 {
            limits.begin(address(1), "anna").unwrap().succeeded();
        }
        assert!(limits.begin(address(1), "anna").is_ok());
    }
}
