//! `/v3/apiclients` in the document, with full schemas (API client contract). `/v1/admin/api-clients` has the same
//! objects.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

const ROOTS: [&str; 2] = ["/v3/apiclients", "/v3/accounts/{account}/apiclients"];
const ADMIN_ROOT: &str = "/v1/admin/api-clients";

/// The calls and what they carry.
pub(super) fn part() -> Option<OpenApi> {
    let mut paths = Map::new();
    for root in ROOTS {
        let account = root.contains("{account}");
        paths.insert(root.to_owned(), collection(account));
        paths.insert(format!("{root}/{{ref}}"), client(account));
        paths.insert(format!("{root}/{{ref}}/apikey"), key(account));
    }
    paths.insert("/v3/error/{code}".to_owned(), error_page());
    paths.insert(ADMIN_ROOT.to_owned(), admin_collection());
    paths.insert(format!("{ADMIN_ROOT}/{{client}}"), admin_client());
    paths.insert(format!("{ADMIN_ROOT}/{{client}}/apikey"), admin_key());
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": "Moorline", "version": ""},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "basic", "description": "Id and secret of an API key"},
            },
        },
    });
    // A test holds it to be one.
    serde_json::from_value(document).ok()
}

fn collection(account: bool) -> Value {
    let mut query = vec![
        query(
            "pageSize",
            "integer",
            "Items of a page, 1 to 200, 80 unless given",
        ),
        query(
            "pageNo",
            "integer",
            "Which page, from 1; `page` means the same",
        ),
        query("skip", "integer", "Items left out at the start of the page"),
        query("name", "string", "Of this name, case does not count"),
        query("friendlyName", "string", "With exactly this friendly name"),
        query(
            "tags",
            "string",
            "With commas between: `t` must be there, `-t` must not, of all `t^` at least one",
        ),
    ];
    query.extend(path_parameters(account, false));
    json!({
        "get": operation("List API clients, oldest first", query, None, answer("ApiClientPage")),
        "post": operation(
            "Make an API client and its key",
            path_parameters(account, false),
            Some("ApiClientAttributes"),
            answer("ApiClient"),
        ),
    })
}

fn client(account: bool) -> Value {
    let update = |summary| {
        let parameters = path_parameters(account, true);
        operation(
            summary,
            parameters,
            Some("ApiClientAttributes"),
            answer("ApiClient"),
        )
    };
    let plain = |summary, schema| {
        operation(
            summary,
            path_parameters(account, true),
            None,
            answer(schema),
        )
    };
    json!({
        "get": plain("One API client, by id or name", "ApiClient"),
        "put": update("Change an API client; absent attributes stay"),
        "post": update("The same as PUT; `?_method=PUT` or `DELETE` names another method"),
        "delete": plain("Delete an API client with its key", "Deleted"),
    })
}

fn key(account: bool) -> Value {
    let plain = |summary| {
        operation(
            summary,
            path_parameters(account, true),
            None,
            answer("ApiKey"),
        )
    };
    json!({
        "get": plain("The key of an API client, secret in clear"),
        "post": plain("Regenerate the key: new id and secret, the old pair is refused at once"),
        "put": operation(
            "Change the key; id and secret stay",
            path_parameters(account, true),
            Some("ApiKeyAttributes"),
            answer("ApiKey"),
        ),
    })
}

fn error_page() -> Value {
    let code = json!({
        "name": "code", "in": "path", "required": true, "schema": {"type": "string"},
        "description": "Error code, case does not count",
    });
    json!({"get": {
        "tags": ["apiclients"], "summary": "Explains an error code", "parameters": [code],
        "responses": {"200": {"description": "A page", "content": {"text/html": {}}}, "404": error("No such code")},
    }})
}

fn admin_collection() -> Value {
    json!({
        "get": admin("List API clients; parameters as under /v3", false, None, "200", Some("ApiClientPage")),
        "post": admin("Make an API client and its key", false, Some("ApiClientAttributes"), "201", Some("ApiClient")),
    })
}

