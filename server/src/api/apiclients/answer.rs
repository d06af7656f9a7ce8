//! What a call answers: JSON, and errors as a list of problems (API client contract sections 2 and 6).

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use moorline_protocol::apiclients::ErrorObject;
use serde::Serialize;

use super::attributes::Problem;
use super::operations::Trouble;
use super::paths::NoVerb;
use crate::rate_limit::Exceeded;
use crate::registry::error::RegistryError;

/// A code of section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// On the wire.
    pub(super) name: &'static str,
    /// For the developer.
    pub(super) cause: &'static str,
}

macro_rules! codes {
    ($($constant:ident $status:ident $name:literal $cause:literal),+ $(,)?) => {
        $(const $constant: Code = Code {
            status: StatusCode::$status,
            name: $name,
            cause: $cause,
        };)+
        /// Every code.
        pub(super) const CODES: &[Code] = &[$($constant),+];
    };
}

codes! {
    INVALID_BODY BAD_REQUEST "InvalidBody" "Request body could not be read",
    MISSING_ATTRIBUTE BAD_REQUEST "MissingAttribute" "Required attribute is missing",
    INVALID_ATTRIBUTE BAD_REQUEST "InvalidAttribute" "Attribute is not valid",
    INVALID_PARAMETER BAD_REQUEST "InvalidParameter" "Query parameter is not valid",
    INVALID_CREDENTIALS UNAUTHORIZED "InvalidCredentials" "Authentication failed",
    INSUFFICIENT_SCOPE UNAUTHORIZED "InsufficientScope" "Key does not allow this operation",
    ACCOUNT_DISABLED FORBIDDEN "AccountDisabled" "Account is suspended",
    HTTPS_REQUIRED FORBIDDEN "HttpsRequired" "Plain HTTP is not accepted",
    RESOURCE_NOT_FOUND NOT_FOUND "ResourceNotFound" "Resource not found",
    METHOD_NOT_ALLOWED METHOD_NOT_ALLOWED "MethodNotAllowed" "Method not allowed",
    NAME_EXISTS CONFLICT "NameAlreadyExists" "Name is taken",
    ENTITY_LOCKED CONFLICT "EntityLocked" "Entity is locked",
    BODY_TOO_LARGE PAYLOAD_TOO_LARGE "BodyTooLarge" "Request body is too large",
    TOO_MANY_REQUESTS TOO_MANY_REQUESTS "TooManyRequests" "Rate limit exceeded",
    INTERNAL_ERROR INTERNAL_SERVER_ERROR "InternalError" "Internal error",
}

/// Why a call failed; the one place that turns a cause into the documented shape.
#[derive(Debug)]
pub(super) enum Failure {
    /// Plain HTTP where HTTPS is required.
    HttpsRequired,
    /// No key has this id and secret.
    InvalidCredentials,
    /// The caller's key lacks this scope.
    InsufficientScope(String),
    /// A budget is used up.
    Limited(Exceeded),
    /// The account is suspended.
    AccountDisabled,
    /// No such path.
    NoEndpoint,
    /// No such API client.
    NoClient,
    /// The path is not for this method.
    Method {
        /// As asked for.
        method: String,
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// The body is not a JSON object.
    InvalidBody,
    /// The body is too long.
    BodyTooLarge,
    /// What is wrong with body or query, at least one thing.
    Problems(Vec<Problem>),
    /// The name is taken.
    NameTaken(String),
    /// The API client is locked.
    Locked,
    /// The cause goes to the log.
    Registry(RegistryError),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Limited(exceeded)
    }
}

impl From<NoVerb> for Failure {
    fn from(none: NoVerb) -> Self {
        match none {
            NoVerb::Method { method, allow } => Self::Method { method, allow },
            NoVerb::Parameter(problem) => Self::Problems(vec![problem]),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Problems(problems) => Self::Problems(problems),
            Trouble::Beyond(scope) => Self::InsufficientScope(scope),
            Trouble::Unknown => Self::NoClient,
            Trouble::Locked => Self::Locked,
            Trouble::NameTaken(name) => Self::NameTaken(name),
            Trouble::Registry(error) => Self::Registry(error),
        }
    }
}

