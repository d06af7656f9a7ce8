//! Who calls and what they may: the one place that decides it (control contract section 1).

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::answer::Refusal;
use super::token::LIFETIME_SECS;
use crate::api::{Api, Transport};
use crate::registry::model::{Role, Timestamp, User, UserId, UserStatus};

mod cookie;

/// Name of the cookie that holds a token.
pub(super) const COOKIE: &str = "admin_token";

/// The user that a request comes from. Under `/v1/admin/` only administrators get one.
pub(super) struct Operator(pub(super) User);

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
        Ok(Self(user))
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
    // Tokens are cut when a user is disabled; while they are, that is what they are told.
    if !is_active(&user, Timestamp::now()) {
        return Err(Refusal::forbidden("account is not active"));
    }
    if user.token_version == claims.token_version {
        Ok(user)
    } else {
        Err(invalid())
    }
}

/// Whether `user` may log in.
pub(super) fn is_active(user: &User, now: Timestamp) -> bool {
    user.status == UserStatus::Active && user.expires_at.is_none_or(|expiry| now < expiry)
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
    let token = query_token(request.uri().query())
        .filter(|token| !by_header && api.0.parts.tokens.read(token).is_some());
    let tls = request.extensions().get() == Some(&Transport::Tls);
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