fn admin_client() -> Value {
    let body = Some("ApiClientAttributes");
    json!({
        "get": admin("One API client, by id or name", true, None, "200", Some("ApiClient")),
        "put": admin("Change an API client", true, body, "200", Some("ApiClient")),
        "delete": admin("Delete an API client with its key", true, None, "204", None),
    })
}

fn admin_key() -> Value {
    let body = Some("ApiKeyAttributes");
    json!({
        "get": admin("The key of an API client, secret in clear", true, None, "200", Some("ApiKey")),
        "put": admin("Change the key", true, body, "200", Some("ApiKey")),
        "post": admin("Regenerate the key", true, None, "200", Some("ApiKey")),
    })
}

fn admin(
    summary: &str,
    one: bool,
    body: Option<&str>,
    status: &str,
    schema: Option<&str>,
) -> Value {
    let done = match schema {
        Some(schema) => answer(schema),
        None => json!({"description": "Done"}),
    };
    let mut operation = json!({
        "tags": ["operators"], "summary": summary, "security": [{"token": []}],
        "responses": {status: done, "401": {"description": "No valid token"}, "403": {"description": "No administrator"}},
    });
    if let Some(operation) = operation.as_object_mut() {
        if one {
            operation.insert(
                "parameters".into(),
                json!([path("client", "Id (begins with `_`) or name")]),
            );
        }
        if let Some(schema) = body {
            operation.insert("requestBody".into(), request(schema));
        }
    }
    operation
}

fn operation(summary: &str, parameters: Vec<Value>, body: Option<&str>, done: Value) -> Value {
    let mut operation = json!({
        "tags": ["apiclients"], "summary": summary, "security": [{"key": []}], "parameters": parameters,
        "responses": {
            "200": done,
            "400": error("Body or query is not valid: one object per problem"),
            "401": error("Credentials wrong, or scope missing"),
            "403": error("Account suspended, or plain HTTP where HTTPS is required"),
            "404": error("No such API client"),
            "409": error("Name taken, or API client locked"),
            "413": error("Body over 64 KiB"),
            "429": error("Rate limit, see `Retry-After`"),
        },
    });
    if let (Some(operation), Some(schema)) = (operation.as_object_mut(), body) {
        operation.insert("requestBody".into(), request(schema));
    }
    operation
}

fn request(schema: &str) -> Value {
    json!({"content": {"application/json": {"schema": reference(schema)}}})
}

fn answer(schema: &str) -> Value {
    json!({"description": "Done", "content": {"application/json": {"schema": reference(schema)}}})
}

fn error(description: &str) -> Value {
    let list = json!({"type": "array", "items": reference("ApiClientError")});
    json!({"description": description, "content": {"application/json": {"schema": list}}})
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn path_parameters(account: bool, one: bool) -> Vec<Value> {
    let account =
        account.then(|| path("account", "`_this_`, or id or name of the caller's account"));
    let one = one.then(|| path("ref", "Id (begins with `_`) or name"));
    account.into_iter().chain(one).collect()
}

fn path(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}})
}

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": description, "schema": {"type": kind}})
}

