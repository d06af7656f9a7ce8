//! People and the SSH keys they log in with.

use moorline_protocol::Secret;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{user, user_key};
use super::error::{Attempt as _, RegistryError, UserError, UserKeyError};
use super::model::{
    AccountId, NewUser, PublicKey, Role, Timestamp, User, UserId, UserKey, UserStatus,
};
use crate::random;

/// Tries to find a short id that nobody has; of 2 billion hardly any is taken.
const SHORT_ID_TRIES: usize = 8;

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

    /// Makes a user.
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
        let row = user::ActiveModel {
            id: ActiveValue::Set(Uuid::new_v4()),
            account_id: ActiveValue::Set(new.account.0),
            username: ActiveValue::Set(new.username.clone()),
            short_id: ActiveValue::Set(new.short_id.clone().unwrap_or_else(random::short_id)),
            role: ActiveValue::Set(new.role.as_str().to_owned()),
            status: ActiveValue::Set(UserStatus::Active.as_str().to_owned()),
            expires_at: ActiveValue::Set(new.expires_at.map(|at| at.0)),
            password_hash: ActiveValue::Set(new.password_hash.expose().clone()),
            token_version: ActiveValue::Set(0),
            created_at: ActiveValue::Set(now),
            updated_at: ActiveValue::Set(now),
        };
        match row.insert(&self.store.write).await.attempt("create user") {
            Ok(row) => Ok(User::try_from(row)?),
            Err(error) => Err(match error.unique_violation() {
                Some(columns) if columns.contains("short_id") => UserError::ShortIdTaken,
                Some(_) => UserError::UsernameTaken,
                None => error.into(),
            }),
        }
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

    /// Replaces the password hash; tokens given out before are refused from then on. False when there is no such user.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_password_hash(
        &self,
        id: UserId,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        let done = user::Entity::update_many()
            .col_expr(user::Column::PasswordHash, Expr::value(hash.into_exposed()))
            .col_expr(
                user::Column::TokenVersion,
                Expr::col(user::Column::TokenVersion).add(1),
            )
            .col_expr(user::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .filter(user::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("set password")?;
        Ok(done.rows_affected > 0)
    }

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
        Ok(rows.into_iter().map(UserKey::from).collect())
    }

    /// Lets a user log in with `key`. Several users may share a key.
    ///
    /// # Errors
    /// [`UserKeyError`].
    pub async fn add_user_key(
        &self,
        id: UserId,
        label: &str,
        key: PublicKey,
    ) -> Result<UserKey, UserKeyError> {
        if self.user(id).await?.is_none() {
            return Err(UserKeyError::UnknownUser);
        }
        let row = user_key::ActiveModel {
            id: ActiveValue::Set(Uuid::new_v4()),
            user_id: ActiveValue::Set(id.0),
            label: ActiveValue::Set(label.to_owned()),
            public_key: ActiveValue::Set(key.canonical),
            comment: ActiveValue::Set(key.comment),
            fingerprint: ActiveValue::Set(key.fingerprint),
            created_at: ActiveValue::Set(Timestamp::now().0),
        };
        match row.insert(&self.store.write).await.attempt("add user key") {
            Ok(row) => Ok(row.into()),
            Err(error) if error.unique_violation().is_some() => Err(UserKeyError::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a key away from a user. False when they have no such key.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn remove_user_key(&self, id: UserId, key: Uuid) -> Result<bool, RegistryError> {
        let done = user_key::Entity::delete_many()
            .filter(user_key::Column::Id.eq(key))
            .filter(user_key::Column::UserId.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("remove user key")?;
        Ok(done.rows_affected > 0)
    }

    /// Who may log in with `key`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users_by_key(&self, key: &PublicKey) -> Result<Vec<User>, RegistryError> {
        let owners: Vec<Uuid> = user_key::Entity::find()
            .filter(user_key::Column::Fingerprint.eq(key.fingerprint.as_str()))
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
            created_at: Timestamp(row.created_at),
        })
    }
}

impl From<user_key::Model> for UserKey {
    fn from(row: user_key::Model) -> Self {
        Self {
            id: row.id,
            user: UserId(row.user_id),
            label: row.label,
            public_key: PublicKey {
                canonical: row.public_key,
                comment: row.comment,
                fingerprint: row.fingerprint,
            },
            created_at: Timestamp(row.created_at),
        }
    }
}
