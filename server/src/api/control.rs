//! The control surface as far as the CLI needs it: `/v1/…` and `/healthz` (`contract/control.md` sections 1, 2, 3
//! and 5, `moorline_protocol::operator`).
//!
//! | module | holds |
//! |---|---|
//! | [`token`] | the JWT: made and read |
//! | [`access`] | the one extractor that knows who calls and what they may |
//! | [`answer`] | JSON and errors on the wire, bodies read |
//! | [`login`] | name and password for a token |
//! | [`ssh_keys`] | the keys of a user |
//! | [`devices`], [`forwards`], [`api_keys`], [`gateway`] | what operators see and change |
//! | [`health`] | `/healthz` |

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post};

use super::Api;

mod access;
mod answer;
mod api_keys;
mod devices;
mod forwards;
mod gateway;
mod health;
mod login;
mod ssh_keys;
pub mod token;

/// The routes of this surface.
pub(super) fn routes(api: &Api) -> Router<Api> {
    Router::new()
        .route("/v1/auth/login", post(login::login))
        .route("/v1/admin/login", post(login::login))
        .route("/v1/gateway", get(gateway::info))
        .route(
            "/v1/user/ssh-keys",
            get(ssh_keys::list).post(ssh_keys::create),
        )
        .route("/v1/user/ssh-keys/{key}", delete(ssh_keys::remove))
        .route(
            "/v1/admin/users/{user}/ssh-keys",
            get(ssh_keys::list_of_user).post(ssh_keys::create_for_user),
        )
        .route(
            "/v1/admin/users/{user}/ssh-keys/{key}",
            delete(ssh_keys::remove_of_user),
        )
        .route("/v1/admin/devices", get(devices::list))
        .route(
            "/v1/admin/devices/{device}",
            get(devices::show)
                .patch(devices::change)
                .delete(devices::remove),
        )
        .route(
            "/v1/admin/devices/{device}/forwards",
            get(forwards::list).post(forwards::create),
        )
        .route(
            "/v1/admin/devices/{device}/forwards/{forward}",
            delete(forwards::remove),
        )
        .route(
            "/v1/admin/api-keys",
            get(api_keys::list).post(api_keys::create),
        )
        .route("/v1/admin/api-keys/{key}", delete(api_keys::revoke))
        .layer(middleware::from_fn_with_state(
            api.clone(),
            access::remember_token,
        ))
        .route("/healthz", get(health::health))
}
