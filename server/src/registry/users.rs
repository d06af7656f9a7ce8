//! People: made and found.

use moorline_protocol::Secret;
use sea_orm::EntityTrait as _;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, DatabaseTransaction};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

use super::entity::{short_id, user, user_key};
use super::error::{Attempt as _, RegistryError, UserError};
use super::hosts::{ShortIdOwner, take_short_id};
use super::model::{
    AccountId, KeyPurpose, NewUser, PublicKey, Role, Timestamp, User, UserId, UserStatus,
};
use super::{Registry, is_storable};
use crate::random;

/// Tries to find a short id that nobody has; of 2 billion hardly any is taken.
const SHORT_ID_TRIES: usize = 8;
/// Users that an account may have; all of them are listed in one answer.
const MAX_USERS: u64 = 50_000;

impl Registry {
    /// Whether there is an administrator.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn any_admin(&self) -> Result<bool, RegistryError> {
        let count = user::Entity::find()
            .filter(user::Column::Role.eq(Role::Admin.as_str()))
            .count(&self.store.read)
            .await
            .attempt("count administrators")?;
        Ok(count > 0)
    }

    /// Makes a user. Nobody gets the short id of another one as their name, or the other way round: who is meant would
    /// not be certain.
    ///
    /// # Errors
    /// [`UserError`].
    pub async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        for _ in 0..SHORT_ID_TRIES {
            let chosen = new.short_id.is_some();
            match self.insert_user(&new).await {
                Err(UserError::ShortIdTaken) if !chosen => {}
                other => return other,
            }
        }
        Err(UserError::ShortIdTaken)
    }

    async fn insert_user(&self, new: &NewUser) -> Result<User, UserError> {
        let now = Timestamp::now().0;
        let id = UserId(Uuid::new_v4());
        let short_id = new.short_id.clone().unwrap_or_else(random::short_id);
        let row = user::ActiveModel {
            id: ActiveValue::Set(id.0),
            account_id: ActiveValue::Set(new.account.0),
            username: ActiveValue::Set(new.username.clone()),
            short_id: ActiveValue::Set(short_id.clone()),
            role: ActiveValue::Set(new.role.as_str().to_owned()),
            status: ActiveValue::Set(UserStatus::Active.as_str().to_owned()),
            expires_at: ActiveValue::Set(new.expires_at.map(|at| at.0)),
            password_hash: ActiveValue::Set(new.password_hash.expose().clone()),
            token_version: ActiveValue::Set(0),
            created_at: ActiveValue::Set(now),
            updated_at: ActiveValue::Set(now),
            keys_version: ActiveValue::Set(0),
        };
        let transaction = self.store.begin().await?;
        keep_apart(&transaction, &new.username, &short_id).await?;
        let present = user::Entity::find()
            .filter(user::Column::AccountId.eq(new.account.0))
            .count(&transaction)
            .await
            .attempt("count users")?;
        if present >= MAX_USERS {
            return Err(UserError::TooMany);
        }
        let refused = |error: RegistryError| match error.unique_violation() {
            Some(columns) if columns.contains("short_id") => UserError::ShortIdTaken,
            Some(_) => UserError::UsernameTaken,
            None => error.into(),
        };
        let inserted = row.insert(&transaction).await.attempt("create user");
        let row = inserted.map_err(refused)?;
        take_short_id(&transaction, short_id, ShortIdOwner::User(id))
            .await
            .map_err(refused)?;
        transaction.commit().await.attempt("create user")?;
        Ok(User::try_from(row)?)
    }

    /// How many users of an account may log in.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_active_users(&self, account: AccountId) -> Result<u64, RegistryError> {
        user::Entity::find()
            .filter(user::Column::AccountId.eq(account.0))
            .filter(user::Column::Status.eq(UserStatus::Active.as_str()))
            .filter(
                user::Column::ExpiresAt
                    .is_null()
                    .or(user::Column::ExpiresAt.gt(Timestamp::now().0)),
            )
            .count(&self.store.read)
            .await
            .attempt("count users")
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, RegistryError> {
        user::Entity::find_by_id(id.0)
            .one(&self.store.read)
            .await
            .attempt("read user")?
            .map(User::try_from)
            .transpose()
    }

    /// All users, oldest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users(&self) -> Result<Vec<User>, RegistryError> {
        user::Entity::find()
            .order_by_asc(user::Column::CreatedAt)
            .order_by_asc(user::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list users")?
            .into_iter()
            .map(User::try_from)
            .collect()
    }

    /// The user who logs in as `identifier`: a username, else a short id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn user_by_login(&self, identifier: &str) -> Result<Option<User>, RegistryError> {
        if !is_storable(identifier) {
            return Ok(None);
        }
        let rows = user::Entity::find()
            .filter(
                user::Column::Username
                    .eq(identifier)
                    .or(user::Column::ShortId.eq(identifier)),
            )
            .all(&self.store.read)
            .await
            .attempt("read user")?;
        rows.into_iter()
            .max_by_key(|row| row.username == identifier)
            .map(User::try_from)
            .transpose()
    }

    /// The user with this short id, whatever names others have.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn user_by_short_id(&self, short_id: &str) -> Result<Option<User>, RegistryError> {
        if !is_storable(short_id) {
            return Ok(None);
        }
        user::Entity::find()
            .filter(user::Column::ShortId.eq(short_id))
            .one(&self.store.read)
            .await
            .attempt("read user")?
            .map(User::try_from)
            .transpose()
    }

    /// Who may log in with `key`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users_by_key(&self, key: &PublicKey) -> Result<Vec<User>, RegistryError> {
        let owners: Vec<Uuid> = user_key::Entity::find()
            .filter(user_key::Column::Fingerprint.eq(key.fingerprint.as_str()))
            .filter(user_key::Column::Purpose.eq(KeyPurpose::Inbound.as_str()))
            .all(&self.store.read)
            .await
            .attempt("find user by key")?
            .into_iter()
            .map(|row| row.user_id)
            .collect();
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        user::Entity::find()
            .filter(user::Column::Id.is_in(owners))
            .order_by_asc(user::Column::CreatedAt)
            .all(&self.store.read)
            .await
            .attempt("find user by key")?
            .into_iter()
            .map(User::try_from)
            .collect()
    }
}

