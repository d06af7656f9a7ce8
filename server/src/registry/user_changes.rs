//! Changing, expiring and deleting users (control contract sections 4 and 15).

use moorline_protocol::Secret;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};
use sea_orm::{QueryOrder as _, QuerySelect as _, UpdateMany};

use super::Registry;
use super::entity::{event, host, one_time_password, task, user};
use super::error::{Attempt as _, ChangeUserError, RegistryError};
use super::events::event_row;
use super::model::{
    AccountId, Host, NewEvent, Role, TaskStatus, Timestamp, User, UserId, UserStatus,
};
use super::tasks::stop_hosts_of;

/// Users that become expired in one transaction; more wait for the next.
const EXPIRED_AT_ONCE: u64 = 500;

impl Registry {
    /// The users of an account, newest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users_of(&self, account: AccountId) -> Result<Vec<User>, RegistryError> {
        user::Entity::find()
            .filter(user::Column::AccountId.eq(account.0))
            .order_by_desc(user::Column::CreatedAt)
            .order_by_desc(user::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list users")?
            .into_iter()
            .map(User::try_from)
            .collect()
    }

    /// Replaces the password hash; tokens and one-time passwords given out before are refused from then on. False when
    /// there is no such user.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_password_hash(
        &self,
        id: UserId,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let done = cut_tokens(user::Entity::update_many())
            .col_expr(user::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .col_expr(user::Column::PasswordHash, Expr::value(hash.into_exposed()))
            .filter(user::Column::Id.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("set password")?;
        end_one_time_passwords(&transaction, id).await?;
        transaction.commit().await.attempt("set password")?;
        Ok(done.rows_affected > 0)
    }

    /// As [`Self::set_password_hash`], while the user is active and the hash is still `present`: between the check of a
    /// password and its change somebody else may have changed it. False when it is not.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn change_password_hash(
        &self,
        id: UserId,
        present: &Secret<String>,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        let done = cut_tokens(user::Entity::update_many())
            .col_expr(user::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .col_expr(user::Column::PasswordHash, Expr::value(hash.into_exposed()))
            .filter(user::Column::Id.eq(id.0))
            .filter(user::Column::PasswordHash.eq(present.expose().as_str()))
            .filter(user::Column::Status.eq(UserStatus::Active.as_str()))
            .exec(&self.store.write)
            .await
            .attempt("change password")?;
        Ok(done.rows_affected > 0)
    }

    /// Lets a user log in, or not: then their tokens are refused for good.
    ///
    /// # Errors
    /// [`ChangeUserError`]; an account keeps an active administrator.
    pub async fn set_user_status(
        &self,
        account: AccountId,
        id: UserId,
        status: UserStatus,
    ) -> Result<User, ChangeUserError> {
        let transaction = self.store.begin().await?;
        if status != UserStatus::Active {
            keep_an_admin(&transaction, account, id).await?;
        }
        locked(&transaction, account, id).await?;
        let mut update = user::Entity::update_many()
            .col_expr(user::Column::Status, Expr::value(status.as_str()))
            .col_expr(user::Column::UpdatedAt, Expr::value(Timestamp::now().0));
        if status != UserStatus::Active {
            end_one_time_passwords(&transaction, id).await?;
            update = cut_tokens(update);
        }
        changed(transaction, update, id).await
    }

    /// Sets when a user's time is over. Does not take an expired one into service again.
    ///
    /// # Errors
    /// [`ChangeUserError`]; an account keeps an administrator whose time does not end.
    pub async fn set_user_expiry(
        &self,
        account: AccountId,
        id: UserId,
        expires_at: Option<Timestamp>,
    ) -> Result<User, ChangeUserError> {
        let transaction = self.store.begin().await?;
        if expires_at.is_some() {
            keep_a_lasting_admin(&transaction, account, id).await?;
        }
        let found = locked(&transaction, account, id).await?;
        let now = Timestamp::now();
        let mut update = user::Entity::update_many()
            .col_expr(
                user::Column::ExpiresAt,
                Expr::value(expires_at.map(|at| at.0)),
            )
            .col_expr(user::Column::UpdatedAt, Expr::value(now.0));
        // Their time was over before anyone looked: a new date must not bring them back.
        if found.expires_at.is_some_and(|at| at <= now.0)
            && found.status == UserStatus::Active.as_str()
        {
            update = cut_tokens(update).col_expr(
                user::Column::Status,
                Expr::value(UserStatus::Expired.as_str()),
            );
        }
        changed(transaction, update, id).await
    }

    /// Removes a user with their keys and hosts, and gives the hosts that went. Devices stay.
    ///
    /// # Errors
    /// [`ChangeUserError`]; an account keeps an active administrator.
    pub async fn delete_user(
        &self,
        account: AccountId,
        id: UserId,
    ) -> Result<Vec<Host>, ChangeUserError> {
        let transaction = self.store.begin().await?;
        keep_an_admin(&transaction, account, id).await?;
        locked(&transaction, account, id).await?;
        let hosts = host::Entity::find()
            .filter(host::Column::UserId.eq(id.0))
            .order_by_asc(host::Column::CreatedAt)
            .all(&transaction)
            .await
            .attempt("list hosts of user")?;
        cancel_tasks(&transaction, &hosts).await?;
        user::Entity::delete_by_id(id.0)
            .exec(&transaction)
            .await
            .attempt("delete user")?;
        transaction.commit().await.attempt("delete user")?;
        let hosts: Result<Vec<Host>, _> = hosts.into_iter().map(Host::try_from).collect();
        Ok(hosts?)
    }

    /// Makes users whose time is over `expired`, with their tokens cut and an event each, and gives them. Whatever
    /// else follows from it, such as the stopping of their hosts, belongs into the same transaction, so that a crash
    /// leaves nothing half done.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn expire_users(&self, now: Timestamp) -> Result<Vec<User>, RegistryError> {
        let transaction = self.store.begin().await?;
        let due = user::Entity::find()
            .filter(user::Column::Status.eq(UserStatus::Active.as_str()))
            .filter(user::Column::ExpiresAt.lte(now.0))
            .order_by_asc(user::Column::ExpiresAt)
            .limit(EXPIRED_AT_ONCE)
            .all(&transaction)
            .await
            .attempt("find expired users")?;
        let mut expired = Vec::new();
        for row in due {
            let status = Expr::value(UserStatus::Expired.as_str());
            let done = cut_tokens(user::Entity::update_many())
                .col_expr(user::Column::UpdatedAt, Expr::value(now.0))
                .col_expr(user::Column::Status, status)
                .filter(user::Column::Id.eq(row.id))
                .filter(user::Column::Status.eq(UserStatus::Active.as_str()))
                .exec(&transaction)
                .await
                .attempt("expire user")?;
            // Another node was faster.
            if done.rows_affected > 0 {
                expired.push(User::try_from(row)?);
            }
        }
        if !expired.is_empty() {
            event::Entity::insert_many(expired.iter().map(|user| expiry_event(user, now)))
                .exec_without_returning(&transaction)
                .await
                .attempt("record expired users")?;
            stop_hosts_of(&transaction, &expired, now).await?;
        }
        transaction.commit().await.attempt("expire users")?;
        Ok(expired)
    }
}