fn schemas() -> Value {
    json!({
        "ApiClient": object(
            &["id", "accountId", "name", "friendlyName", "locked", "dateCreated", "dateModified"],
            &[client_attributes(), json!({
                "id": {"type": "string", "pattern": "^_api_[0-9]{18}$"},
                "accountId": {"type": "string", "pattern": "^_acc_[0-9]{18}$"},
                "dateCreated": {"type": "string", "format": "date-time"},
                "dateModified": {"type": "string", "format": "date-time"},
            })],
        ),
        "ApiClientAttributes": object(&[], &[client_attributes(), key_attributes()]),
        "ApiKey": object(
            &["id", "secret", "ownerId", "accountId", "context", "scope", "rateLimit", "dateCreated", "dateModified"],
            &[key_attributes(), json!({
                "id": {"type": "string", "pattern": "^_key_[0-9]{18}$"},
                "secret": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "ownerId": {"type": "string"},
                "accountId": {"type": "string"},
                "dateCreated": {"type": "string", "format": "date-time"},
                "dateModified": {"type": "string", "format": "date-time"},
            })],
        ),
        "ApiKeyAttributes": object(&[], &[key_attributes()]),
        "ApiKeyContext": object(&["type", "ids"], &[json!({
            "type": {"type": "string", "enum": ["account", "device", "app"]},
            "ids": {"type": "array", "maxItems": 1000, "items": {"type": "string"}},
        })]),
        "ApiKeyLimits": object(&[], &[json!({
            "prefix": {"type": "string", "maxLength": 32},
            "region": {"type": "string"},
            "uses": {"type": "integer", "minimum": 0, "maximum": 1_000_000_000},
            "expiresAt": {"type": "string", "format": "date-time"},
        })]),
        "ApiClientPage": object(
            &["total", "itemCount", "numOfPages", "pageNo", "skip", "results"],
            &[json!({
                "total": {"type": "integer"},
                "itemCount": {"type": "integer"},
                "numOfPages": {"type": "integer"},
                "pageNo": {"type": "integer"},
                "skip": {"type": "integer"},
                "results": {"type": "array", "items": reference("ApiClient")},
            })],
        ),
        "Deleted": object(&["nrOfItems"], &[json!({"nrOfItems": {"type": "integer", "enum": [0, 1]}})]),
        "ApiClientError": object(&["code", "cause", "message", "moreInfoUrl"], &[json!({
            "code": {"type": "string"},
            "cause": {"type": "string"},
            "message": {"type": "string"},
            "moreInfoUrl": {"type": "string", "format": "uri"},
        })]),
    })
}

fn client_attributes() -> Value {
    json!({
        "name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._-]{0,63}$"},
        "friendlyName": {"type": "string", "minLength": 1, "maxLength": 128},
        "description": {"type": "string", "maxLength": 1024},
        "tags": {"type": "array", "maxItems": 32, "items": {"type": "string", "minLength": 1, "maxLength": 64}},
        "locked": {"type": "boolean"},
    })
}

fn key_attributes() -> Value {
    json!({
        "context": reference("ApiKeyContext"),
        "scope": {"type": "array", "items": {"type": "string"}},
        "rateLimit": {"type": "integer", "minimum": -1, "maximum": 1_000_000},
        "limits": reference("ApiKeyLimits"),
    })
}

/// An object with the properties of all `parts`.
fn object(required: &[&str], parts: &[Value]) -> Value {
    let properties: Map<String, Value> = parts
        .iter()
        .filter_map(Value::as_object)
        .flat_map(Clone::clone)
        .collect();
    json!({"type": "object", "required": required, "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_there_with_its_schemas() {
        let text = part().unwrap().to_json().unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut calls = 0;
        for (path, methods) in [
            ("", &["get", "post"][..]),
            ("/{ref}", &["get", "put", "post", "delete"]),
            ("/{ref}/apikey", &["get", "put", "post"]),
        ] {
            for root in ROOTS {
                for method in methods {
                    let call = &document["paths"][format!("{root}{path}")][method];
                    let schema = &call["responses"]["200"]["content"]["application/json"]["schema"];
                    let schema = schema["$ref"].as_str().unwrap();
                    let name = schema.strip_prefix("#/components/schemas/").unwrap();
                    assert!(
                        document["components"]["schemas"][name]["properties"].is_object(),
                        "{name}"
                    );
                    calls += 1;
                }
            }
        }
        assert_eq!(calls, 18);
        assert!(document["paths"][format!("{ADMIN_ROOT}/{{client}}/apikey")]["post"].is_object());
    }
}
