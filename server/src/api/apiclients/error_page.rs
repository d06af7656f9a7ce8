//! `/v3/error/<code>`: a short page that explains a code (API client contract section 6).

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, header};

use super::answer::{CODES, Code, Failure};

/// The page of `code`, whose case does not count.
pub(super) fn page(method: &Method, code: &str) -> Result<Response<Body>, Failure> {
    let known = CODES
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(code));
    let known = known.ok_or(Failure::NoEndpoint)?;
    if ![Method::GET, Method::HEAD].contains(method) {
        return Err(Failure::Method {
            method: method.to_string(),
            allow: "GET, HEAD",
        });
    }
    let mut response = Response::new(Body::from(text(known)));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn text(code: &Code) -> String {
    let Code {
        status,
        name,
        cause,
    } = code;
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
         <h1>{name}</h1>\n<p>HTTP status {status}: {cause}.</p>\n<p>{}</p>\n</html>\n",
        advice(name)
    )
}

/// What whoever wrote the client can do.
fn advice(name: &str) -> &'static str {
    match name {
        "InvalidBody" => {
            "Send one JSON object in UTF-8. A list is not taken: one API client per request."
        }
        "MissingAttribute" => {
            "Send the attribute that the message names. A context needs type and ids."
        }
        "InvalidAttribute" => "The message names the attribute and what is allowed.",
        "InvalidParameter" => "The message names the query parameter and what is allowed.",
        "InvalidCredentials" => {
            "Send id and secret of an API key as user name and password of HTTP Basic. A key that was \
             regenerated, deleted or has expired is not taken any more."
        }
        "InsufficientScope" => {
            "Use a key with the scope that the message names. Its context must be the account, and nobody can \
             give or see scopes that their own key has not."
        }
        "AccountDisabled" => "Whoever runs this server has suspended the account.",
        "HttpsRequired" => "This server takes these calls over HTTPS only.",
        "ResourceNotFound" => {
            "Check id or name. An id begins with an underscore; anything else is a name."
        }
        "MethodNotAllowed" => "The header Allow lists the methods of this endpoint.",
        "NameAlreadyExists" => {
            "Names are unique in an account without regard to case. Choose another one, or none."
        }
        "EntityLocked" => {
            "Send locked as false, and nothing else that changes; then repeat the call."
        }
        "BodyTooLarge" => "A request body may have 65536 bytes.",
        "TooManyRequests" => {
            "Wait as long as the header Retry-After says. The limit of a key counts all its calls."
        }
        _ => "Try again. If it stays so, its cause is in the log of the server.",
    }
}
