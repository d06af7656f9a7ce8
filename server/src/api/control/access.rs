//! Who calls and what they may: the one place that decides it (control contract section 1).

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer::Refusal;
use super::token::LIFETIME_SECS;
use crate::api::{Api, Transport};
use crate::registry::error::RegistryError;
use crate::registry::model::{Role, Timestamp, User, UserId, UserStatus};

mod cookie;

/// Name of the cookie that holds a token.
pub(super) const COOKIE: &str = "admin_token";

/// The user that a request comes from. Under `/v1/admin/` only administrators get one.
pub(super) struct Operator(pub(super) User);

/// Left in a request by whoever was let in, so that they can be looked at again once its body is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetIn {
    user: UserId,
    token_version: i64,
}

impl FromRequestParts<Api> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        let token = bearer(&parts.headers)
            .or_else(|| query_token(parts.uri.query()))
            .or_else(|| cookie::token(parts, api))
            .ok_or(Refusal::unauthorized(
                "missing or invalid authorization header",
            ))?;
        let user = user_of(api, &token).await?;
        if parts.uri.path().starts_with("/v1/admin/") && user.role != Role::Admin {
            return Err(Refusal::forbidden("insufficient permissions"));
        }
        parts.extensions.insert(LetIn {
            user: user.id,
            token_version: user.token_version,
        });
        Ok(Self(user))
    }
}

impl LetIn {
    /// Whether they still are, as after the half minute that a body may take.
    pub(super) async fn still(self, api: &Api) -> Result<(), Refusal> {
        let invalid = || Refusal::unauthorized("invalid token");
        let user = api.registry().user(self.user).await?.ok_or_else(invalid)?;
        judge(api, &user, self.token_version).await
    }
}

async fn user_of(api: &Api, token: &str) -> Result<User, Refusal> {
    let invalid = || Refusal::unauthorized("invalid token");
    let claims = api.0.parts.tokens.read(token).ok_or_else(invalid)?;
    if claims.role.is_none() {
        return Err(Refusal::unauthorized(
            "token missing role claim, please re-login",
        ));
    }
    let id = uuid::Uuid::try_parse(&claims.sub).map_err(|_| invalid())?;
    let user = api.registry().user(UserId(id)).await?;
    let user = user.ok_or_else(invalid)?;
    judge(api, &user, claims.token_version).await?;
    Ok(user)
}

async fn judge(api: &Api, user: &User, token_version: i64) -> Result<(), Refusal> {
    // Tokens are cut when a user is disabled; while they are, that is what they are told.
    if barred(api, user).await?.is_some() {
        return Err(Refusal::forbidden("account is not active"));
    }
    if user.token_version == token_version {
        Ok(())
    } else {
        Err(Refusal::unauthorized("invalid token"))
    }
}

/// Why somebody with the right password may do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// The user is disabled, or the account is suspended.
    Disabled,
    /// The user's time is over.
    Expired,
}

impl Barred {
    /// As the audit has it (control contract section 10).
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Disabled => "account_disabled",
            Self::Expired => "account_expired",
        }
    }
}

/// Why `user` may not log in now, if so.
pub(super) async fn barred(api: &Api, user: &User) -> Result<Option<Barred>, RegistryError> {
    let over = user.expires_at.is_some_and(|at| at <= Timestamp::now());
    match user.status {
        UserStatus::Disabled => Ok(Some(Barred::Disabled)),
        UserStatus::Expired => Ok(Some(Barred::Expired)),
        UserStatus::Active if over => Ok(Some(Barred::Expired)),
        UserStatus::Active => {
            let account = api.active_account(user.account).await?;
            Ok(account.is_none().then_some(Barred::Disabled))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .then(|| token.trim().to_owned())
}

fn query_token(query: Option<&str>) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query?).ok()?;
    let token = pairs.into_iter().rev().find(|(name, _)| name == "token");
    token
        .map(|(_, token)| token)
        .filter(|token| !token.is_empty())
}

/// Whether a request's token stands in its query, and counts.
pub(super) fn came_in_query(parts: &Parts) -> bool {
    bearer(&parts.headers).is_none() && query_token(parts.uri.query()).is_some()
}

/// A token that came as `?token=` and was good is set as the cookie `admin_token`.
pub(super) async fn remember_token(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let by_header = bearer(request.headers()).is_some();
    // Calls that need no token must not plant one.
    let needed = needs_token(request.uri().path());
    let token = query_token(request.uri().query())
        .filter(|token| needed && !by_header && api.0.parts.tokens.read(token).is_some());
    let tls = is_encrypted(&request, &api.identity().api_url);
    let mut response = next.run(request).await;
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status());
    if let Some(token) = token.filter(|_| !refused) {
        let secure = if tls { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={token}; Path=/v1/; HttpOnly; SameSite=Lax; Max-Age={LIFETIME_SECS}{secure}"
        );
        if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
            cookie.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// Whether the browser speaks HTTPS, to us or to something in front of us that adds it: then it asks for the host of the
/// address `own` that the server has for itself.
fn is_encrypted(request: &Request, own: &str) -> bool {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    request.extensions().get() == Some(&Transport::Tls)
        || own.strip_prefix("https://").is_some_and(|own| {
            host.is_some_and(|host| host.eq_ignore_ascii_case(own.trim_end_matches('/')))
        })
}

fn needs_token(path: &str) -> bool {
    let rooted = |root: &&str| path.starts_with(*root);
    path != "/v1/admin/login"
        && ["/v1/admin/", "/v1/user/", "/v1/gateway"]
            .iter()
            .any(rooted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_secure_where_the_browser_speaks_https() {
        let of = |host: &str, transport: Transport, own: &str| {
            let request = axum::extract::Request::builder().header(header::HOST, host);
            let mut request = request.body(axum::body::Body::empty()).unwrap();
            request.extensions_mut().insert(transport);
            is_encrypted(&request, own)
        };
        let (plain, tls) = (Transport::Plain, Transport::Tls);
        assert!(of("h", tls, "http://other"));
        assert!(of("Moor.example.org", plain, "https://moor.example.org"));
        assert!(!of(
            "moor.example.org:8080",
            plain,
            "https://moor.example.org"
        ));
        assert!(!of("h:8080", plain, "http://h:8080"));
    }
}
