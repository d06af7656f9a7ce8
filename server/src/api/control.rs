//! The control surface: `/v1/…` and `/healthz` (`contract/control.md` sections 1 to 7, 10 and 11,
//! `moorline_protocol::operator`).
//!
//! | module | holds |
//! |---|---|
//! | [`token`] | the JWT: made and read |
//! | [`access`] | the one extractor that knows who calls and what they may |
//! | [`answer`] | JSON and errors on the wire, bodies read |
//! | [`login`] | name and password for a token |
//! | [`users`], [`ssh_keys`] | people of the account, and the keys of a user |
//! | [`portal`] | what users do for themselves |
//! | [`egress_ips`], [`bindings`] | ways out for hosts |
//! | [`events`], [`audit`] | what happened, read and written |
//! | [`dashboard`], [`host_info`] | counts; a host as answers show it |
//! | [`devices`], [`api_keys`], [`gateway`] | what operators see and change |
//! | [`health`] | `/healthz` |

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use super::Api;

mod access;
mod answer;
mod api_keys;
mod audit;
mod bindings;
mod dashboard;
mod devices;
mod egress_ips;
mod events;
mod gateway;
mod health;
mod host_info;
mod login;
mod portal;
mod ssh_keys;
pub mod token;
mod users;

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
        .route("/v1/user/ssh-keys/generate", post(ssh_keys::generate))
        .route("/v1/user/ssh-keys/{key}", delete(ssh_keys::remove))
        .route("/v1/user/change-password", post(portal::change_password))
        .merge(users())
        .merge(egress())
        .route("/v1/admin/events", get(events::list))
        .route("/v1/admin/dashboard/stats", get(dashboard::stats))
        .route("/v1/admin/devices", get(devices::list))
        .route(
            "/v1/admin/devices/{device}",
            get(devices::show)
                .patch(devices::change)
                .delete(devices::remove),
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

fn users() -> Router<Api> {
    Router::new()
        .route("/v1/admin/users", get(users::list).post(users::create))
        .route(
            "/v1/admin/users/{user}",
            get(users::show)
                .patch(users::set_status)
                .delete(users::remove),
        )
        .route(
            "/v1/admin/users/{user}/rotate-password",
            post(users::rotate_password),
        )
        .route("/v1/admin/users/{user}/expiry", put(users::set_expiry))
        .route(
            "/v1/admin/users/{user}/ssh-keys",
            get(ssh_keys::list_of_user).post(ssh_keys::create_for_user),
        )
        .route(
            "/v1/admin/users/{user}/ssh-keys/generate",
            post(ssh_keys::generate_for_user),
        )
        .route(
            "/v1/admin/users/{user}/ssh-keys/{key}",
            delete(ssh_keys::remove_of_user),
        )
}

fn egress() -> Router<Api> {
    Router::new()
        .route(
            "/v1/admin/egress-ips",
            get(egress_ips::list).post(egress_ips::create),
        )
        .route(
            "/v1/admin/egress-ips/{ip}",
            get(egress_ips::show)
                .put(egress_ips::change)
                .delete(egress_ips::remove),
        )
        .route(
            "/v1/admin/egress-ips/{ip}/test",
            post(egress_ips::test::run),
        )
        .route("/v1/admin/bindings", post(bindings::create))
        .route("/v1/admin/bindings/{binding}", delete(bindings::remove))
}