fn expiry_event(user: &User, now: Timestamp) -> event::ActiveModel {
    let new = NewEvent {
        account: Some(user.account),
        device: None,
        user: Some(user.id),
        host: None,
        task: None,
        level: "info",
        kind: "user.expired",
        message: format!("the time of user {} is over", user.username),
        metadata: serde_json::json!({
            "operator": "system",
            "username": user.username,
            "reason": "expires_at reached",
            "expires_at": user.expires_at.map(Timestamp::to_rfc3339),
        }),
    };
    event_row(new, now)
}

/// Ends the one-time passwords for the hosts of a user: they were given out for the password that the user had.
async fn end_one_time_passwords(
    transaction: &DatabaseTransaction,
    id: UserId,
) -> Result<(), RegistryError> {
    let hosts = Query::select()
        .column(host::Column::Id)
        .from(host::Entity)
        .and_where(host::Column::UserId.eq(id.0))
        .to_owned();
    one_time_password::Entity::delete_many()
        .filter(one_time_password::Column::HostId.in_subquery(hosts))
        .exec(transaction)
        .await
        .attempt("end one-time passwords")?;
    Ok(())
}

/// Refuses the tokens that were given out before.
fn cut_tokens(update: UpdateMany<user::Entity>) -> UpdateMany<user::Entity> {
    update.col_expr(
        user::Column::TokenVersion,
        Expr::col(user::Column::TokenVersion).add(1),
    )
}