/// Refuses a username that is a short id, and a short id that is another's username.
async fn keep_apart(
    transaction: &DatabaseTransaction,
    username: &str,
    short_id: &str,
) -> Result<(), UserError> {
    let named = short_id::Entity::find_by_id(username)
        .count(transaction)
        .await
        .attempt("look up short id")?;
    if named > 0 {
        return Err(UserError::UsernameTaken);
    }
    let called = user::Entity::find()
        .filter(user::Column::Username.eq(short_id))
        .filter(user::Column::Username.ne(username))
        .count(transaction)
        .await
        .attempt("look up username")?;
    if called > 0 {
        return Err(UserError::ShortIdTaken);
    }
    Ok(())
}

impl TryFrom<user::Model> for User {
    type Error = RegistryError;

    fn try_from(row: user::Model) -> Result<Self, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        let expires_at = row.expires_at.map(Timestamp);
        let mut status = UserStatus::parse(&row.status).ok_or_else(|| damaged("users.status"))?;
        if status == UserStatus::Active && expires_at.is_some_and(|at| at <= Timestamp::now()) {
            status = UserStatus::Expired;
        }
        Ok(Self {
            id: UserId(row.id),
            account: AccountId(row.account_id),
            username: row.username,
            short_id: row.short_id,
            role: Role::parse(&row.role).ok_or_else(|| damaged("users.role"))?,
            status,
            expires_at,
            password_hash: Secret::new(row.password_hash),
            token_version: row.token_version,
            keys_version: row.keys_version,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}
