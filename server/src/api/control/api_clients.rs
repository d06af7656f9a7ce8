//! `/v1/admin/api-clients`: the operations of `/v3/apiclients` for the account of an administrator, with the same
//! objects (API client contract sections 3 and 4) and the errors of this surface.

use std::borrow::Cow;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::Operator;
use super::answer::{Json, json};
use super::path::Path;
use crate::api::Api;
use crate::api::apiclients::attributes::Problem;
use crate::api::apiclients::operations::{Actor, Caller, Trouble};
use crate::registry::error::RegistryError;
use crate::registry::model::Grant;

type Body = Json<Map<String, Value>>;

/// A refusal whose text tells what was wrong with the request.
pub(super) struct Told {
    status: StatusCode,
    text: Cow<'static, str>,
}

impl Told {
    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { status, text }
    }
}

impl From<RegistryError> for Told {
    fn from(error: RegistryError) -> Self {
        tracing::error!(%error, "control call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }
}

impl From<Trouble> for Told {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Problems(problems) => {
                let texts: Vec<String> = problems.iter().map(Problem::message).collect();
                Self::new(StatusCode::BAD_REQUEST, texts.join(" "))
            }
            // An administrator has every scope.
            Trouble::Beyond(_) => Self::new(StatusCode::FORBIDDEN, "insufficient permissions"),
            Trouble::Unknown => Self::new(StatusCode::NOT_FOUND, "api client not found"),
            Trouble::Locked => Self::new(StatusCode::CONFLICT, "api client is locked"),
            Trouble::NameTaken(_) => Self::new(StatusCode::CONFLICT, "name is already in use"),
            Trouble::Registry(error) => error.into(),
        }
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Error<'a> {
            error: &'a str,
        }
        json(self.status, &Error { error: &self.text })
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let page = api.list_clients(&caller, query.as_deref()).await?;
    Ok(json(StatusCode::OK, &page))
}

pub(super) async fn create(
    State(api): State<Api>,
    operator: Operator,
    Json(body): Body,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let made = api.create_client(&caller, &body).await?;
    Ok(json(StatusCode::CREATED, &made))
}

pub(super) async fn show(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let client = api.client(&caller, &reference).await?;
    Ok(json(StatusCode::OK, &client))
}

pub(super) async fn change(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
    Json(body): Body,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let changed = api.change_client(&caller, &reference, &body).await?;
    Ok(json(StatusCode::OK, &changed))
}

pub(super) async fn remove(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    api.delete_client(&caller, &reference).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn show_key(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let key = api.client_key(&caller, &reference).await?;
    Ok(json(StatusCode::OK, &key))
}

pub(super) async fn change_key(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
    Json(body): Body,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let key = api.change_client_key(&caller, &reference, &body).await?;
    Ok(json(StatusCode::OK, &key))
}

pub(super) async fn regenerate_key(
    State(api): State<Api>,
    operator: Operator,
    Path(reference): Path<String>,
) -> Result<Response, Told> {
    let caller = caller(&api, operator).await?;
    let key = api.regenerate_client_key(&caller, &reference).await?;
    Ok(json(StatusCode::OK, &key))
}

/// An administrator may give and see everything in their account.
async fn caller(api: &Api, Operator(user): Operator) -> Result<Caller, Told> {
    let account = api.active_account(user.account).await?;
    Ok(Caller {
        account: account.ok_or(Told::new(StatusCode::FORBIDDEN, "account is not active"))?,
        grant: Grant::Everything,
        actor: Actor::User(user.id),
    })
}