impl Failure {
    /// The code of the first problem.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::HttpsRequired => HTTPS_REQUIRED,
            Self::InvalidCredentials => INVALID_CREDENTIALS,
            Self::InsufficientScope(_) => INSUFFICIENT_SCOPE,
            Self::Limited(_) => TOO_MANY_REQUESTS,
            Self::AccountDisabled => ACCOUNT_DISABLED,
            Self::NoEndpoint | Self::NoClient => RESOURCE_NOT_FOUND,
            Self::Method { .. } => METHOD_NOT_ALLOWED,
            Self::InvalidBody => INVALID_BODY,
            Self::BodyTooLarge => BODY_TOO_LARGE,
            Self::Problems(problems) => problems.first().map_or(INVALID_ATTRIBUTE, code_of),
            Self::NameTaken(_) => NAME_EXISTS,
            Self::Locked => ENTITY_LOCKED,
            Self::Registry(_) => INTERNAL_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::HttpsRequired => "Use HTTPS.".into(),
            Self::InvalidCredentials => "API key id or secret is wrong or missing.".into(),
            Self::InsufficientScope(scope) => format!("This API key needs the scope {scope}."),
            Self::Limited(exceeded) => format!(
                "Too many requests. Try again in {} seconds.",
                exceeded.retry_after_secs()
            ),
            Self::AccountDisabled => "This account is suspended.".into(),
            Self::NoEndpoint => "There is no such endpoint.".into(),
            Self::NoClient => "There is no such API client in this account.".into(),
            Self::Method { method, .. } => format!("This endpoint does not support {method}."),
            Self::InvalidBody => "The request body must be a JSON object.".into(),
            Self::BodyTooLarge => "The request body may have 64 KiB at most.".into(),
            // Each problem has its own.
            Self::Problems(_) => String::new(),
            Self::NameTaken(name) => format!("An API client named {name} exists already."),
            Self::Locked => "This API client is locked. Unlock it first.".into(),
            Self::Registry(error) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "API client call failed"
                );
                "Something went wrong on the server.".into()
            }
        }
    }

    /// The answer; pages that explain codes are under `docs`.
    pub(super) fn into_response(self, docs: &str) -> Response<Body> {
        let object = |code: Code, message: String| ErrorObject {
            code: code.name.to_owned(),
            cause: code.cause.to_owned(),
            message,
            more_info_url: format!("{docs}/v3/error/{}", code.name.to_ascii_lowercase()),
        };
        let code = self.code();
        let objects: Vec<ErrorObject> = match &self {
            Self::Problems(problems) => problems
                .iter()
                .map(|problem| object(code_of(problem), problem.message()))
                .collect(),
            other => vec![object(code, other.message())],
        };
        let mut response = json(code.status, &objects);
        let headers = response.headers_mut();
        match self {
            Self::InvalidCredentials | Self::InsufficientScope(_) => {
                let realm = HeaderValue::from_static("Basic realm=\"moorline\"");
                headers.insert(header::WWW_AUTHENTICATE, realm);
            }
            Self::Method { allow, .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Limited(exceeded) => {
                let seconds = HeaderValue::from(exceeded.retry_after_secs());
                headers.insert(header::RETRY_AFTER, seconds);
            }
            _ => {}
        }
        response
    }
}

const fn code_of(problem: &Problem) -> Code {
    match problem {
        Problem::Missing(_) => MISSING_ATTRIBUTE,
        Problem::Attribute(..) => INVALID_ATTRIBUTE,
        Problem::Parameter(..) => INVALID_PARAMETER,
    }
}

/// `value` with status 200.
pub(super) fn ok(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, value)
}

/// Keys go over the wire here, so nothing on the way may keep an answer.
fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Texts, numbers and lists of them always serialise.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    response
}
