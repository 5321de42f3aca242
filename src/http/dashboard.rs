//! `GET /`: the dashboard, one page that carries everything it needs and asks the API every three seconds.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("dashboard.html");

/// Only the page's own style and script run, by their hashes; it talks to this server alone and sits in no
/// frame.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let (style, script) = (hash("<style>", "</style>"), hash("<script>", "</script>"));
    format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

#[utoipa::path(
    get,
    path = "/",
    operation_id = "dashboard",
    tag = "pages",
    summary = "The dashboard",
    description = "One page, which asks for a login.",
    responses(
        (status = 200, description = "The page", content_type = "text/html", body = String),
    ),
)]
pub async fn dashboard() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY.as_str()))
        .body(PAGE)
}

fn hash(open: &str, close: &str) -> String {
    let (_, rest) = PAGE.split_once(open).expect("the page has one style and one script");
    let (content, _) = rest.split_once(close).expect("the page's style and script are closed");
    format!("sha256-{}", BASE64.encode(Sha256::digest(content)))
}
