//! SSH keys of users: those they log in with, and identities for their container hosts (control contract section 5).

use moorline_protocol::Secret;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use sea_orm::{QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{host, user, user_key};
use super::error::{Attempt as _, RegistryError, UserKeyError};
use super::model::{
    HostKind, HostStatus, KeyPurpose, NewUserKey, PublicKey, Timestamp, UserId, UserKey,
};

/// Keys that one user may have.
const MAX_KEYS: u64 = 1000;
/// Users named in one statement; databases limit them.
const IDS_AT_ONCE: usize = 500;

impl Registry {
    /// The keys of a user, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn user_keys(&self, id: UserId) -> Result<Vec<UserKey>, RegistryError> {
        let rows = user_key::Entity::find()
            .filter(user_key::Column::UserId.eq(id.0))
            .order_by_asc(user_key::Column::CreatedAt)
            .order_by_asc(user_key::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list user keys")?;
        rows.into_iter().map(UserKey::try_from).collect()
    }

    /// The keys that these users may log in with, by fingerprint.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn inbound_keys_of(
        &self,
        users: &[UserId],
    ) -> Result<Vec<(UserId, String)>, RegistryError> {
        let mut found = Vec::new();
        for part in users.chunks(IDS_AT_ONCE) {
            let rows: Vec<(Uuid, String)> = user_key::Entity::find()
                .select_only()
                .column(user_key::Column::UserId)
                .column(user_key::Column::Fingerprint)
                .filter(user_key::Column::UserId.is_in(part.iter().map(|id| id.0)))
                .filter(user_key::Column::Purpose.eq(KeyPurpose::Inbound.as_str()))
                .into_tuple()
                .all(&self.store.read)
                .await
                .attempt("list keys of users")?;
            found.extend(rows.into_iter().map(|(id, key)| (UserId(id), key)));
        }
        Ok(found)
    }

    /// The lowest state of this user's keys that one of their running container hosts has; `None` when none runs.
    /// Keys of a later [`UserKey::version`] have not reached all of them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn keys_version_on_hosts(&self, id: UserId) -> Result<Option<i64>, RegistryError> {
        host::Entity::find()
            .select_only()
            .column_as(host::Column::KeysVersion.min(), "lowest")
            .filter(host::Column::UserId.eq(id.0))
            .filter(host::Column::Kind.eq(HostKind::Container.as_str()))
            .filter(host::Column::Status.eq(HostStatus::Running.as_str()))
            .into_tuple::<Option<i64>>()
            .one(&self.store.read)
            .await
            .map(Option::flatten)
            .attempt("read keys of hosts")
    }

    /// Gives a user a key. Several users may share one; a private half is kept sealed.
    ///
    /// # Errors
    /// [`UserKeyError`].
    pub async fn add_user_key(&self, id: UserId, new: NewUserKey) -> Result<UserKey, UserKeyError> {
        let key = Uuid::new_v4();
        let sealed = match &new.private_key {
            Some(private) => {
                let plain = private.expose().as_bytes();
                let sealed = self.store.keys.seal(&private_key_place(key), plain);
                Some(sealed.map_err(|_| RegistryError::Seal {
                    attempt: "seal private key",
                })?)
            }
            None => None,
        };
        let transaction = self.store.begin().await?;
        let version = count_up(&transaction, id)
            .await?
            .ok_or(UserKeyError::UnknownUser)?;
        let present = user_key::Entity::find()
            .filter(user_key::Column::UserId.eq(id.0))
            .count(&transaction)
            .await
            .attempt("count user keys")?;
        if present >= MAX_KEYS {
            return Err(UserKeyError::TooMany);
        }
        let row = user_key::ActiveModel {
            id: ActiveValue::Set(key),
            user_id: ActiveValue::Set(id.0),
            label: ActiveValue::Set(new.label),
            public_key: ActiveValue::Set(new.public_key.canonical),
            comment: ActiveValue::Set(new.public_key.comment),
            fingerprint: ActiveValue::Set(new.public_key.fingerprint),
            created_at: ActiveValue::Set(Timestamp::now().0),
            purpose: ActiveValue::Set(new.purpose.as_str().to_owned()),
            private_key_sealed: ActiveValue::Set(sealed),
            version: ActiveValue::Set(version),
        };
        let row = match row.insert(&transaction).await.attempt("add user key") {
            Ok(row) => row,
            Err(error) if error.unique_violation().is_some() => return Err(UserKeyError::Exists),
            Err(error) => return Err(error.into()),
        };
        transaction.commit().await.attempt("add user key")?;
        Ok(UserKey::try_from(row)?)
    }

    /// Takes a key away from a user. False when they have no such key.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn remove_user_key(&self, id: UserId, key: Uuid) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let done = user_key::Entity::delete_many()
            .filter(user_key::Column::Id.eq(key))
            .filter(user_key::Column::UserId.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("remove user key")?;
        if done.rows_affected > 0 {
            count_up(&transaction, id).await?;
        }
        transaction.commit().await.attempt("remove user key")?;
        Ok(done.rows_affected > 0)
    }

    /// The private half of an outbound key, in OpenSSH format.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn user_private_key(
        &self,
        key: Uuid,
    ) -> Result<Option<Secret<String>>, RegistryError> {
        let row = user_key::Entity::find_by_id(key)
            .one(&self.store.read)
            .await
            .attempt("read private key")?;
        let Some(sealed) = row.and_then(|row| row.private_key_sealed) else {
            return Ok(None);
        };
        let opened = self.store.keys.open(&private_key_place(key), &sealed);
        let plain = opened.map_err(|_| RegistryError::Seal {
            attempt: "open private key",
        })?;
        String::from_utf8(plain.into_exposed())
            .map(|text| Some(Secret::new(text)))
            .map_err(|_| RegistryError::Damaged {
                column: "user_keys.private_key_sealed",
            })
    }
}

/// A new state of this user's keys; `None` when there is no such user.
async fn count_up(
    transaction: &DatabaseTransaction,
    id: UserId,
) -> Result<Option<i64>, RegistryError> {
    // The row is locked by this, so that two changes at once get two numbers.
    user::Entity::update_many()
        .col_expr(
            user::Column::KeysVersion,
            Expr::col(user::Column::KeysVersion).add(1),
        )
        .filter(user::Column::Id.eq(id.0))
        .exec(transaction)
        .await
        .attempt("count changes of keys")?;
    user::Entity::find_by_id(id.0)
        .select_only()
        .column(user::Column::KeysVersion)
        .into_tuple()
        .one(transaction)
        .await
        .attempt("count changes of keys")
}

/// Where private keys are sealed into, before the id.
pub(super) const SEALED_AT: &str = "user_keys.private_key";

/// Where a private key is sealed into: it opens for its own row alone.
fn private_key_place(key: Uuid) -> String {
    format!("{SEALED_AT} {key}")
}

impl TryFrom<user_key::Model> for UserKey {
    type Error = RegistryError;

    fn try_from(row: user_key::Model) -> Result<Self, RegistryError> {
        Ok(Self {
            id: row.id,
            user: UserId(row.user_id),
            purpose: KeyPurpose::parse(&row.purpose).ok_or(RegistryError::Damaged {
                column: "user_keys.purpose",
            })?,
            label: row.label,
            public_key: PublicKey {
                canonical: row.public_key,
                comment: row.comment,
                fingerprint: row.fingerprint,
            },
            version: row.version,
            created_at: Timestamp(row.created_at),
        })
    }
}
