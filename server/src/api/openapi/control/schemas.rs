//! Bodies and answers.

use super::Kind::{Decimal, Flag, Integer, List, Object, Of, Text, Time, Uuid};
use super::Member;
use super::Presence::{Always, MayLack};

const USER: &[Member] = &[
    ("id", Uuid, Always, ""),
    (
        "username",
        Text,
        Always,
        "3-50 characters, unique in the installation",
    ),
    ("status", Text, Always, "active, disabled or expired"),
    ("role", Text, Always, "admin or user"),
    ("short_id", Text, Always, "Unique over users and hosts"),
    ("expires_at", Time, MayLack, "Absent: never"),
    ("created_at", Time, Always, ""),
    ("updated_at", Time, Always, ""),
];

const NEW_USER: &[Member] = &[
    ("username", Text, Always, "3-50 characters"),
    (
        "password",
        Text,
        MayLack,
        "8-128 characters; generated when absent",
    ),
    (
        "expires_at",
        Time,
        MayLack,
        "In the future; absent or null: never",
    ),
];

const SSH_KEY: &[Member] = &[
    ("id", Uuid, Always, ""),
    ("user_id", Uuid, Always, ""),
    (
        "purpose",
        Text,
        Always,
        "inbound: may log in; outbound: put into container hosts",
    ),
    ("label", Text, Always, ""),
    ("public_key", Text, Always, "OpenSSH format"),
    ("key_type", Text, Always, "ed25519, rsa or ecdsa"),
    ("fingerprint", Text, Always, "SHA256:…"),
    ("created_at", Time, Always, ""),
    ("source", Text, Always, "managed"),
    (
        "synced",
        Flag,
        Always,
        "All running hosts of the user have it",
    ),
];

const NEW_SSH_KEY: &[Member] = &[
    ("public_key", Text, MayLack, "Required for inbound keys"),
    ("purpose", Text, MayLack, "inbound (default) or outbound"),
    (
        "label",
        Text,
        MayLack,
        "The comment of the key unless given",
    ),
    (
        "private_key",
        Text,
        MayLack,
        "Of an outbound key: OpenSSH or PEM, not encrypted",
    ),
];

const GENERATED_SSH_KEY: &[Member] = &[
    ("key", Of("SshKey"), Always, ""),
    ("public_key", Text, Always, ""),
    (
        "private_key",
        Text,
        Always,
        "OpenSSH format, shown this once",
    ),
    ("key_type", Text, Always, ""),
];

const HOST: &[Member] = &[
    ("id", Uuid, Always, ""),
    ("user_id", Uuid, Always, ""),
    (
        "status",
        Text,
        Always,
        "pending, running, stopped or failed",
    ),
    ("short_id", Text, Always, "Unique over users and hosts"),
    ("template_image_ref", Text, Always, ""),
    ("home_volume_name", Text, Always, ""),
    ("slot_key", Text, Always, ""),
    ("timezone", Text, Always, "IANA name"),
    ("hostname", Text, Always, ""),
    ("memory_limit_mb", Integer, Always, ""),
    ("cpu_limit", Decimal, Always, ""),
    ("disk_limit_gb", Integer, Always, ""),
    ("created_at", Time, Always, ""),
    ("updated_at", Time, Always, ""),
    ("kind", Text, Always, "container or device"),
    ("device_id", Uuid, MayLack, "The device of a device host"),
];

const EGRESS_IP: &[Member] = &[
    ("id", Uuid, Always, ""),
    ("label", Text, Always, ""),
    (
        "ip_address",
        Text,
        Always,
        "The declared exit address, unique in the account",
    ),
    ("provider", Text, Always, ""),
    ("status", Text, Always, "available or disabled"),
    ("tunnel_type", Text, Always, "wireguard or proxy"),
    ("wg_endpoint", Text, MayLack, ""),
    ("wg_public_key", Text, MayLack, "Of the provider"),
    ("wg_allowed_ips", Text, Always, "Empty for a proxy"),
    ("wg_dns_server", Text, MayLack, ""),
    ("wg_peer_address", Text, MayLack, ""),
    (
        "wg_client_public_key",
        Text,
        MayLack,
        "Public half of our side, for the provider",
    ),
    (
        "proxy_config",
        Object,
        MayLack,
        "A sing-box outbound; passwords and uuids read ***",
    ),
    ("created_at", Time, Always, ""),
    ("updated_at", Time, Always, ""),
];

const EGRESS_SETTINGS: &[Member] = &[
    ("label", Text, MayLack, "Required for a new one"),
    ("ip_address", Text, MayLack, "Required for a new one"),
    ("provider", Text, MayLack, "manual unless given"),
    (
        "status",
        Text,
        MayLack,
        "available or disabled; in a change only",
    ),
    ("tunnel_type", Text, MayLack, "wireguard (default) or proxy"),
    (
        "wg_endpoint",
        Text,
        MayLack,
        "null empties it, as every optional member",
    ),
    ("wg_public_key", Text, MayLack, ""),
    ("wg_allowed_ips", Text, MayLack, "0.0.0.0/0 unless given"),
    ("wg_dns_server", Text, MayLack, ""),
    ("wg_peer_address", Text, MayLack, ""),
    (
        "wg_private_key",
        Text,
        MayLack,
        "Made by the server unless given; never shown",
    ),
    ("wg_preshared_key", Text, MayLack, "Never shown"),
    (
        "proxy_config",
        Object,
        MayLack,
        "Replaced as a whole; *** keeps a secret",
    ),
];

