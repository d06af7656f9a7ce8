//! Egress IPs (control contract section 6). Their secrets are sealed, each into its own row and column.

use std::net::IpAddr;

use moorline_protocol::Secret;
use sea_orm::{ActiveModelTrait as _, ActiveValue, ColumnTrait as _, EntityTrait as _};
use sea_orm::{PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::Registry;
use super::entity::{binding, egress_ip};
use super::error::{Attempt as _, EgressError, RegistryError};
use super::model::{
    AccountId, EgressIp, EgressIpId, EgressSettings, EgressStatus, EgressTunnel, Timestamp,
    WireGuard,
};
use crate::master_key::MasterKey;

pub(super) const PRIVATE_KEY: &str = "egress_ips.wg_private_key";
pub(super) const PRESHARED_KEY: &str = "egress_ips.wg_preshared_key";
pub(super) const PROXY_CONFIG: &str = "egress_ips.proxy_config";
/// Egress IPs that an account may have; all of them are listed in one answer.
const MAX_EGRESS_IPS: u64 = 10_000;
const WIREGUARD: &str = "wireguard";
const PROXY: &str = "proxy";

impl Registry {
    /// Makes an egress IP.
    ///
    /// # Errors
    /// [`EgressError::AddressTaken`], [`EgressError::TooMany`], [`EgressError::Registry`].
    pub async fn create_egress_ip(
        &self,
        account: AccountId,
        settings: EgressSettings,
    ) -> Result<EgressIp, EgressError> {
        let present = egress_ip::Entity::find()
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .count(&self.store.read)
            .await
            .attempt("count egress IPs")?;
        if present >= MAX_EGRESS_IPS {
            return Err(EgressError::TooMany);
        }
        let id = EgressIpId(Uuid::new_v4());
        let now = Timestamp::now().0;
        let mut row = self.egress_row(id, settings)?;
        row.account_id = ActiveValue::Set(account.0);
        row.created_at = ActiveValue::Set(now);
        row.updated_at = ActiveValue::Set(now);
        let inserted = row.insert(&self.store.write).await;
        let row = inserted.attempt("create egress IP").map_err(taken)?;
        Ok(self.egress_ip_of(row)?)
    }

    /// The egress IPs of an account, newest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn egress_ips(&self, account: AccountId) -> Result<Vec<EgressIp>, RegistryError> {
        let rows = egress_ip::Entity::find()
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .order_by_desc(egress_ip::Column::CreatedAt)
            .order_by_desc(egress_ip::Column::Id)
            .all(&self.store.read)
            .await
            .attempt("list egress IPs")?;
        rows.into_iter().map(|row| self.egress_ip_of(row)).collect()
    }

    /// The egress IP with this id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn egress_ip(
        &self,
        account: AccountId,
        id: EgressIpId,
    ) -> Result<Option<EgressIp>, RegistryError> {
        let row = egress_ip::Entity::find_by_id(id.0)
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .one(&self.store.read)
            .await
            .attempt("read egress IP")?;
        row.map(|row| self.egress_ip_of(row)).transpose()
    }

    /// Replaces its settings by what `change` makes of the present ones; nobody else changes them meanwhile.
    ///
    /// # Errors
    /// [`EgressError`], and whatever `change` says.
    pub async fn change_egress_ip<E: From<EgressError>>(
        &self,
        account: AccountId,
        id: EgressIpId,
        change: impl FnOnce(EgressIp) -> Result<EgressSettings, E> + Send,
    ) -> Result<EgressIp, E> {
        let registry = |error: RegistryError| EgressError::from(error);
        let transaction = self.store.begin().await.map_err(registry)?;
        let found = egress_ip::Entity::find_by_id(id.0)
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .lock_exclusive()
            .one(&transaction)
            .await
            .attempt("read egress IP")
            .map_err(registry)?
            .ok_or(EgressError::Unknown)?;
        let settings = change(self.egress_ip_of(found).map_err(registry)?)?;
        let mut row = self.egress_row(id, settings).map_err(registry)?;
        row.updated_at = ActiveValue::Set(Timestamp::now().0);
        let updated = row.update(&transaction).await;
        let row = updated.attempt("change egress IP").map_err(taken)?;
        let committed = transaction.commit().await;
        committed.attempt("change egress IP").map_err(registry)?;
        Ok(self.egress_ip_of(row).map_err(registry)?)
    }

    /// Removes an egress IP.
    ///
    /// # Errors
    /// [`EgressError::Unknown`], [`EgressError::Bound`], [`EgressError::Registry`].
    pub async fn delete_egress_ip(
        &self,
        account: AccountId,
        id: EgressIpId,
    ) -> Result<EgressIp, EgressError> {
        let transaction = self.store.begin().await?;
        let found = egress_ip::Entity::find_by_id(id.0)
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .lock_exclusive()
            .one(&transaction)
            .await
            .attempt("read egress IP")?
            .ok_or(EgressError::Unknown)?;
        let bound = binding::Entity::find()
            .filter(binding::Column::EgressIpId.eq(id.0))
            .count(&transaction)
            .await
            .attempt("count bindings")?;
        if bound > 0 {
            return Err(EgressError::Bound);
        }
        egress_ip::Entity::delete_by_id(id.0)
            .exec(&transaction)
            .await
            .attempt("delete egress IP")?;
        transaction.commit().await.attempt("delete egress IP")?;
        Ok(self.egress_ip_of(found)?)
    }

    /// How many egress IPs of an account may be bound.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_available_egress_ips(
        &self,
        account: AccountId,
    ) -> Result<u64, RegistryError> {
        egress_ip::Entity::find()
            .filter(egress_ip::Column::AccountId.eq(account.0))
            .filter(egress_ip::Column::Status.eq(EgressStatus::Available.as_str()))
            .count(&self.store.read)
            .await
            .attempt("count egress IPs")
    }

    /// Everything of the row but its account and its times.
    fn egress_row(
        &self,
        id: EgressIpId,
        settings: EgressSettings,
    ) -> Result<egress_ip::ActiveModel, RegistryError> {
        let keys = &self.store.keys;
        let (kind, wireguard, proxy) = match settings.tunnel {
            EgressTunnel::WireGuard(wireguard) => (WIREGUARD, wireguard, None),
            EgressTunnel::Proxy(config) => {
                let text = serde_json::Value::Object(config.into_exposed()).to_string();
                (PROXY, WireGuard::default(), Some(Secret::new(text)))
            }
        };
        Ok(egress_ip::ActiveModel {
            id: ActiveValue::Set(id.0),
            account_id: ActiveValue::NotSet,
            label: ActiveValue::Set(settings.label),
            ip_address: ActiveValue::Set(settings.ip_address.to_string()),
            provider: ActiveValue::Set(settings.provider),
            status: ActiveValue::Set(settings.status.as_str().to_owned()),
            tunnel_type: ActiveValue::Set(kind.to_owned()),
            wg_endpoint: ActiveValue::Set(wireguard.endpoint),
            wg_public_key: ActiveValue::Set(wireguard.public_key),
            wg_allowed_ips: ActiveValue::Set(wireguard.allowed_ips),
            wg_dns_server: ActiveValue::Set(wireguard.dns_server),
            wg_peer_address: ActiveValue::Set(wireguard.peer_address),
            wg_client_public_key: ActiveValue::Set(wireguard.client_public_key),
            wg_private_key_sealed: ActiveValue::Set(seal(
                keys,
                (PRIVATE_KEY, id),
                wireguard.private_key,
            )?),
            wg_preshared_key_sealed: ActiveValue::Set(seal(
                keys,
                (PRESHARED_KEY, id),
                wireguard.preshared_key,
            )?),
            proxy_config_sealed: ActiveValue::Set(seal(keys, (PROXY_CONFIG, id), proxy)?),
            created_at: ActiveValue::NotSet,
            updated_at: ActiveValue::NotSet,
        })
    }

    fn egress_ip_of(&self, row: egress_ip::Model) -> Result<EgressIp, RegistryError> {
        let damaged = |column| RegistryError::Damaged { column };
        let keys = &self.store.keys;
        let id = EgressIpId(row.id);
        let tunnel = match row.tunnel_type.as_str() {
            WIREGUARD => EgressTunnel::WireGuard(WireGuard {
                endpoint: row.wg_endpoint,
                public_key: row.wg_public_key,
                allowed_ips: row.wg_allowed_ips,
                dns_server: row.wg_dns_server,
                peer_address: row.wg_peer_address,
                client_public_key: row.wg_client_public_key,
                private_key: open(keys, (PRIVATE_KEY, id), row.wg_private_key_sealed)?,
                preshared_key: open(keys, (PRESHARED_KEY, id), row.wg_preshared_key_sealed)?,
            }),
            PROXY => {
                let text = open(keys, (PROXY_CONFIG, id), row.proxy_config_sealed)?;
                let config = text.map_or_else(
                    || Ok(serde_json::Map::new()),
                    |text| serde_json::from_str(text.expose()),
                );
                EgressTunnel::Proxy(Secret::new(config.map_err(|_| damaged(PROXY_CONFIG))?))
            }
            _ => return Err(damaged("egress_ips.tunnel_type")),
        };
        let address: Result<IpAddr, _> = row.ip_address.parse();
        Ok(EgressIp {
            id,
            account: AccountId(row.account_id),
            label: row.label,
            ip_address: address.map_err(|_| damaged("egress_ips.ip_address"))?,
            provider: row.provider,
            status: EgressStatus::parse(&row.status).ok_or_else(|| damaged("egress_ips.status"))?,
            tunnel,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}

/// Column and row that a secret is sealed into.
type Place = (&'static str, EgressIpId);

fn seal(
    keys: &MasterKey,
    (column, id): Place,
    secret: Option<Secret<String>>,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let Some(secret) = secret else {
        return Ok(None);
    };
    keys.seal(&format!("{column} {id}"), secret.expose().as_bytes())
        .map(Some)
        .map_err(|_| RegistryError::Seal {
            attempt: "seal secret of egress IP",
        })
}

fn open(
    keys: &MasterKey,
    (column, id): Place,
    sealed: Option<Vec<u8>>,
) -> Result<Option<Secret<String>>, RegistryError> {
    let Some(sealed) = sealed else {
        return Ok(None);
    };
    let plain = keys
        .open(&format!("{column} {id}"), &sealed)
        .map_err(|_| RegistryError::Seal {
            attempt: "open secret of egress IP",
        })?;
    String::from_utf8(plain.into_exposed())
        .map(|text| Some(Secret::new(text)))
        .map_err(|_| RegistryError::Damaged { column })
}

fn taken(error: RegistryError) -> EgressError {
    if error.unique_violation().is_some() {
        EgressError::AddressTaken
    } else {
        error.into()
    }
}
