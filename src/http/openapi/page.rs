//! `GET /api/docs`: the description as one page without a script.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{document, query};
use crate::app::App;
use crate::http::pieces::Pieces;
use crate::http::problem::ApiError;
use crate::http::worker::Kind;

const STYLE: &str = include_str!("page.css");
/// In the order in which they are shown.
const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// Only the page's own style, by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// Made once, on the API's thread.
#[utoipa::path(
    get,
    path = "/api/docs",
    operation_id = "descriptionPage",
    tag = "pages",
    summary = "This document as a page",
    description = "It needs no script and nothing from elsewhere.",
    responses(
        (status = 200, description = "The page", content_type = "text/html", body = String),
        (status = 500, description = "The program has a fault; the log has its cause"),
    ),
)]
pub async fn page(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| of(&json()).into_string().into());
    query::only(request.query_string(), &[])?;
    let page = app.api.run(Kind::Query, async || PAGE.clone()).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .body(Pieces::from(page)))
}

fn json() -> Value {
    serde_json::to_value(document()).expect("its keys are texts")
}

fn of(document: &Value) -> Markup {
    let tags = document["tags"].as_array().into_iter().flatten();
    let tags: Vec<_> = tags.map(|tag| (text(&tag["name"]), text(&tag["description"]))).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Switchboard: the API" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Switchboard: the API" }
                    p { (marked(text(&document["info"]["description"]))) }
                    p { "The same for programs: " a href="/api/openapi.json" { "OpenAPI 3.1" } }
                    nav { @for (name, description) in &tags { a href={ "#" (name) } { (description) } } }
                    @for (name, description) in &tags {
                        section id=(name) {
                            h2 { (description) }
                            @for (path, methods, operation) in operations(document, name) {
                                (route(document, path, &methods, operation))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Paths with this tag, each with the methods that do the same: HEAD does what GET does.
fn operations<'a>(document: &'a Value, tag: &str) -> Vec<(&'a str, String, &'a Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS.into_iter().filter(|method| *method != "head") {
            let operation = &item[method];
            if operation["tags"][0] == tag {
                let has_head = method == "get" && item["head"].is_object();
                let methods = if has_head { "GET, HEAD".to_owned() } else { method.to_uppercase() };
                found.push((path.as_str(), methods, operation));
            }
        }
    }
    found
}

fn route(document: &Value, path: &str, methods: &str, operation: &Value) -> Markup {
    let parameters: Vec<_> = operation["parameters"].as_array().into_iter().flatten().collect();
    html! {
        article {
            h3 { span.method { (methods) } " " code { (path) } }
            p { strong { (text(&operation["summary"])) } }
            @for part in text(&operation["description"]).split("\n\n").filter(|part| !part.is_empty()) {
                p { (marked(part)) }
            }
            @if !parameters.is_empty() {
                h4 { "Parameters" }
                dl { @for parameter in parameters { (field(document, text(&parameter["name"]), parameter)) } }
            }
            @for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                h4 { "Body: " code { (kind) } }
                p { (text(&operation["requestBody"]["description"])) }
                (fields(document, resolved(document, &content["schema"])))
                (example(content))
            }
            h4 { "Answers" }
            dl {
                @for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                    @let response = resolved(document, response);
                    dt { (status) }
                    dd {
                        (marked(text(&response["description"])))
                        @for (kind, content) in response["content"].as_object().into_iter().flatten() {
                            @if !kind.starts_with("application/problem") {
                                " · " code { (kind) }
                                (example(content))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn fields(document: &Value, schema: &Value) -> Markup {
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|known| known == name))
    };
    html! {
        dl {
            @for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                @let entry = serde_json::json!({
                    "schema": property, "description": property["description"], "required": is_required(name),
                });
                (field(document, name, &entry))
            }
        }
    }
}

/// A parameter, or a field of a body.
fn field(document: &Value, name: &str, of: &Value) -> Markup {
    let limits = limits(resolved(document, &of["schema"]));
    let must = if of["required"] == true { "required" } else { "optional" };
    html! {
        dt { code { (name) } }
        dd {
            (marked(text(&of["description"])))
            @if !of["description"].is_null() { br; }
            small { (must) @for limit in limits { "; " (limit) } @if !of["example"].is_null() { "; such as " code { (value(&of["example"])) } } }
        }
    }
}

/// What a schema allows, in words.
fn limits(schema: &Value) -> Vec<String> {
    if let Some(either) = schema["anyOf"].as_array() {
        return either.iter().filter(|one| one["maxLength"] != 0).flat_map(limits).collect();
    }
    let mut limits = Vec::new();
    let words = schema["enum"].as_array().into_iter().flatten().filter(|word| **word != "");
    let words: Vec<_> = words.map(value).collect();
    if !words.is_empty() {
        limits.push(format!("one of {}", words.join(", ")));
    }
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Number(least), Value::Number(most)) => limits.push(format!("{least} to {most}")),
        (Value::Number(least), _) => limits.push(format!("at least {least}")),
        _ => {}
    }
    if schema["maxLength"].is_number() {
        limits.push(format!("at most {} characters", schema["maxLength"]));
    }
    if schema["format"].is_string() {
        limits.push(text(&schema["format"]).to_owned());
    }
    limits
}

fn example(content: &Value) -> Markup {
    let shown = match &content["example"] {
        Value::Null => return html! {},
        Value::String(text) => text.clone(),
        value => format!("{value:#}"),
    };
    html! { details { summary { "Example" } pre { (shown) } } }
}

/// A text with code between backquotes.
fn marked(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours (WCAG 2, "contrast ratio").
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |colour: &str| {
            let part = |at: usize| {
                let part = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn its_colours_can_be_read_by_day_and_by_night() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01);
        let palettes: Vec<_> = STYLE.split(":root {").skip(1).collect();
        assert_eq!(palettes.len(), 2);
        for palette in palettes {
            let colour = |name: &str| palette.split_once(&format!("--{name}: ")).unwrap().1[..7].to_owned();
            for ink in ["ink", "quiet", "link"] {
                for ground in ["ground", "card", "code"] {
                    let contrast = contrast(&colour(ink), &colour(ground));
                    assert!(contrast >= 4.5, "{ink} on {ground}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn the_page_has_every_route_and_runs_nothing() {
        let document = json();
        let page = of(&document).into_string();
        for (path, _) in document["paths"].as_object().unwrap() {
            assert!(page.contains(&format!("<code>{path}</code></h3>")), "{path}");
        }
        for foreign in ["<script", "http://", "https://", " style=", " onclick=", " src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_a_schema_allows_is_told_in_words() {
        let told = |schema| limits(&schema).join("; ");
        let page_size = serde_json::json!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 200}, {"type": "string", "maxLength": 0},
        ]});
        assert_eq!(told(page_size), "1 to 200");
        assert_eq!(told(serde_json::json!({"enum": ["true", "false", ""]})), "one of true, false");
        assert_eq!(told(serde_json::json!({"type": "string", "maxLength": 255})), "at most 255 characters");
    }
}
