//! What holds for many routes: who may ask, what is counted, and which errors there are.

use std::collections::BTreeSet;

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Object, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr};

use crate::http::auth::{Need, need};

/// The websocket is the one route to be read that has no HEAD.
const STREAM: &str = "/api/voice/stream";
const PROBLEM: &str = "application/problem+json";
const SESSION: &str = "session";
const TOKEN: &str = "token";
const TWILIO: &str = "twilio";
const RATE_LIMITS: [&str; 2] = ["RateLimit", "RateLimit-Policy"];

/// Errors of many routes: the status, the name of the answer, and what it means.
const ERRORS: [(u16, &str, &str); 8] = [
    (
        400,
        "BadRequest",
        "A parameter or the body is wrong; `field` names it, also if the route does not know it",
    ),
    (401, "Unauthorized", "Nobody is logged in; or the session or token is unknown, expired or revoked"),
    (403, "ScopeMissing", "A scope is missing, which `scope` names"),
    (
        403,
        "NotAllowed",
        "A scope is missing, which `scope` names; or a page elsewhere had a browser send the request",
    ),
    (403, "FromElsewhere", "A page elsewhere had a browser send the request"),
    (413, "TooLarge", "The body is over 64 KiB"),
    (429, "TooManyRequests", "Too many requests: `Retry-After` says for how many seconds to wait"),
    (
        503,
        "Unavailable",
        "Something that the answer needs is away or has too much to do, or there was no answer within 20 s",
    ),
];
/// Errors of Twilio's routes alone.
const TWILIOS: [(u16, &str, &str); 3] = [
    (400, "BadWebhook", "A required parameter is missing or wrong; `field` names it"),
    (403, "NotSigned", "The signature is missing or wrong"),
    (413, "WebhookTooLarge", "The body is over 64 KiB"),
];

/// Adds it to the description.
pub(super) fn add(document: &mut OpenApi) {
    let mut asked = BTreeSet::new();
    for (path, item) in &mut document.paths.paths {
        for (operation, is_posted) in [(&mut item.get, false), (&mut item.post, true)] {
            if let Some(operation) = operation {
                complete(path, is_posted, operation);
                asked.extend(names_asked(operation));
            }
        }
        item.head = item.get.as_ref().filter(|_| path != STREAM).map(without_body);
    }
    let components = document.components.get_or_insert_default();
    for (name, schema) in &mut components.schemas {
        if asked.contains(name) { without_nulls(schema) } else { nulls_are_written(schema) }
    }
    components.responses.extend(shared().map(|(name, response)| (name.to_owned(), response.into())));
    add_headers(components);
    add_schemes(components);
}

fn complete(path: &str, is_posted: bool, operation: &mut Operation) {
    let is_twilios = path.starts_with("/api/voice/");
    let is_api = path.starts_with("/api/") && !is_twilios;
    let need = need(Some(path));
    operation.security = security(path, need);
    let has_body = operation.request_body.is_some();
    let needs_scope = matches!(need, Need::Scope(_));
    let answered = [
        (400, "BadRequest", is_api),
        (400, "BadWebhook", is_twilios),
        (401, "Unauthorized", is_api && need != Need::Nothing),
        (403, "NotSigned", is_twilios),
        (403, "ScopeMissing", is_api && needs_scope && !is_posted),
        (403, "NotAllowed", is_api && needs_scope && is_posted),
        (403, "FromElsewhere", is_api && !needs_scope && is_posted),
        (413, "TooLarge", is_api && has_body),
        (413, "WebhookTooLarge", is_twilios && has_body),
        (429, "TooManyRequests", is_api),
        (503, "Unavailable", is_api || is_twilios),
    ];
    for (status, name, _) in answered.into_iter().filter(|(_, _, is_answered)| *is_answered) {
        let named = || RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_string()).or_insert_with(named);
    }
    // A status callback that was too many is told so, and one that is stored what is left.
    let is_callback = is_twilios && operation.responses.responses.contains_key("429");
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            let status = status.parse().unwrap_or_default();
            if status >= 400 {
                let headers = std::mem::take(&mut response.headers);
                *response = problem(status, &response.description);
                response.headers.extend(headers);
            }
            if is_api || is_callback && status < 400 {
                tells_the_quota(response);
            }
        }
    }
    operation.description = described(operation.description.take(), is_api, need);
}

/// What the description says of the scope.
fn described(text: Option<String>, is_api: bool, need: Need) -> Option<String> {
    let needs = match need {
        _ if !is_api => None,
        Need::Nothing => Some("Open to everybody.".to_owned()),
        Need::Login => Some("For whoever is logged in.".to_owned()),
        Need::Scope(scope) => Some(format!("Needs the scope `{scope}`.")),
    };
    let parts: Vec<_> = text.into_iter().chain(needs).collect();
    (!parts.is_empty()).then(|| parts.join("\n\n"))
}

/// In OpenAPI 3.1 a requirement may name roles for any scheme: they are the scopes.
fn security(path: &str, need: Need) -> Option<Vec<SecurityRequirement>> {
    let either = |scopes: &[&str]| {
        [SESSION, TOKEN].map(|scheme| SecurityRequirement::new(scheme, scopes.iter().copied())).to_vec()
    };
    match (path, need) {
        ("/metrics", _) => Some([vec![SecurityRequirement::default()], either(&["metrics"])].concat()),
        (path, _) if !path.starts_with("/api/") => None,
        (path, _) if path.starts_with("/api/voice/") => Some(vec![SecurityRequirement::new(TWILIO, [""; 0])]),
        (_, Need::Nothing) => None,
        (_, Need::Login) => Some(either(&[])),
        (_, Need::Scope(scope)) => Some(either(&[scope.as_str()])),
    }
}

