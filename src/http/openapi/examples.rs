//! The examples of the description are those of docs/api.md.

use serde_json::Value;
use utoipa::openapi::{OpenApi, RefOr};

const PAGE: &str = include_str!("../../../docs/api.md");

/// Routes whose answer is the first example below a heading of the page.
const ANSWERS: [(&str, &str); 10] = [
    ("/api/auth/login", "Logging in"),
    ("/api/auth/me", "Logging in"),
    ("/api/alerts", "Alerts"),
    ("/api/inbox", "Inbox"),
    ("/api/ops/status", "Operating a process"),
    ("/api/audit", "Audit"),
    ("/api/call-monitor", "Live calls"),
    ("/api/call-logs", "The call log"),
    ("/api/call-logs/{callSid}", "One call"),
    ("/healthz", "Health"),
];
const ERRORS: &str = "Errors";

/// Adds them to the description.
pub(super) fn add(document: &mut OpenApi) {
    for (path, heading) in ANSWERS {
        let Some(item) = document.paths.paths.get_mut(path) else { continue };
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
                response.content.values_mut().for_each(|content| show(content, heading));
            }
        }
    }
    let responses = document.components.iter_mut().flat_map(|components| &mut components.responses);
    for (_, response) in responses.filter(|(name, _)| *name == "BadRequest") {
        if let RefOr::T(response) = response {
            response.content.values_mut().for_each(|content| show(content, ERRORS));
        }
    }
}

fn show(content: &mut RefOr<utoipa::openapi::Content>, heading: &str) {
    if let RefOr::T(content) = content {
        content.example = below(heading);
    }
}

/// The first JSON below a heading.
fn below(heading: &str) -> Option<Value> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n"))?;
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let (_, block) = section.split_once("\n```json\n")?;
    let (block, _) = block.split_once("\n```\n")?;
    serde_json::from_str(block).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_example() {
        for heading in ANSWERS.map(|(_, heading)| heading).into_iter().chain([ERRORS]) {
            assert!(below(heading).is_some_and(|example| example.is_object()), "{heading}");
        }
        assert_eq!(below("CSV"), None);
        assert_eq!(below("none"), None);
    }
}
