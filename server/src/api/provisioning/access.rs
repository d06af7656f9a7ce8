//! Who calls and what they may see (provisioning contract sections 1 and 2).

use moorline_protocol::operator::DeviceState;
use moorline_protocol::provisioning::Code;
use moorline_protocol::scope::Scope;

use super::answer::Failure;
use super::parameters::{self, Quadruple, QuadrupleForm, UNKNOWN_CLIENT, WrongData, has_quadruple};
use super::request::Fields;
use crate::api::keys::{has_scope, reaches};
use crate::api::{Api, Peer};
use crate::registry::model::{AccountId, ApiKey, Device, DeviceId, ForwardId};

/// Calls a minute with the quadruple of one device.
const QUADRUPLE_CALLS_PER_MINUTE: u32 = 60;

/// A request as it came in.
pub(super) struct Arrival {
    /// Query and body.
    pub(super) fields: Fields,
    /// What is wrong with the body; the fields are those of the query alone then.
    pub(super) bad_body: Option<WrongData>,
}

impl Arrival {
    /// The parameters, once the credential is known to be good.
    pub(super) fn fields(&self) -> Result<&Fields, Failure> {
        match &self.bad_body {
            None => Ok(&self.fields),
            Some(wrong) => Err(wrong.clone().into()),
        }
    }

    /// No credential was found; if the body cannot be read, it may be in there.
    fn no_credential(&self) -> Failure {
        match &self.bad_body {
            None => Code::InvalidKey.into(),
            Some(wrong) => wrong.clone().into(),
        }
    }
}

/// The device that a call is about, and what the caller may know of it.
pub(super) struct Target {
    /// The device.
    pub(super) device: Device,
    /// Whether the answer may show its `dbid`.
    pub(super) shows_dbid: bool,
}

impl Target {
    /// Refuses devices that are not in service.
    pub(super) fn in_service(self) -> Result<Self, Failure> {
        match self.device.state {
            DeviceState::Active => Ok(self),
            DeviceState::Blocked => Err(Code::Blocked.into()),
            DeviceState::Inactive => Err(Code::Inactive.into()),
        }
    }
}

/// Whether a per-device call takes the quadruple beside the API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// An API key with that scope only.
    Key(Scope),
    /// An API key with that scope, else the quadruple.
    KeyOrQuadruple(Scope, QuadrupleForm),
    /// The quadruple only.
    Quadruple,
}

impl Api {
    /// The API key of a call, with `scope`; its call is counted.
    pub(super) async fn key(&self, arrival: &Arrival, scope: Scope) -> Result<ApiKey, Failure> {
        let key = known(self.live_key(secret(arrival)?).await?)?;
        self.count_key(&key)?;
        checked(key, scope)
    }

    /// As [`Self::key`] for `create_new_client`, whose key the registry checks once more when it writes: the key may
    /// be a moment old. Refusals have to go through [`Self::refuse_creation`].
    pub(super) async fn creation_key(&self, arrival: &Arrival) -> Result<ApiKey, Failure> {
        let key = known(self.recent_key(secret(arrival)?).await?)?;
        self.count_key(&key)?;
        checked(key, Scope::DeviceCreate)
    }

    /// What a refused creation answers: 32 when the key is no longer good, else the refusal.
    pub(super) async fn refuse_creation(&self, arrival: &Arrival, refusal: Failure) -> Failure {
        let look = async {
            let secret = secret(arrival)?;
            self.forget_secret(secret);
            checked(known(self.live_key(secret).await?)?, Scope::DeviceCreate)
        };
        look.await.err().unwrap_or(refusal)
    }

    /// 24 when the account is suspended.
    pub(super) async fn account_in_service(&self, account: AccountId) -> Result<(), Failure> {
        match self.active_account(account).await? {
            Some(_) => Ok(()),
            None => Err(Code::Inactive.into()),
        }
    }

    /// The device that a call is about: credential, rate and account are checked, its state is not.
    pub(super) async fn target(
        &self,
        arrival: &Arrival,
        credentials: Credentials,
    ) -> Result<Target, Failure> {
        let fields = &arrival.fields;
        let by_quadruple = match credentials {
            Credentials::Key(_) => None,
            Credentials::KeyOrQuadruple(_, form) => {
                (fields.get("api_key").is_none() && has_quadruple(fields)).then_some(form)
            }
            Credentials::Quadruple if has_quadruple(fields) => Some(QuadrupleForm::Strict),
            Credentials::Quadruple => return Err(arrival.no_credential()),
        };
        match (by_quadruple, credentials) {
            (Some(form), _) => self.target_by_quadruple(fields, form).await,
            (None, Credentials::Key(scope) | Credentials::KeyOrQuadruple(scope, _)) => {
                self.target_by_key(arrival, scope).await
            }
            (None, Credentials::Quadruple) => Err(arrival.no_credential()),
        }
    }

    async fn target_by_key(&self, arrival: &Arrival, scope: Scope) -> Result<Target, Failure> {
        let key = self.key(arrival, scope).await?;
        self.account_in_service(key.account).await?;
        let id = parameters::client_id(arrival.fields()?)?;
        let device = self.visible_device(&key, id).await?;
        let shows_dbid = shows_dbid(&key, &device);
        Ok(Target { device, shows_dbid })
    }

    async fn visible_device(&self, key: &ApiKey, id: DeviceId) -> Result<Device, Failure> {
        let device = match reaches(key, id) {
            true => self.registry().device(id).await?,
            false => None,
        };
        device
            .filter(|device| device.account == key.account)
            .ok_or_else(|| UNKNOWN_CLIENT.into())
    }

    async fn target_by_quadruple(
        &self,
        fields: &Fields,
        form: QuadrupleForm,
    ) -> Result<Target, Failure> {
        let wrong = || Failure::WrongQuadruple;
        let quadruple = Quadruple::parse(fields, form).map_err(|_| wrong())?;
        let device = self
            .registry()
            .device_by_quadruple(
                quadruple.dbid.expose(),
                quadruple.device,
                quadruple.ports_id.map(ForwardId),
                AccountId(quadruple.user_id),
            )
            .await?
            .ok_or_else(wrong)?;
        self.0
            .device_calls
            .take(&device.id, QUADRUPLE_CALLS_PER_MINUTE)?;
        self.account_in_service(device.account).await?;
        // Whoever proved to know it may read it again.
        let shows_dbid = true;
        Ok(Target { device, shows_dbid })
    }

    /// Counts failures that stand for guessing against the source address; past the limit they become 22.
    pub(super) fn count_refusal(&self, peer: Peer, failure: Failure) -> Failure {
        if !failure.counts_against_address() {
            return failure;
        }
        match self.count_refused(peer) {
            Ok(()) => failure,
            Err(exceeded) => Failure::Limited(exceeded),
        }
    }
}

fn secret(arrival: &Arrival) -> Result<&str, Failure> {
    arrival
        .fields
        .get("api_key")
        .ok_or_else(|| arrival.no_credential())
}

fn known(key: Option<ApiKey>) -> Result<ApiKey, Failure> {
    key.ok_or_else(|| Code::InvalidKey.into())
}

fn checked(key: ApiKey, scope: Scope) -> Result<ApiKey, Failure> {
    if has_scope(&key, scope) {
        Ok(key)
    } else {
        Err(Code::InvalidKey.into())
    }
}

/// Section 1: `dbid` is for keys that may change devices anyway, and for devices without a key of their own.
pub(super) fn shows_dbid(key: &ApiKey, device: &Device) -> bool {
    has_scope(key, Scope::DeviceModify) || device.public_key.is_none()
}
