//! Tokens of people: JWT, HS256, 24 hours (control contract section 1).

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use crate::private_file;
use crate::registry::model::{Timestamp, User};

/// How long a token is valid.
pub const LIFETIME_SECS: i64 = 24 * 3600;
const ISSUER: &str = "moorline";
const SECRET_BYTES: usize = 32;

/// Makes and reads tokens.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// UUID of the user.
    pub sub: String,
    /// The same.
    pub user_id: String,
    /// `admin` or `user`; absent in no token of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `moorline`.
    pub iss: String,
    /// When made, seconds.
    pub iat: i64,
    /// Until when valid, seconds.
    pub exp: i64,
    /// Changes with the password; tokens with another number are refused.
    #[serde(default)]
    pub token_version: i64,
}

impl Tokens {
    /// With a secret that is configured.
    #[must_use]
    pub fn new(secret: &Secret<String>) -> Self {
        let bytes = secret.expose().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
        }
    }

    /// With the secret in the file at `path`, which is made if there is none.
    ///
    /// # Errors
    /// Of the file system; and when the secret has less than 32 characters, as in a file that was emptied.
    pub fn read_or_create(path: &Path) -> std::io::Result<Self> {
        let bytes = private_file::read_or_create(path, || {
            let random: [u8; SECRET_BYTES] = rand::random();
            data_encoding::HEXLOWER.encode(&random).into_bytes()
        })?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.len() < SECRET_BYTES {
            // Anyone could sign with the secret of an empty file.
            let kind = std::io::ErrorKind::InvalidData;
            return Err(std::io::Error::new(
                kind,
                "it holds less than 32 characters",
            ));
        }
        Ok(Self::new(&Secret::new(text)))
    }

    /// A token for `user`, valid from `now`.
    ///
    /// # Errors
    /// When it cannot be signed, which does not happen with HS256.
    pub fn make(
        &self,
        user: &User,
        now: Timestamp,
    ) -> Result<Secret<String>, jsonwebtoken::errors::Error> {
        let iat = now.0.div_euclid(1_000_000);
        let id = user.id.to_string();
        let claims = Claims {
            sub: id.clone(),
            user_id: id,
            role: Some(user.role.as_str().to_owned()),
            iss: ISSUER.to_owned(),
            iat,
            exp: iat.saturating_add(LIFETIME_SECS),
            token_version: user.token_version,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map(Secret::new)
    }

    /// What `token` says, if it is ours and valid now.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        decode(token, &self.decoding, &validation)
            .ok()
            .map(|data| data.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model::{AccountId, Role, UserId, UserStatus};

    fn tokens(secret: &str) -> Tokens {
        Tokens::new(&Secret::new(secret.to_owned()))
    }

    fn user() -> User {
        User {
            id: UserId(uuid::Uuid::from_u128(7)),
            account: AccountId(1),
            username: "anna".into(),
            short_id: "anna".into(),
            role: Role::Admin,
            status: UserStatus::Active,
            expires_at: None,
            password_hash: Secret::new(String::new()),
            token_version: 3,
            keys_version: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn a_token_reads_back() {
        let tokens = tokens("s");
        let token = tokens.make(&user(), Timestamp::now()).unwrap();
        assert_eq!(token.expose().split('.').count(), 3);
        let claims = tokens.read(token.expose()).unwrap();
        assert_eq!(claims.sub, user().id.to_string());
        assert_eq!(claims.user_id, claims.sub);
        assert_eq!(claims.role.as_deref(), Some("admin"));
        assert_eq!(
            (claims.token_version, claims.exp - claims.iat),
            (3, LIFETIME_SECS)
        );
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let ours = tokens("s");
        let token = ours.make(&user(), Timestamp::now()).unwrap().into_exposed();
        assert!(tokens("other").read(&token).is_none(), "another secret");
        let old = Timestamp(Timestamp::now().0 - (LIFETIME_SECS + 1) * 1_000_000);
        let expired = ours.make(&user(), old).unwrap();
        assert!(ours.read(expired.expose()).is_none(), "expired");
        let (head, _) = token.rsplit_once('.').unwrap();
        assert!(ours.read(&format!("{head}.")).is_none(), "no signature");
        let none = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        assert!(ours.read(&format!("{none}.{rest}")).is_none(), "alg none");
        for odd in ["", "a.b", "a.b.c", "..."] {
            assert!(ours.read(odd).is_none());
        }
    }

    #[test]
    fn the_secret_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt.key");
        let token = Tokens::read_or_create(&path)
            .unwrap()
            .make(&user(), Timestamp::now())
            .unwrap();
        assert!(
            Tokens::read_or_create(&path)
                .unwrap()
                .read(token.expose())
                .is_some()
        );
        assert!(std::fs::read(&path).unwrap().len() >= 32);
    }
}