const EGRESS_TEST: &[Member] = &[
    ("status", Text, Always, "passed, partial, failed or error"),
    ("message", Text, MayLack, "Why no tunnel was built"),
    ("tested_at", Time, Always, ""),
    (
        "results",
        Object,
        Always,
        "connectivity, egress_ip, dns_leak: each with its status",
    ),
];

const EVENT: &[Member] = &[
    ("id", Uuid, Always, ""),
    ("task_id", Uuid, MayLack, ""),
    ("host_id", Uuid, MayLack, ""),
    ("user_id", Uuid, MayLack, ""),
    ("device_id", Uuid, MayLack, ""),
    ("level", Text, Always, "info, warn or error"),
    ("type", Text, Always, "auth.failed, admin.user.created …"),
    ("message", Text, Always, ""),
    ("metadata", Object, Always, ""),
    ("created_at", Time, Always, ""),
];

/// Name and members.
pub(super) const ALL: &[(&str, &[Member])] = &[
    ("Error", &[("error", Text, Always, "")]),
    (
        "Credentials",
        &[
            ("username", Text, MayLack, "A username, else a short id"),
            ("short_id", Text, MayLack, "May stand for username"),
            ("password", Text, Always, ""),
        ],
    ),
    (
        "LoggedIn",
        &[
            ("token", Text, Always, "JWT, valid for 24 h"),
            ("role", Text, Always, "admin or user"),
            ("username", Text, Always, ""),
            ("short_id", Text, Always, ""),
            ("expires_in", Integer, Always, "Seconds"),
        ],
    ),
    ("User", USER),
    ("Users", &[("users", List("User"), Always, "")]),
    ("UserEnvelope", &[("user", Of("User"), Always, "")]),
    (
        "UserWithHosts",
        &[
            ("user", Of("User"), Always, ""),
            ("hosts", List("Host"), Always, ""),
        ],
    ),
    ("NewUser", NEW_USER),
    (
        "CreatedUser",
        &[
            ("user", Of("User"), Always, ""),
            ("short_id", Text, Always, ""),
            ("password", Text, Always, "Shown this once"),
        ],
    ),
    (
        "StatusChange",
        &[("status", Text, Always, "active or disabled")],
    ),
    (
        "Rotation",
        &[(
            "new_password",
            Text,
            MayLack,
            "8-128 characters; generated when absent or blank",
        )],
    ),
    (
        "NewPassword",
        &[("new_password", Text, Always, "Shown this once")],
    ),
    (
        "Expiry",
        &[("expires_at", Time, MayLack, "In the future; null: never")],
    ),
    (
        "PasswordChange",
        &[
            ("old_password", Text, Always, ""),
            ("new_password", Text, Always, "8-128 characters"),
        ],
    ),
    ("Status", &[("status", Text, Always, "ok")]),
    ("SshKey", SSH_KEY),
    (
        "SshKeys",
        &[("keys", List("SshKey"), Always, "Oldest first")],
    ),
    ("SshKeyEnvelope", &[("key", Of("SshKey"), Always, "")]),
    ("NewSshKey", NEW_SSH_KEY),
    (
        "SshKeyWish",
        &[
            ("key_type", Text, MayLack, "ed25519 (default) or rsa"),
            ("purpose", Text, MayLack, "inbound (default) or outbound"),
            ("label", Text, MayLack, ""),
        ],
    ),
    ("GeneratedSshKey", GENERATED_SSH_KEY),
    ("Host", HOST),
    ("EgressIp", EGRESS_IP),
    ("EgressSettings", EGRESS_SETTINGS),
    (
        "EgressIps",
        &[("egress_ips", List("EgressIp"), Always, "Newest first")],
    ),
    (
        "EgressIpEnvelope",
        &[("egress_ip", Of("EgressIp"), Always, "")],
    ),
    ("EgressTest", EGRESS_TEST),
    (
        "NewBinding",
        &[
            (
                "host_id",
                Uuid,
                Always,
                "A container host that does not run",
            ),
            ("egress_ip_id", Uuid, Always, ""),
        ],
    ),
    (
        "Binding",
        &[
            ("binding_id", Uuid, Always, ""),
            ("host_id", Uuid, Always, ""),
            ("egress_ip_id", Uuid, Always, ""),
            ("created_at", Time, Always, ""),
        ],
    ),
    ("BindingEnvelope", &[("binding", Of("Binding"), Always, "")]),
    ("Event", EVENT),
    (
        "Events",
        &[
            ("events", List("Event"), Always, "Newest first"),
            ("total", Integer, Always, "In all"),
            ("limit", Integer, Always, ""),
            ("offset", Integer, Always, ""),
        ],
    ),
    (
        "Stats",
        &[
            ("active_users", Integer, Always, ""),
            ("running_hosts", Integer, Always, ""),
            ("available_ips", Integer, Always, ""),
        ],
    ),
    (
        "Health",
        &[
            ("status", Text, Always, "ok, warning or degraded"),
            ("checks", Object, Always, "database, agent"),
            ("tunnels", Integer, Always, "Devices connected to this node"),
        ],
    ),
];