/// The user, whose row nobody else changes until the transaction ends.
async fn locked(
    transaction: &DatabaseTransaction,
    account: AccountId,
    id: UserId,
) -> Result<user::Model, ChangeUserError> {
    user::Entity::find_by_id(id.0)
        .filter(user::Column::AccountId.eq(account.0))
        .lock_exclusive()
        .one(transaction)
        .await
        .attempt("read user")?
        .ok_or(ChangeUserError::UnknownUser)
}

/// Refuses to let the last active administrator of an account go, or the last one whose time does not end: when the
/// others' is over, nobody could let them in again.
async fn keep_an_admin(
    transaction: &DatabaseTransaction,
    account: AccountId,
    leaving: UserId,
) -> Result<(), ChangeUserError> {
    let admins = keep_a_lasting_admin(transaction, account, leaving).await?;
    let now = Timestamp::now().0;
    let stays = admins.iter().any(|admin| {
        admin.id != leaving.0
            && admin.status == UserStatus::Active.as_str()
            && admin.expires_at.is_none_or(|at| at > now)
    });
    if stays || admins.iter().all(|admin| admin.id != leaving.0) {
        Ok(())
    } else {
        Err(ChangeUserError::LastAdmin)
    }
}

/// Refuses to let the last active administrator go whose time does not end, and gives all administrators. Comes before
/// any other lock: all administrators are locked in one order, so that two who send each other away do it one after the
/// other.
async fn keep_a_lasting_admin(
    transaction: &DatabaseTransaction,
    account: AccountId,
    leaving: UserId,
) -> Result<Vec<user::Model>, ChangeUserError> {
    let admins = user::Entity::find()
        .filter(user::Column::AccountId.eq(account.0))
        .filter(user::Column::Role.eq(Role::Admin.as_str()))
        .order_by_asc(user::Column::Id)
        .lock_exclusive()
        .all(transaction)
        .await
        .attempt("read administrators")?;
    let lasting = |admin: &user::Model| {
        admin.status == UserStatus::Active.as_str() && admin.expires_at.is_none()
    };
    let (mut leaves, mut stays) = (false, false);
    for admin in admins.iter().filter(|admin| lasting(admin)) {
        if admin.id == leaving.0 {
            leaves = true;
        } else {
            stays = true;
        }
    }
    if leaves && !stays {
        Err(ChangeUserError::LastAdmin)
    } else {
        Ok(admins)
    }
}

/// What waits for these hosts is not done any more.
async fn cancel_tasks(
    transaction: &DatabaseTransaction,
    hosts: &[host::Model],
) -> Result<(), RegistryError> {
    if hosts.is_empty() {
        return Ok(());
    }
    task::Entity::update_many()
        .col_expr(
            task::Column::Status,
            Expr::value(TaskStatus::Canceled.as_str()),
        )
        .col_expr(task::Column::UpdatedAt, Expr::value(Timestamp::now().0))
        .filter(task::Column::HostId.is_in(hosts.iter().map(|host| host.id)))
        .filter(task::Column::Status.eq(TaskStatus::Pending.as_str()))
        .exec(transaction)
        .await
        .attempt("cancel tasks")?;
    Ok(())
}

async fn changed(
    transaction: DatabaseTransaction,
    update: UpdateMany<user::Entity>,
    id: UserId,
) -> Result<User, ChangeUserError> {
    update
        .filter(user::Column::Id.eq(id.0))
        .exec(&transaction)
        .await
        .attempt("change user")?;
    let row = user::Entity::find_by_id(id.0)
        .one(&transaction)
        .await
        .attempt("read user")?
        .ok_or(ChangeUserError::UnknownUser)?;
    transaction.commit().await.attempt("change user")?;
    Ok(User::try_from(row)?)
}
