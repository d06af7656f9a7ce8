//! The control surface: `/v1/…` and `/healthz` (`contract/control.md` sections 1 to 13,
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
//! | [`hosts`], [`tasks`] | users' machines and the work on them |
//! | [`bootstrap`], [`entry`], [`shell_script`] | ways in for people with nothing but a password, and their scripts |
//! | [`vnc`] | the desktop of a host in the browser |
//! | [`sessions_log`] | who reached what over SSH |
//! | [`origin`], [`path`] | under which address a request reached us, and what its path names |
//! | [`events`], [`audit`] | what happened, read and written |
//! | [`dashboard`], [`host_info`] | counts; a host as answers show it |
//! | [`devices`], [`forwards`], [`sessions`], [`nodes`], [`api_clients`], [`api_keys`], [`gateway`] | what operators see and change |
//! | [`links`], [`key_binding`] | what they hand to visitors and to clients |
//! | [`health`] | `/healthz` |

use axum::Router;
use axum::middleware;
use axum::routing::{any, delete, get, post, put};

use super::Api;

mod access;
mod answer;
mod api_clients;
mod api_keys;
mod audit;
mod bindings;
mod bootstrap;
mod dashboard;
mod devices;
mod egress_ips;
mod entry;
mod events;
mod forwards;
mod gateway;
mod health;
mod host_info;
mod hosts;
mod key_binding;
mod links;
mod login;
mod nodes;
mod origin;
mod path;
mod portal;
mod sessions;
mod sessions_log;
mod shell_script;
mod ssh_keys;
mod tasks;
pub mod token;
mod users;
mod vnc;

pub(super) use vnc::Desktops;

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
        .merge(hosts())
        .merge(entrances())
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
        .route(
            "/v1/admin/api-clients",
            get(api_clients::list).post(api_clients::create),
        )
        .route(
            "/v1/admin/api-clients/{client}",
            get(api_clients::show)
                .put(api_clients::change)
                .delete(api_clients::remove),
        )
        .route(
            "/v1/admin/api-clients/{client}/apikey",
            get(api_clients::show_key)
                .put(api_clients::change_key)
                .post(api_clients::regenerate_key),
        )
        .route("/v1/admin/devices/{device}/links", get(links::list))
        .route("/v1/admin/key-binding", get(key_binding::show))
        .route("/v1/admin/key-binding/renew", post(key_binding::renew))
        .route("/v1/admin/sessions", get(sessions::list))
        .route("/v1/admin/nodes", get(nodes::list))
        .layer(middleware::from_fn_with_state(
            api.clone(),
            access::remember_token,
        ))
        .route("/healthz", get(health::health))
}

fn hosts() -> Router<Api> {
    Router::new()
        .route(
            "/v1/admin/hosts",
            get(hosts::shown::list).post(hosts::create::create),
        )
        .route(
            "/v1/admin/hosts/{host}",
            get(hosts::shown::show)
                .patch(hosts::set_policy)
                .delete(hosts::remove),
        )
        .route("/v1/admin/hosts/{host}/start", post(hosts::start))
        .route("/v1/admin/hosts/{host}/stop", post(hosts::stop))
        .route("/v1/admin/hosts/{host}/rebuild", post(hosts::rebuild))
        .route(
            "/v1/admin/hosts/{host}/rotate-ssh-password",
            post(hosts::rotate_password),
        )
        .route("/v1/admin/hosts/{host}/vnc/", any(vnc::admin))
        .route("/v1/admin/hosts/{host}/vnc/{*path}", any(vnc::admin))
        .route("/v1/user/hosts/{host}/vnc/", any(vnc::user))
        .route("/v1/user/hosts/{host}/vnc/{*path}", any(vnc::user))
        .route("/v1/admin/tasks", get(tasks::list))
        .route("/v1/admin/sessions-log", get(sessions_log::list))
        .route("/v1/admin/sessions-log/{session}", get(sessions_log::show))
        .route(
            "/v1/admin/sessions-log/{session}/recording",
            get(sessions_log::recording),
        )
        .route("/v1/user/hosts", get(hosts::own::list))
        .route("/v1/user/hosts/{host}", get(hosts::own::show))
        .route("/v1/user/hosts/{host}/rebuild", post(hosts::own::rebuild))
}

/// Ways in for people who have no token.
fn entrances() -> Router<Api> {
    Router::new()
        .route("/v1/bootstrap/script", get(bootstrap::script))
        .route("/v1/bootstrap/sessions", post(bootstrap::open_session))
        .route("/v1/bootstrap/tasks/{task}", get(bootstrap::status))
        .route(
            "/v1/bootstrap/tasks/{task}/handoff",
            get(bootstrap::handoff),
        )
        .route("/entry/{id}", get(entry::script))
        .route("/v1/entry/{id}/auth", post(entry::auth))
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
