//! What a client asks for, checked (openport contract section 5).
//!
//! *Invariant:* no I/O.

use moorline_protocol::Secret;
use thiserror::Error;

use super::form::Form;
use crate::registry::Restart;
use crate::registry::model::{ForwardKind, PublicKey};

/// Longest id of a small device, in characters.
const MAX_ID_CHARS: usize = 64;
/// Longest of the texts that a client tells of itself, in characters.
const MAX_FACT_CHARS: usize = 128;
/// Largest RSA key, in bits.
const MAX_RSA_BITS: usize = 8192;

/// A request for a port.
#[derive(Clone, Debug)]
pub struct RequestPort {
    /// Who asks.
    pub identity: Identity,
    /// Port on the device, or for a forward tunnel on the caller's machine; 0 when it was not told.
    pub local_port: u16,
    /// Port of the earlier session, or for a forward tunnel the public port to reach.
    pub port: Option<u16>,
    /// Token of the earlier session.
    pub token: Option<Secret<String>>,
    /// Public DNS name or name of the wanted node.
    pub server: Option<String>,
    /// A session of its own, or a way to one of another device.
    pub direction: Direction,
    /// Who restarts it.
    pub restart: Restart,
    /// Whether visitors have to click the link first; `None` is as the device's setting says.
    pub link_protection: Option<bool>,
    /// What the client says of itself.
    pub client: ClientFacts,
}

/// Which way a tunnel leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the device that asks.
    Reverse(ForwardKind),
    /// From it to a public port of another device.
    Forward,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The holder of this key.
    Key(PublicKey),
    /// A small device: key binding token of its account, and its id there.
    Small {
        /// Of its account.
        token: Secret<String>,
        /// 1 to 64 characters.
        id: String,
    },
}

/// What a client says of itself; kept for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Version of the client.
    pub version: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
}

/// Why a request cannot be served as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// Neither a key nor the pair of a small device.
    #[error("public_key is required")]
    KeyMissing,
    /// No supported key.
    #[error("public_key is not valid")]
    KeyInvalid,
    /// The pair of a small device cannot be one.
    #[error("ws_key_token is not valid")]
    PairInvalid,
}

impl RequestPort {
    /// Checks the fields of a request.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn parse(form: &Form) -> Result<Self, BadRequest> {
        let kind = match form.flag("http_forward") {
            Some(true) => ForwardKind::Http,
            Some(false) | None => ForwardKind::Tcp,
        };
        Ok(Self {
            identity: Identity::parse(form)?,
            local_port: form.port("local_port").unwrap_or(0),
            port: form.port("request_port"),
            token: form
                .get("restart_session_token")
                .map(|token| Secret::new(token.to_owned())),
            server: form.get("request_server").map(str::to_owned),
            direction: match form.flag("forward_tunnel") {
                Some(true) => Direction::Forward,
                Some(false) | None => Direction::Reverse(kind),
            },
            restart: match form.flag("automatic_restart") {
                Some(true) => Restart::ByItself,
                Some(false) | None => Restart::ByPerson,
            },
            link_protection: form.flag("ip_link_protection"),
            client: ClientFacts::parse(form),
        })
    }
}

impl Identity {
    fn parse(form: &Form) -> Result<Self, BadRequest> {
        if form.get("public_key").is_some() {
            return public_key(form).map(Self::Key);
        }
        let pair = (form.get("ws_key_token"), form.get("unique_client_id"));
        let (Some(token), Some(id)) = pair else {
            return Err(BadRequest::KeyMissing);
        };
        if id.chars().count() > MAX_ID_CHARS || id.contains(char::is_control) {
            return Err(BadRequest::PairInvalid);
        }
        Ok(Self::Small {
            token: Secret::new(token.to_owned()),
            id: id.to_owned(),
        })
    }
}

impl ClientFacts {
    /// `client_version` and `platform`, cut to what is kept.
    #[must_use]
    pub fn parse(form: &Form) -> Self {
        let fact = |name| {
            let text = form.get(name)?;
            let kept = text.chars().filter(|c| !c.is_control());
            Some(kept.take(MAX_FACT_CHARS).collect())
        };
        Self {
            version: fact("client_version"),
            platform: fact("platform"),
        }
    }
}

/// The key in `public_key`.
///
/// # Errors
/// [`BadRequest`].
pub fn public_key(form: &Form) -> Result<PublicKey, BadRequest> {
    let text = form.get("public_key").ok_or(BadRequest::KeyMissing)?;
    PublicKey::parse(text)
        .ok()
        .filter(|key| key.rsa_bits().is_none_or(|bits| bits <= MAX_RSA_BITS))
        .ok_or(BadRequest::KeyInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::provisioning::request::BodyForm;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVeHYS4QMc6qSy1BxhORnqJhog8CUz827RvbF51b+1E";

    fn parse(pairs: &[(&str, &str)]) -> Result<RequestPort, BadRequest> {
        let body = serde_urlencoded::to_string(pairs).unwrap();
        let form = Form::parse(BodyForm::Form, body.as_bytes()).unwrap();
        RequestPort::parse(&form)
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let wish = parse(&[("public_key", KEY)]).unwrap();
        assert!(matches!(wish.identity, Identity::Key(key) if key.canonical == KEY));
        assert_eq!(
            (wish.local_port, wish.port, wish.link_protection),
            (0, None, None)
        );
        assert_eq!(wish.direction, Direction::Reverse(ForwardKind::Tcp));
        assert_eq!(wish.restart, Restart::ByPerson);
        assert!(wish.token.is_none() && wish.server.is_none());
    }

    #[test]
    fn an_empty_protection_is_off() {
        let wish = |value| parse(&[("public_key", KEY), ("ip_link_protection", value)]).unwrap();
        assert_eq!(wish("").link_protection, Some(false));
        assert_eq!(wish("TRUE").link_protection, Some(true));
    }

    #[test]
    fn somebody_has_to_ask() {
        let long = "x".repeat(65);
        for (pairs, refusal) in [
            (vec![], BadRequest::KeyMissing),
            (vec![("public_key", " \n")], BadRequest::KeyMissing),
            (vec![("public_key", "ssh-rsa AAAA")], BadRequest::KeyInvalid),
            (vec![("ws_key_token", "t")], BadRequest::KeyMissing),
            (
                vec![("ws_key_token", "t"), ("unique_client_id", long.as_str())],
                BadRequest::PairInvalid,
            ),
        ] {
            assert_eq!(parse(&pairs).err(), Some(refusal), "{pairs:?}");
        }
        let small = parse(&[("ws_key_token", "t"), ("unique_client_id", "7")]).unwrap();
        assert!(matches!(small.identity, Identity::Small { id, .. } if id == "7"));
    }
}
