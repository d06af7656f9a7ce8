//! What `POST` and `PUT` send, checked in the order of the control contract section 6.
//!
//! *Invariant:* no I/O but for the random source that WireGuard keys come from.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::MontgomeryPoint;
use moorline_protocol::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::answer::{Refusal, given};
use super::proxy_config;
use crate::registry::model::{EgressIp, EgressSettings, EgressStatus, EgressTunnel, WireGuard};

pub(super) const WIREGUARD: &str = "wireguard";
pub(super) const PROXY: &str = "proxy";
const DEFAULT_PROVIDER: &str = "manual";
const DEFAULT_ALLOWED_IPS: &str = "0.0.0.0/0";
/// Length of a WireGuard key, in bytes.
const KEY_BYTES: usize = 32;

/// Longest text, in characters; a list of networks is the longest that makes sense.
const MAX_TEXT_CHARS: usize = 1024;
/// Longest outbound, in bytes of JSON.
const MAX_PROXY_CONFIG_BYTES: usize = 16 * 1024;

/// A member that may be absent, `null` or a value.
type Member<T> = Option<Option<T>>;

/// The body.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Wanted {
    #[serde(deserialize_with = "given")]
    label: Member<String>,
    #[serde(deserialize_with = "given")]
    ip_address: Member<String>,
    #[serde(deserialize_with = "given")]
    provider: Member<String>,
    #[serde(deserialize_with = "given")]
    status: Member<String>,
    #[serde(deserialize_with = "given")]
    tunnel_type: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_endpoint: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_public_key: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_allowed_ips: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_dns_server: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_peer_address: Member<String>,
    #[serde(deserialize_with = "given")]
    wg_private_key: Member<Secret<String>>,
    #[serde(deserialize_with = "given")]
    wg_preshared_key: Member<Secret<String>>,
    #[serde(deserialize_with = "given")]
    proxy_config: Member<Map<String, Value>>,
}

/// The settings of a new egress IP.
pub(super) fn new(wanted: Wanted) -> Result<EgressSettings, Refusal> {
    within_limits(&wanted)?;
    let label = label(wanted.label.clone().flatten())?;
    let ip_address = address(wanted.ip_address.clone().flatten())?;
    let kind = match &wanted.tunnel_type {
        None | Some(None) => WIREGUARD,
        Some(Some(text)) => tunnel_kind(text)?,
    };
    let provider = provider(wanted.provider.clone().flatten());
    Ok(EgressSettings {
        label,
        ip_address,
        provider,
        status: EgressStatus::Available,
        tunnel: tunnel(kind, None, wanted)?,
    })
}

/// `present` with what is wanted laid over it.
pub(super) fn changed(present: EgressIp, wanted: Wanted) -> Result<EgressSettings, Refusal> {
    within_limits(&wanted)?;
    let label = match wanted.label.clone() {
        None => present.label,
        Some(text) => label(text)?,
    };
    let ip_address = match wanted.ip_address.clone() {
        None => present.ip_address,
        Some(text) => address(text)?,
    };
    let kind = match (&wanted.tunnel_type, &present.tunnel) {
        (None, EgressTunnel::WireGuard(_)) => WIREGUARD,
        (None, EgressTunnel::Proxy(_)) => PROXY,
        (Some(text), _) => tunnel_kind(text.as_deref().unwrap_or_default())?,
    };
    let status = match &wanted.status {
        None => present.status,
        Some(text) => {
            let unknown = Refusal::bad("status must be available or disabled");
            EgressStatus::parse(text.as_deref().unwrap_or_default()).ok_or(unknown)?
        }
    };
    let provider = match wanted.provider.clone() {
        None => present.provider,
        Some(text) => provider(text),
    };
    Ok(EgressSettings {
        label,
        ip_address,
        provider,
        status,
        tunnel: tunnel(kind, Some(present.tunnel), wanted)?,
    })
}

/// What is too long for anything, or would steer a terminal, is not kept.
fn within_limits(wanted: &Wanted) -> Result<(), Refusal> {
    let plain = |text: &Member<String>| text.as_ref()?.clone();
    let secret = |text: &Member<Secret<String>>| Some(text.as_ref()?.as_ref()?.expose().clone());
    let texts = [
        ("label", plain(&wanted.label)),
        ("provider", plain(&wanted.provider)),
        ("wg_endpoint", plain(&wanted.wg_endpoint)),
        ("wg_public_key", plain(&wanted.wg_public_key)),
        ("wg_allowed_ips", plain(&wanted.wg_allowed_ips)),
        ("wg_dns_server", plain(&wanted.wg_dns_server)),
        ("wg_peer_address", plain(&wanted.wg_peer_address)),
        ("wg_private_key", secret(&wanted.wg_private_key)),
        ("wg_preshared_key", secret(&wanted.wg_preshared_key)),
    ];
    for (name, text) in texts {
        let text = text.unwrap_or_default();
        // Blanks at the ends go, line breaks among them.
        let text = text.trim();
        if text.chars().count() > MAX_TEXT_CHARS || text.chars().any(char::is_control) {
            return Err(Refusal::bad_value(format!("{name} is not valid")));
        }
    }
    let config = wanted.proxy_config.as_ref().and_then(Option::as_ref);
    let length = config.map(serde_json::to_string).transpose();
    match length {
        Ok(text)
            if text
                .as_ref()
                .is_none_or(|text| text.len() <= MAX_PROXY_CONFIG_BYTES) =>
        {
            Ok(())
        }
        Ok(_) | Err(_) => Err(Refusal::bad("proxy_config is not valid")),
    }
}

