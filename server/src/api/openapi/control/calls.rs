//! The calls, in the order of the contract.

use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Patch, Post, Put};

use super::super::Parameter;

/// Method, path, summary, schema of the body, status and schema of the answer, statuses of refusals.
pub(super) type Row = (
    HttpMethod,
    &'static str,
    &'static str,
    Option<&'static str>,
    (u16, Option<&'static str>),
    &'static [u16],
);

/// What a call may say in its query.
pub(super) fn query(path: &str) -> &'static [Parameter] {
    match path {
        "/v1/admin/events" => EVENTS,
        _ => &[],
    }
}

/// What a call says by 409, where there is one thing, or a limit.
pub(super) fn conflict(method: &HttpMethod, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        (Post, "/v1/admin/users") => "`username already exists` or `too many users`",
        (Patch, "/v1/admin/users/{user}") | (Put, "/v1/admin/users/{user}/expiry") => {
            "`cannot disable the last admin`"
        }
        (Delete, "/v1/admin/users/{user}") => "`cannot delete the last admin`",
        (Post, "/v1/admin/egress-ips") => "At odds with what is there, or `too many egress ips`",
        _ => return None,
    })
}

const EVENTS: &[Parameter] = &[
    ("type", false, "Of this type only"),
    ("user_id", false, "Of this user only"),
    ("host_id", false, "Of this host only"),
    ("device_id", false, "Of this device only"),
    ("since", false, "RFC 3339, inclusive"),
    ("until", false, "RFC 3339, inclusive"),
    ("limit", false, "1 to 200, 50 unless given"),
    ("offset", false, "How many to leave out first"),
];

/// Every call of this surface that this server has.
pub(super) const ALL: &[Row] = &[
    (
        Post,
        "/v1/auth/login",
        "A token for name and password",
        Some("Credentials"),
        (200, Some("LoggedIn")),
        &[400, 401, 403, 429],
    ),
    (
        Post,
        "/v1/admin/login",
        "The same as `/v1/auth/login`",
        Some("Credentials"),
        (200, Some("LoggedIn")),
        &[400, 401, 403, 429],
    ),
    (
        Get,
        "/healthz",
        "Whether the server can work",
        None,
        (200, Some("Health")),
        &[],
    ),
    (
        Get,
        "/v1/admin/users",
        "Users of the account, newest first",
        None,
        (200, Some("Users")),
        &[],
    ),
    (
        Post,
        "/v1/admin/users",
        "Makes a user; the password is shown this once",
        Some("NewUser"),
        (201, Some("CreatedUser")),
        &[400, 409, 429],
    ),
    (
        Get,
        "/v1/admin/users/{user}",
        "A user with their hosts",
        None,
        (200, Some("UserWithHosts")),
        &[404],
    ),
    (
        Patch,
        "/v1/admin/users/{user}",
        "Lets a user log in or not",
        Some("StatusChange"),
        (200, Some("UserEnvelope")),
        &[400, 404, 409],
    ),
    (
        Delete,
        "/v1/admin/users/{user}",
        "Removes a user with their hosts; devices stay",
        None,
        (204, None),
        &[404, 409],
    ),
    (
        Post,
        "/v1/admin/users/{user}/rotate-password",
        "Another password, which cuts tokens",
        Some("Rotation"),
        (200, Some("NewPassword")),
        &[400, 404, 429],
    ),
    (
        Put,
        "/v1/admin/users/{user}/expiry",
        "Until when a user may log in",
        Some("Expiry"),
        (200, Some("UserEnvelope")),
        &[400, 404, 409],
    ),
    (
        Post,
        "/v1/user/change-password",
        "Another password of one's own, which cuts tokens",
        Some("PasswordChange"),
        (200, Some("Status")),
        &[400, 429],
    ),
    (
        Get,
        "/v1/admin/users/{user}/ssh-keys",
        "SSH keys of a user, oldest first",
        None,
        (200, Some("SshKeys")),
        &[404],
    ),
    (
        Post,
        "/v1/admin/users/{user}/ssh-keys",
        "Adds an SSH key of a user",
        Some("NewSshKey"),
        (201, Some("SshKeyEnvelope")),
        &[400, 404, 409],
    ),
    (
        Post,
        "/v1/admin/users/{user}/ssh-keys/generate",
        "Makes an SSH key of a user; the private half is shown this once",
        Some("SshKeyWish"),
        (200, Some("GeneratedSshKey")),
        &[400, 404],
    ),
    (
        Delete,
        "/v1/admin/users/{user}/ssh-keys/{key}",
        "Removes an SSH key of a user",
        None,
        (204, None),
        &[404],
    ),
    (
        Get,
        "/v1/user/ssh-keys",
        "SSH keys of one's own, oldest first",
        None,
        (200, Some("SshKeys")),
        &[],
    ),
    (
        Post,
        "/v1/user/ssh-keys",
        "Adds an SSH key of one's own",
        Some("NewSshKey"),
        (201, Some("SshKeyEnvelope")),
        &[400, 409],
    ),
    (
        Post,
        "/v1/user/ssh-keys/generate",
        "Makes an SSH key of one's own; the private half is shown this once",
        Some("SshKeyWish"),
        (200, Some("GeneratedSshKey")),
        &[400],
    ),
    (
        Delete,
        "/v1/user/ssh-keys/{key}",
        "Removes an SSH key of one's own",
        None,
        (204, None),
        &[404],
    ),
    (
        Get,
        "/v1/admin/egress-ips",
        "Egress IPs, newest first",
        None,
        (200, Some("EgressIps")),
        &[],
    ),
    (
        Post,
        "/v1/admin/egress-ips",
        "Makes an egress IP",
        Some("EgressSettings"),
        (201, Some("EgressIpEnvelope")),
        &[400, 409],
    ),
    (
        Get,
        "/v1/admin/egress-ips/{ip}",
        "An egress IP without its secrets",
        None,
        (200, Some("EgressIpEnvelope")),
        &[404],
    ),
    (
        Put,
        "/v1/admin/egress-ips/{ip}",
        "Changes what is given, leaves the rest",
        Some("EgressSettings"),
        (200, Some("EgressIpEnvelope")),
        &[400, 404, 409],
    ),
    (
        Delete,
        "/v1/admin/egress-ips/{ip}",
        "Removes an egress IP that is not bound",
        None,
        (204, None),
        &[404, 409],
    ),
    (
        Post,
        "/v1/admin/egress-ips/{ip}/test",
        "Tests an egress IP through its own tunnel",
        None,
        (200, Some("EgressTest")),
        &[400, 404],
    ),
    (
        Post,
        "/v1/admin/bindings",
        "Binds a host to an egress IP",
        Some("NewBinding"),
        (201, Some("BindingEnvelope")),
        &[400, 404, 409],
    ),
    (
        Delete,
        "/v1/admin/bindings/{binding}",
        "Removes a binding",
        None,
        (204, None),
        &[404, 409],
    ),
    (
        Get,
        "/v1/admin/events",
        "What happened, newest first",
        None,
        (200, Some("Events")),
        &[400],
    ),
    (
        Get,
        "/v1/admin/dashboard/stats",
        "Counts of the account",
        None,
        (200, Some("Stats")),
        &[],
    ),
];
