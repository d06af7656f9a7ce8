//! What a provisioning call answers (provisioning contract section 2).

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use moorline_protocol::provisioning::{Answer, Code, NewClient};

use super::parameters::WrongData;
use crate::rate_limit::Exceeded;
use crate::registry::error::RegistryError;

/// Why a call failed; the one place that turns a cause into the documented shape.
#[derive(Debug)]
pub(super) enum Failure {
    /// A code with the text of the contract.
    Code(Code),
    /// 31.
    WrongData(WrongData),
    /// 31 for a quadruple that matches no device; counts against the source address.
    WrongQuadruple,
    /// 22.
    Limited(Exceeded),
    /// 413.
    TooLarge,
    /// 45; the cause goes to the log.
    Registry(RegistryError),
}

impl From<WrongData> for Failure {
    fn from(wrong: WrongData) -> Self {
        Self::WrongData(wrong)
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
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

impl Failure {
    /// The code on the wire.
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Code(code) => *code,
            Self::WrongData(_) | Self::WrongQuadruple | Self::TooLarge => Code::WrongData,
            Self::Limited(_) => Code::TooManyCalls,
            Self::Registry(_) => Code::Internal,
        }
    }

    /// Whether it counts against the source address (section 2, Limits).
    pub(super) const fn counts_against_address(&self) -> bool {
        matches!(self, Self::Code(Code::InvalidKey) | Self::WrongQuadruple)
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Body> {
        let code = self.code();
        let message = match &self {
            Self::WrongData(wrong) => format!("{}{wrong}", code.message()),
            Self::WrongQuadruple => {
                format!("{}{}", code.message(), super::parameters::NO_SUCH_QUADRUPLE)
            }
            Self::TooLarge => format!("{}body must be at most 64 KiB", code.message()),
            Self::Code(_) | Self::Limited(_) => code.message().to_owned(),
            Self::Registry(error) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "provisioning call failed"
                );
                code.message().to_owned()
            }
        };
        let mut response = object(&Answer {
            message,
            error_code: code.number(),
            success: false,
            created: None,
        });
        match self {
            Self::Limited(exceeded) => {
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                let seconds = HeaderValue::from(exceeded.retry_after_secs());
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
            }
            Self::TooLarge => *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE,
            _ => {}
        }
        response
    }
}

/// The plain success object.
pub(super) fn ok() -> Response<Body> {
    success(None)
}

/// What `create_new_client` answers.
pub(super) fn created(client: NewClient) -> Response<Body> {
    success(Some(client))
}

/// `client_status`: online, or offline with code 24 and success all the same.
pub(super) fn status(online: bool) -> Response<Body> {
    let (message, code) = if online {
        ("online", Code::Ok)
    } else {
        ("offline", Code::Inactive)
    };
    object(&Answer {
        message: message.to_owned(),
        error_code: code.number(),
        success: true,
        created: None,
    })
}

/// A client script.
pub(super) fn script(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/x-shellscript; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    no_store(&mut response);
    response
}

/// JSON that is already written.
pub(super) fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    no_store(&mut response);
    response
}

fn success(created: Option<NewClient>) -> Response<Body> {
    object(&Answer {
        message: Code::Ok.message().to_owned(),
        error_code: Code::Ok.number(),
        success: true,
        created,
    })
}

fn object(answer: &Answer) -> Response<Body> {
    // Texts and numbers always serialise.
    json(Body::from(serde_json::to_vec(answer).unwrap_or_default()))
}

/// Calls work as plain GET, so nothing on the way may keep their answers.
fn no_store(response: &mut Response<Body>) {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
}