fn tunnel_kind(text: &str) -> Result<&'static str, Refusal> {
    [WIREGUARD, PROXY]
        .into_iter()
        .find(|kind| *kind == text)
        .ok_or(Refusal::bad("tunnel_type must be wireguard or proxy"))
}

/// What belongs to the other kind of tunnel is dropped.
fn tunnel(
    kind: &str,
    present: Option<EgressTunnel>,
    wanted: Wanted,
) -> Result<EgressTunnel, Refusal> {
    if kind == WIREGUARD {
        let present = match present {
            Some(EgressTunnel::WireGuard(present)) => present,
            _ => WireGuard::default(),
        };
        return Ok(EgressTunnel::WireGuard(wireguard(present, wanted)));
    }
    let present = match present {
        Some(EgressTunnel::Proxy(present)) => Some(present.into_exposed()),
        _ => None,
    };
    let config = match (wanted.proxy_config, present) {
        (None, Some(present)) => present,
        (Some(Some(config)), present) => {
            proxy_config::with_kept_secrets(config, &present.unwrap_or_default())
        }
        (None | Some(None), _) => Map::new(),
    };
    proxy_config::check(&config)?;
    Ok(EgressTunnel::Proxy(Secret::new(config)))
}

fn wireguard(present: WireGuard, wanted: Wanted) -> WireGuard {
    let (private_key, client_public_key) = match wanted.wg_private_key {
        None if present.private_key.is_some() => (present.private_key, present.client_public_key),
        None | Some(None) => made_key(),
        Some(Some(given)) if given.expose().trim().is_empty() => made_key(),
        Some(Some(given)) => {
            let text = given.expose().trim().to_owned();
            // What is no key is kept as it came: the tunnel says so when it is tried.
            let public = decoded(&text).map(public_half);
            (Some(Secret::new(text)), public)
        }
    };
    WireGuard {
        endpoint: laid_over(present.endpoint, wanted.wg_endpoint),
        public_key: laid_over(present.public_key, wanted.wg_public_key),
        allowed_ips: laid_over(non_blank(present.allowed_ips), wanted.wg_allowed_ips)
            .unwrap_or_else(|| DEFAULT_ALLOWED_IPS.to_owned()),
        dns_server: laid_over(present.dns_server, wanted.wg_dns_server),
        peer_address: laid_over(present.peer_address, wanted.wg_peer_address),
        client_public_key,
        private_key,
        preshared_key: match wanted.wg_preshared_key {
            None => present.preshared_key,
            Some(given) => given.filter(|text| !text.expose().trim().is_empty()),
        },
    }
}

fn made_key() -> (Option<Secret<String>>, Option<String>) {
    let key: [u8; KEY_BYTES] = rand::random();
    (
        Some(Secret::new(STANDARD.encode(key))),
        Some(public_half(key)),
    )
}

/// The bytes of a WireGuard key, if `text` is one.
pub(super) fn decoded(text: &str) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

/// X25519 (RFC 7748) of the key and the base point, as `wg pubkey` prints it.
fn public_half(key: [u8; KEY_BYTES]) -> String {
    STANDARD.encode(MontgomeryPoint::mul_base_clamped(key).to_bytes())
}

fn label(text: Option<String>) -> Result<String, Refusal> {
    text.and_then(non_blank)
        .ok_or(Refusal::bad("label is required"))
}

fn address(text: Option<String>) -> Result<IpAddr, Refusal> {
    text.and_then(|text| text.trim().parse().ok())
        .map(|address: IpAddr| address.to_canonical())
        .ok_or(Refusal::bad("invalid ip address"))
}

fn provider(text: Option<String>) -> String {
    text.and_then(non_blank)
        .unwrap_or_else(|| DEFAULT_PROVIDER.to_owned())
}

fn laid_over(present: Option<String>, wanted: Member<String>) -> Option<String> {
    match wanted {
        None => present,
        Some(text) => text.and_then(non_blank),
    }
}

fn non_blank(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_is_what_wg_prints() {
        // RFC 7748, section 6.1: Alice.
        let hex = |text: &str| -> [u8; 32] {
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
            bytes.try_into().unwrap()
        };
        let key = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(public_half(key), STANDARD.encode(public));
        assert_eq!(decoded(&STANDARD.encode(key)), Some(key));
        assert_eq!(decoded("c2hvcnQ="), None);
    }
}
