//! Finding hosts, and their entry passwords (control contract sections 8 and 13).

use moorline_protocol::Secret;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue, ColumnTrait as _, Condition, ConnectionTrait as _, EntityTrait as _};
use sea_orm::{FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement};
use uuid::Uuid;

use super::entity::{binding, host, one_time_password, user};
use super::error::{Attempt as _, RegistryError};
use super::model::{
    AccountId, Host, HostId, HostKind, HostView, PolicyChange, Timestamp, User, UserId,
};
use super::{Registry, is_storable};

/// Rows named in one statement; databases limit them.
const IDS_AT_ONCE: usize = 500;
/// One-time passwords of a host that are good at once; past it the oldest dies.
const MAX_ONE_TIME_PASSWORDS: u64 = 64;
/// What one-time passwords are hashed for.
const PURPOSE: &str = "one-time password";

/// Which hosts to show.
#[derive(Clone, Copy, Debug)]
pub enum HostsOf {
    /// All of an account, last updated first.
    Account(AccountId),
    /// All of a user, oldest first.
    User(UserId),
}

impl Registry {
    /// Hosts with what belongs to them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn host_views(&self, of: HostsOf) -> Result<Vec<HostView>, RegistryError> {
        let query = match of {
            HostsOf::Account(account) => host::Entity::find()
                .filter(host::Column::AccountId.eq(account.0))
                .order_by_desc(host::Column::UpdatedAt),
            HostsOf::User(user) => host::Entity::find()
                .filter(host::Column::UserId.eq(user.0))
                .order_by_asc(host::Column::CreatedAt),
        };
        let rows = query
            .order_by_asc(host::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list hosts")?;
        let (column, value) = match of {
            HostsOf::Account(account) => ("h.account_id", account.0.into()),
            HostsOf::User(user) => ("h.user_id", user.0.into()),
        };
        let mut beside = self.beside(column, value).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            // A host that was made between the two looks shows at the next one.
            if let Some(extra) = beside.remove(&row.id) {
                views.push(extra.complete(Host::try_from(row)?));
            }
        }
        Ok(views)
    }

    /// What other tables tell of the hosts with this value in `column`.
    async fn beside(
        &self,
        column: &str,
        value: sea_orm::Value,
    ) -> Result<std::collections::HashMap<Uuid, Beside>, RegistryError> {
        let sql = format!(
            "SELECT h.id, u.username, d.name AS device_name, e.label, e.ip_address, e.tunnel_type \
             FROM hosts AS h JOIN users AS u ON u.id = h.user_id \
             LEFT JOIN devices AS d ON d.id = h.device_id \
             LEFT JOIN bindings AS b ON b.number = \
                 (SELECT MIN(o.number) FROM bindings AS o WHERE o.host_id = h.id) \
             LEFT JOIN egress_ips AS e ON e.id = b.egress_ip_id WHERE {column} = $1"
        );
        let backend = self.store.read.get_database_backend();
        let rows = self
            .store
            .read
            .query_all_raw(Statement::from_sql_and_values(backend, sql, [value]))
            .await
            .attempt("list what belongs to hosts")?;
        rows.iter()
            .map(|row| {
                let beside = Beside::from_query_result(row, "");
                beside.map(|beside| (beside.id, beside))
            })
            .collect::<Result<_, _>>()
            .attempt("read what belongs to hosts")
    }

    /// The host of this short id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn host_by_short_id(&self, short_id: &str) -> Result<Option<Host>, RegistryError> {
        if !is_storable(short_id) {
            return Ok(None);
        }
        self.one_host(Condition::all().add(host::Column::ShortId.eq(short_id)))
            .await
    }

    async fn one_host(&self, which: Condition) -> Result<Option<Host>, RegistryError> {
        host::Entity::find()
            .filter(which)
            .one(&self.store.read)
            .await
            .attempt("read host")?
            .map(Host::try_from)
            .transpose()
    }

    /// Those of these hosts that there are.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn hosts_by_id(&self, ids: &[HostId]) -> Result<Vec<Host>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(IDS_AT_ONCE) {
            let rows = host::Entity::find()
                .filter(host::Column::Id.is_in(part.iter().map(|id| id.0)))
                .all(&self.store.read)
                .await
                .attempt("read hosts")?;
            for row in rows {
                found.push(Host::try_from(row)?);
            }
        }
        Ok(found)
    }

    /// Those of these users that there are.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn users_by_id(&self, ids: &[UserId]) -> Result<Vec<User>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(IDS_AT_ONCE) {
            let rows = user::Entity::find()
                .filter(user::Column::Id.is_in(part.iter().map(|id| id.0)))
                .all(&self.store.read)
                .await
                .attempt("read users")?;
            for row in rows {
                found.push(User::try_from(row)?);
            }
        }
        Ok(found)
    }

    /// Whether a host is bound to an egress IP.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn is_bound(&self, id: HostId) -> Result<bool, RegistryError> {
        let found = binding::Entity::find()
            .filter(binding::Column::HostId.eq(id.0))
            .limit(1)
            .one(&self.store.read)
            .await
            .attempt("look for binding")?;
        Ok(found.is_some())
    }

    /// The main host of a user (control contract section 12): the container in slot `primary`, else the oldest
    /// container, else the oldest device host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn main_host(&self, user: UserId) -> Result<Option<Host>, RegistryError> {
        let hosts = self.hosts_of_user(user).await?;
        let rank = |host: &Host| match host.kind {
            HostKind::Container if host.slot_key == "primary" => 0,
            HostKind::Container => 1,
            HostKind::Device => 2,
        };
        // The first of equal ones is the oldest.
        Ok(hosts.into_iter().min_by_key(rank))
    }

    /// Gives a host another entry password; unused one-time passwords die. False when there is no such host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_entry_password(
        &self,
        id: HostId,
        hash: Secret<String>,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let done = host::Entity::update_many()
            .col_expr(
                host::Column::EntryPasswordHash,
                Expr::value(hash.into_exposed()),
            )
            .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0))
            .filter(host::Column::Id.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("set entry password")?;
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::HostId.eq(id.0))
            .exec(&transaction)
            .await
            .attempt("end one-time passwords")?;
        transaction.commit().await.attempt("set entry password")?;
        Ok(done.rows_affected > 0)
    }

    /// Changes what may be done with the sessions of a host. False when there is no such host.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn set_host_policy(
        &self,
        id: HostId,
        change: PolicyChange,
    ) -> Result<bool, RegistryError> {
        let mut update = host::Entity::update_many()
            .col_expr(host::Column::UpdatedAt, Expr::value(Timestamp::now().0));
        for (column, value) in [
            (host::Column::RecordingRequired, change.recording_required),
            (
                host::Column::DirectTcpipAllowed,
                change.direct_tcpip_allowed,
            ),
        ] {
            if let Some(value) = value {
                update = update.col_expr(column, Expr::value(value));
            }
        }
        let done = update
            .filter(host::Column::Id.eq(id.0))
            .exec(&self.store.write)
            .await
            .attempt("set policy of host")?;
        Ok(done.rows_affected > 0)
    }

    /// Keeps the hash of a password that is good for one login to this host until `expires_at`. False when `owner`,
    /// who asked for it, is not its owner any more or was changed meanwhile so that their tokens were cut.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn add_one_time_password(
        &self,
        id: HostId,
        owner: &User,
        password: &Secret<String>,
        expires_at: Timestamp,
    ) -> Result<bool, RegistryError> {
        let transaction = self.store.begin().await?;
        let same = user::Entity::find_by_id(owner.id.0)
            .filter(user::Column::TokenVersion.eq(owner.token_version))
            .lock_shared()
            .one(&transaction)
            .await
            .attempt("read owner of host")?;
        let owned = host::Entity::find_by_id(id.0)
            .filter(host::Column::UserId.eq(owner.id.0))
            .lock_shared()
            .one(&transaction)
            .await
            .attempt("read host")?;
        if same.is_none() || owned.is_none() {
            return Ok(false);
        }
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::ExpiresAt.lte(Timestamp::now().0))
            .exec(&transaction)
            .await
            .attempt("let old one-time passwords go")?;
        let good = one_time_password::Entity::find()
            .filter(one_time_password::Column::HostId.eq(id.0))
            .order_by_desc(one_time_password::Column::ExpiresAt)
            .limit(2 * MAX_ONE_TIME_PASSWORDS)
            .offset(MAX_ONE_TIME_PASSWORDS - 1)
            .all(&transaction)
            .await
            .attempt("count one-time passwords")?;
        one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::Hash.is_in(good.into_iter().map(|row| row.hash)))
            .exec(&transaction)
            .await
            .attempt("limit one-time passwords")?;
        let row = one_time_password::ActiveModel {
            hash: ActiveValue::Set(self.one_time_hash(password)),
            host_id: ActiveValue::Set(id.0),
            expires_at: ActiveValue::Set(expires_at.0),
        };
        one_time_password::Entity::insert(row)
            .exec_without_returning(&transaction)
            .await
            .attempt("keep one-time password")?;
        transaction
            .commit()
            .await
            .attempt("keep one-time password")?;
        Ok(true)
    }

    /// Whether `password` is good for a login to this host now; from then on it is not.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn take_one_time_password(
        &self,
        id: HostId,
        password: &Secret<String>,
    ) -> Result<bool, RegistryError> {
        let done = one_time_password::Entity::delete_many()
            .filter(one_time_password::Column::Hash.eq(self.one_time_hash(password)))
            .filter(one_time_password::Column::HostId.eq(id.0))
            .filter(one_time_password::Column::ExpiresAt.gt(Timestamp::now().0))
            .exec(&self.store.write)
            .await
            .attempt("take one-time password")?;
        Ok(done.rows_affected > 0)
    }

    fn one_time_hash(&self, password: &Secret<String>) -> Vec<u8> {
        let bytes = password.expose().as_bytes();
        self.store.keys.keyed_hash(PURPOSE, bytes)
    }
}

/// What other tables tell of a host.
#[derive(FromQueryResult)]
struct Beside {
    id: Uuid,
    username: String,
    device_name: Option<String>,
    label: Option<String>,
    ip_address: Option<String>,
    tunnel_type: Option<String>,
}

impl Beside {
    fn complete(self, host: Host) -> HostView {
        HostView {
            host,
            username: self.username,
            device_name: self.device_name,
            egress_label: self.label,
            egress_address: self.ip_address,
            egress_tunnel: self.tunnel_type,
        }
    }
}
