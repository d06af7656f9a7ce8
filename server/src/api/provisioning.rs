//! The provisioning calls: `/init/api/<call>` (`contract/provisioning.md`).
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | query and body as one flat map |
//! | [`parameters`] | that map, checked: typed requests |
//! | [`access`] | credentials, scopes, limits, what a credential may see |
//! | [`create`] | `create_new_client` |
//! | [`list`] | `device_list` |
//! | [`script`] | the client script |
//! | [`device_calls`] | the calls about one device |
//! | [`answer`] | objects on the wire |

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{Method, Response, header};
use axum::routing::any;
use moorline_protocol::provisioning::Code;

use self::access::Arrival;
use self::answer::Failure;
use self::parameters::WrongData;
use self::request::{BodyForm, Fields};
use super::body::{self, BodyError};
use super::{Api, Peer};

mod access;
mod answer;
mod create;
mod device_calls;
mod list;
pub mod parameters;
pub mod request;
pub mod script;

const ROOT: &str = "/init/api/";

/// The calls of the contract, aliases folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    CreateNewClient,
    GetClientScript,
    DeviceList,
    DeleteClient,
    Connect,
    Disconnect,
    ClientStatus,
    SetAllowClientless,
    UploadPublicKey,
    UpgradeClientScript,
}

impl Call {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "create_new_client" => Self::CreateNewClient,
            "get_client_script" => Self::GetClientScript,
            "device_list" => Self::DeviceList,
            "delete_client" | "delete_client_script" | "delete_device" => Self::DeleteClient,
            "connect" => Self::Connect,
            "disconnect" => Self::Disconnect,
            "client_status" => Self::ClientStatus,
            "set_allow_clientless" => Self::SetAllowClientless,
            "upload_public_key" => Self::UploadPublicKey,
            "upgrade_client_script" => Self::UpgradeClientScript,
            _ => return None,
        })
    }

    /// For counters.
    const fn name(self) -> &'static str {
        match self {
            Self::CreateNewClient => "create_new_client",
            Self::GetClientScript => "get_client_script",
            Self::DeviceList => "device_list",
            Self::DeleteClient => "delete_client",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::ClientStatus => "client_status",
            Self::SetAllowClientless => "set_allow_clientless",
            Self::UploadPublicKey => "upload_public_key",
            Self::UpgradeClientScript => "upgrade_client_script",
        }
    }
}

/// The routes of this surface.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route(ROOT, any(call))
        .route("/init/api/{*call}", any(call))
        .route("/init/my/upload_public_key.json", any(upload))
}

async fn call(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    let name = request.uri().path().strip_prefix(ROOT).unwrap_or_default();
    let call = Call::parse(name);
    serve(&api, peer, call, request).await
}

async fn upload(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response<Body> {
    serve(&api, peer, Some(Call::UploadPublicKey), request).await
}

async fn serve(api: &Api, peer: Peer, call: Option<Call>, request: Request) -> Response<Body> {
    let allowed = matches!(*request.method(), Method::GET | Method::HEAD | Method::POST);
    let call = call.filter(|_| allowed);
    let done = match read(request).await {
        Err(failure) => Err(failure),
        Ok(arrival) => match call {
            None => Err(Failure::Code(Code::InvalidCall)),
            Some(call) => answer(api, call, arrival).await,
        },
    };
    let name = call.map_or("unknown", Call::name);
    done.unwrap_or_else(|failure| {
        let failure = api.count_refusal(peer, failure);
        let code = failure.code().number();
        tracing::info!(call = name, code, peer = %peer.0.ip(), "provisioning call refused");
        metrics::counter!("moorline_provisioning_refused_total", "call" => name, "code" => code.to_string())
            .increment(1);
        failure.into_response()
    })
}

async fn answer(api: &Api, call: Call, arrival: Arrival) -> Result<Response<Body>, Failure> {
    match call {
        Call::CreateNewClient => create::create_new_client(api, arrival).await,
        Call::GetClientScript => device_calls::get_client_script(api, arrival).await,
        Call::DeviceList => list::device_list(api, arrival).await,
        Call::DeleteClient => device_calls::delete_client(api, arrival).await,
        Call::Connect => device_calls::connect(api, arrival).await,
        Call::Disconnect => device_calls::disconnect(api, arrival).await,
        Call::ClientStatus => device_calls::client_status(api, arrival).await,
        Call::SetAllowClientless => device_calls::set_allow_clientless(api, arrival).await,
        Call::UploadPublicKey => device_calls::upload_public_key(api, arrival).await,
        Call::UpgradeClientScript => device_calls::upgrade_client_script(api, arrival).await,
    }
}

/// Query and body as one map. A body that is not what it should be is told only after the credential was checked.
async fn read(request: Request) -> Result<Arrival, Failure> {
    let (parts, body) = request.into_parts();
    let mut fields = Fields::of_query(parts.uri.query());
    let mut bad_body: Option<WrongData> = None;
    let bytes = body::read(body).await.map_err(|error| match error {
        BodyError::TooLarge => Failure::TooLarge,
        BodyError::Broken => Failure::WrongData(WrongData::new("body is not valid JSON")),
    })?;
    if parts.method == Method::POST {
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let form = BodyForm::of_content_type(kind.and_then(|kind| kind.to_str().ok()));
        bad_body = fields.add_body(form, &bytes).err();
    }
    Ok(Arrival { fields, bad_body })
}