/// The answers that routes share, by name. A request may be given up before it is counted, so a 503 need not
/// tell the quota.
fn shared() -> impl Iterator<Item = (&'static str, Response)> {
    let of_api = ERRORS.into_iter().map(|(status, name, description)| {
        let mut response = problem(status, description);
        if status != 503 {
            tells_the_quota(&mut response);
        }
        (name, response)
    });
    let of_twilio = TWILIOS.into_iter();
    of_api.chain(of_twilio.map(|(status, name, description)| (name, problem(status, description))))
}

fn tells_the_quota(response: &mut Response) {
    response.headers.extend(RATE_LIMITS.map(|name| (name.to_owned(), header(name))));
}

fn problem(status: u16, description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let response = ResponseBuilder::new().description(description).content(PROBLEM, content);
    let headers: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        426 => &["Upgrade", "Sec-WebSocket-Version"],
        429 => &["Retry-After", RATE_LIMITS[0], RATE_LIMITS[1]],
        503 => &["Retry-After"],
        _ => &[],
    };
    let mut response = response.build();
    response.headers.extend(headers.iter().map(|name| ((*name).to_owned(), header(name))));
    response
}

/// HEAD has the head of what GET has.
fn without_body(get: &Operation) -> Operation {
    let mut head = get.clone();
    head.operation_id = head.operation_id.map(|id| format!("{id}Head"));
    head.summary = head.summary.map(|summary| format!("{summary}: the head alone"));
    for response in head.responses.responses.values_mut() {
        if let RefOr::Ref(reference) = response {
            let name = reference.ref_location.rsplit('/').next();
            let found = shared().find(|(known, _)| Some(*known) == name);
            let (_, found) = found.expect("a name comes from the list");
            *response = found.into();
        }
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    head
}

fn header(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

fn add_headers(components: &mut Components) {
    let text = || Object::with_type(Type::String);
    let headers = [
        ("Retry-After", Object::with_type(Type::Integer), "Seconds to wait before the next attempt", "2"),
        ("RateLimit", text(), "What is left of the quota, and for how many seconds", r#""api";r=99;t=62"#),
        ("RateLimit-Policy", text(), "The quota: requests and seconds", r#""api";q=100;w=60"#),
        ("WWW-Authenticate", text(), "The scheme of the credentials", "Bearer"),
        ("Upgrade", text(), "The protocol that is needed", "websocket"),
        ("Sec-WebSocket-Version", text(), "The version that is needed", "13"),
    ];
    for (name, schema, description, example) in headers {
        let is_number = schema.schema_type == SchemaType::Type(Type::Integer);
        let example = if is_number {
            example.parse::<u32>().map_or_else(|_| example.into(), Into::into)
        } else {
            example.into()
        };
        let header =
            HeaderBuilder::new().schema(Some(schema)).description(Some(description)).example(Some(example));
        components.headers.insert(name.to_owned(), header.build().into());
    }
}

fn add_schemes(components: &mut Components) {
    let cookie = "The session's cookie, which a login sets. Its name is `switchboard` if neither PUBLIC_URL \
        is https nor TLS ends in the program.";
    let signature = "Made by Twilio with the auth token, from the URL and the form.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("sbt_…");
    let bearer = bearer.description(Some("A token that `switchboard token add` made."));
    let schemes = [
        (
            SESSION,
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                "__Host-switchboard",
                cookie,
            ))),
        ),
        (TOKEN, SecurityScheme::Http(bearer.build())),
        (
            TWILIO,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-Twilio-Signature",
                signature,
            ))),
        ),
    ];
    components.security_schemes.extend(schemes.map(|(name, scheme)| (name.to_owned(), scheme.into())));
}

/// The names of the schemas of what is posted.
fn names_asked(operation: &Operation) -> Vec<String> {
    let Some(RefOr::T(body)) = &operation.request_body else { return Vec::new() };
    let schemas = body.content.values().filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let references = schemas.filter_map(|schema| match schema {
        RefOr::Ref(reference) => reference.ref_location.rsplit('/').next(),
        RefOr::T(_) => None,
    });
    references.map(str::to_owned).collect()
}

/// What is posted has no null: a field is there or it is not.
fn without_nulls(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for property in object.properties.values_mut() {
        if let RefOr::T(Schema::Object(property)) = property
            && let SchemaType::Array(kinds) = &property.schema_type
            && let Some(kind) = kinds.iter().find(|kind| **kind != Type::Null)
        {
            property.schema_type = SchemaType::Type(kind.clone());
        }
    }
}

/// A value that is not known is written as null, so a field that may be null is always there.
fn nulls_are_written(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            let of_null = object.properties.iter().filter(|(_, property)| may_be_null(property));
            let of_null: Vec<_> = of_null.map(|(name, _)| name.clone()).collect();
            object.required.extend(of_null);
        }
        RefOr::T(Schema::AllOf(all)) => all.items.iter_mut().for_each(nulls_are_written),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

fn may_be_null(schema: &RefOr<Schema>) -> bool {
    let is_null = |kind: &SchemaType| match kind {
        SchemaType::Type(one) => *one == Type::Null,
        SchemaType::Array(several) => several.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => is_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => is_null(&array.schema_type),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(may_be_null),
        RefOr::T(_) | RefOr::Ref(_) => false,
    }
}
