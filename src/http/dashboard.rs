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
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; media-src blob:; \
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Text and what is behind it.
    const PAIRS: [(&str, &str); 20] = [
        ("ink", "ground"),
        ("ink", "card"),
        ("ink", "caller"),
        ("ink", "calm-soft"),
        ("quiet", "ground"),
        ("quiet", "card"),
        ("quiet", "caller"),
        ("quiet", "calm-soft"),
        ("calm", "ground"),
        ("calm", "card"),
        ("calm", "calm-soft"),
        ("calm", "caller"),
        ("warm", "card"),
        ("warm", "warm-soft"),
        ("warm", "calm-soft"),
        ("warm", "caller"),
        ("bad", "ground"),
        ("bad", "card"),
        ("bad", "bad-soft"),
        ("card", "calm"),
    ];

    /// The colours of each `:root`: the light ones and the dark ones.
    fn colours() -> Vec<BTreeMap<&'static str, u32>> {
        let blocks = PAGE.split(":root {").skip(1).map(|rest| rest.split('}').next().unwrap());
        let of_block = |block: &'static str| {
            let declared =
                block.split(';').filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
            declared.map(|(name, colour)| (name, u32::from_str_radix(colour, 16).unwrap())).collect()
        };
        blocks.map(of_block).collect()
    }

    /// As WCAG 2 has it.
    fn luminance(colour: u32) -> f64 {
        let part = |shift: u32| {
            let value = f64::from(colour >> shift & 0xff) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
    }

    #[test]
    fn every_text_stands_out_from_its_ground_by_day_and_by_night() {
        let schemes = colours();
        assert_eq!(schemes.len(), 2);
        for colours in schemes {
            for (text, ground) in PAIRS {
                let (one, other) = (luminance(colours[text]), luminance(colours[ground]));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}
