//! Users and their SSH keys (control contract sections 4 and 5).

use moorline_protocol::Secret;
use uuid::Uuid;

use super::{AccountId, PublicKey, Timestamp, UserId};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything in the account.
    Admin,
    /// Their own hosts.
    User,
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// Yes.
    Active,
    /// No, an administrator said so.
    Disabled,
    /// No, their time is over.
    Expired,
}

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    /// UUID.
    pub id: UserId,
    /// Their account.
    pub account: AccountId,
    /// 3-50 characters, unique in the installation.
    pub username: String,
    /// Unique over users and hosts.
    pub short_id: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub status: UserStatus,
    /// When that ends.
    pub expires_at: Option<Timestamp>,
    /// argon2id, PHC form.
    pub password_hash: Secret<String>,
    /// Tokens with another number are refused.
    pub token_version: i64,
    /// Counts up with each change of their keys.
    pub keys_version: i64,
    /// When made.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// What a user's key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Logs the user in.
    Inbound,
    /// Is put into the user's container hosts.
    Outbound,
}

/// A key of a user. The private half of an outbound one is asked for apart.
#[derive(Clone, Debug)]
pub struct UserKey {
    /// UUID.
    pub id: Uuid,
    /// Whose.
    pub user: UserId,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// A word for it.
    pub label: String,
    /// The key.
    pub public_key: PublicKey,
    /// State of the user's keys that it came with ([`User::keys_version`]): hosts with a lower one lack it.
    pub version: i64,
    /// When made.
    pub created_at: Timestamp,
}

/// What a new key of a user shall be.
#[derive(Clone, Debug)]
pub struct NewUserKey {
    /// What it is for.
    pub purpose: KeyPurpose,
    /// A word for it.
    pub label: String,
    /// The key.
    pub public_key: PublicKey,
    /// Its private half in OpenSSH format; kept sealed.
    pub private_key: Option<Secret<String>>,
}

/// What a new user shall be.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Their account.
    pub account: AccountId,
    /// Unique in the installation.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// argon2id, PHC form.
    pub password_hash: Secret<String>,
    /// When their time is over.
    pub expires_at: Option<Timestamp>,
    /// `None` makes up 6 of `a-z 0-9`.
    pub short_id: Option<String>,
}

super::texts!(Role { Admin = "admin", User = "user" });

super::texts!(UserStatus { Active = "active", Disabled = "disabled", Expired = "expired" });

super::texts!(KeyPurpose { Inbound = "inbound", Outbound = "outbound" });
