//! Who calls: HTTP Basic with id and secret of an API key (API client contract section 1).

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moorline_protocol::Secret;
use subtle::ConstantTimeEq as _;

use super::answer::Failure;
use super::operations::{Actor, Caller};
use super::paths::Verb;
use crate::api::keys::has_scope;
use crate::api::{Api, Peer};
use crate::registry::model::{ApiKey, Grant, KeyContext};

/// User name and password of HTTP Basic.
struct Credentials {
    id: String,
    secret: Secret<String>,
}

/// The key of a call, and what its holder is for the operations.
pub(super) struct Holder {
    key: ApiKey,
    /// For the operations.
    pub(super) caller: Caller,
}

impl Holder {
    /// Checks credentials, rate and account, in this order.
    pub(super) async fn of(api: &Api, peer: Peer, headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(key) = key_of(api, headers).await? else {
            api.count_refused(peer)?;
            return Err(Failure::InvalidCredentials);
        };
        api.count_key(&key)?;
        let account = api.active_account(key.account).await?;
        Ok(Self {
            caller: Caller {
                account: account.ok_or(Failure::AccountDisabled)?,
                grant: Grant::Scopes(key.scope.clone()),
                actor: Actor::Key(key.id.clone()),
            },
            key,
        })
    }

    /// Whether the key is for what is to be done: its scope, and the whole account as its context.
    pub(super) fn may(&self, verb: Verb) -> Result<(), Failure> {
        let scope = verb.scope();
        if has_scope(&self.key, scope) && self.key.context == KeyContext::Account {
            Ok(())
        } else {
            Err(Failure::InsufficientScope(scope.as_str().to_owned()))
        }
    }
}

async fn key_of(api: &Api, headers: &HeaderMap) -> Result<Option<ApiKey>, Failure> {
    let Some(credentials) = basic(headers) else {
        return Ok(None);
    };
    let key = api.live_key(credentials.secret.expose()).await?;
    let same = |key: &ApiKey| bool::from(key.id.as_bytes().ct_eq(credentials.id.as_bytes()));
    Ok(key.filter(same))
}

fn basic(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some(Credentials {
        id: id.to_owned(),
        secret: Secret::new(secret.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        basic(&headers).map(|found| (found.id, found.secret.into_exposed()))
    }

    #[test]
    fn basic_credentials_are_read() {
        let good = Some(("_key_1".to_owned(), "a:b".to_owned()));
        assert_eq!(read("Basic X2tleV8xOmE6Yg=="), good);
        assert_eq!(read("basic  X2tleV8xOmE6Yg== "), good);
        for bad in [
            "Bearer X2tleV8xOmE6Yg==",
            "Basic",
            "Basic !",
            "Basic X2tleV8x",
            "Basic /w==",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
