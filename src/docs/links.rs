//! Every relative link leads to a file that exists, and its fragment to a heading of that page.

use super::{page, pages, prose, root};

/// The targets of the links in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The fragment that leads to a heading: small letters, blanks as hyphens, no punctuation.
fn fragment(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_heading(text: &str, wanted: &str) -> bool {
    prose(text).iter().any(|(_, line)| line.starts_with('#') && fragment(line) == wanted)
}

/// What is wrong with a link on the page at `path`, if anything is.
pub fn fault(path: &str, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
    let folder = std::path::Path::new(path).parent().unwrap_or(std::path::Path::new(""));
    let linked = if file.is_empty() { path.into() } else { folder.join(file) };
    if !root().join(&linked).exists() {
        return Some(format!("{target} leads nowhere"));
    }
    let leads_on = wanted.is_empty() || has_heading(&page(linked.to_str()?), wanted);
    (!leads_on).then(|| format!("{target} has no such heading"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for path in pages() {
        let text = page(&path);
        for (number, line) in prose(&text) {
            let of_line = targets(line).filter_map(|target| fault(&path, target));
            faults.extend(of_line.map(|fault| format!("{path}:{number}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_a_fault() {
    assert_eq!(targets("[a](b.md), [c](d.md#e)").collect::<Vec<_>>(), ["b.md", "d.md#e"]);
    assert_eq!(fragment("## What it *is*: a `call`"), "what-it-is-a-call");
    assert_eq!(fault("README.md", "https://example.com/none"), None);
    assert_eq!(fault("README.md", "docs/api.md#routes"), None);
    assert_eq!(fault("docs/api.md", "../README.md#pages"), None);
    assert_eq!(fault("docs/api.md", "#routes"), None);
    assert!(fault("docs/api.md", "none.md").is_some());
    assert!(fault("docs/api.md", "#none").is_some());
    assert!(fault("README.md", "docs/api.md#none").is_some());
}
