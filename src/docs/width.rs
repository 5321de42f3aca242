//! Prose in Markdown and comments in Rust have at most 110 columns. Tables, links and code blocks may be
//! wider.

use super::{files, page, pages, prose};

const COLUMNS: usize = 110;
/// Where the workspace has its Rust code.
const CODE: [&str; 5] = ["actors", "benches", "fuzz", "src", "tests"];

/// Whether a line may be wide: a table's row cannot be broken, nor can a link.
fn may_be_wide(line: &str) -> bool {
    line.starts_with('|') || line.contains("](") || line.contains("://")
}

fn is_too_wide(line: &str) -> bool {
    line.chars().count() > COLUMNS && !may_be_wide(line.trim_start())
}

/// The comment on a line of Rust, without the slashes; none in a text.
fn comment(line: &str) -> Option<&str> {
    let (code, comment) = line.split_once("//")?;
    let is_comment = code.matches('"').count() % 2 == 0 && (code.is_empty() || code.ends_with(' '));
    is_comment.then(|| comment.trim_start_matches(['/', '!']).trim())
}

fn has_wide_comment(line: &str) -> bool {
    line.chars().count() > COLUMNS && comment(line).is_some_and(|comment| !may_be_wide(comment))
}

fn wide_lines<'a>(path: &str, lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<String> {
    lines.map(|(number, line)| format!("{path}:{number}: {}", line.trim())).collect()
}

#[test]
fn lines_of_the_pages_are_not_too_wide() {
    let mut wide = Vec::new();
    for path in pages() {
        let text = page(&path);
        wide.extend(wide_lines(&path, prose(&text).into_iter().filter(|(_, line)| is_too_wide(line))));
    }
    assert!(wide.is_empty(), "wider than {COLUMNS} columns:\n{}", wide.join("\n"));
}

#[test]
fn comments_are_not_too_wide() {
    let mut wide = Vec::new();
    for path in CODE.into_iter().flat_map(|folder| files(folder, "rs")) {
        let text = page(&path);
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        wide.extend(wide_lines(&path, lines.filter(|(_, line)| has_wide_comment(line))));
    }
    assert!(wide.is_empty(), "comments wider than {COLUMNS} columns:\n{}", wide.join("\n"));
}

#[test]
fn a_wide_line_is_found_unless_it_is_a_table_or_a_link() {
    let wide = "ä".repeat(COLUMNS + 1);
    assert!(is_too_wide(&wide));
    assert!(!is_too_wide(&"ä".repeat(COLUMNS)));
    assert!(!is_too_wide(&format!("| {wide} |")) && !is_too_wide(&format!("[{wide}](a.md)")));
}

#[test]
fn a_wide_comment_is_found_behind_code_and_not_in_a_text() {
    let wide = "ä ".repeat(COLUMNS);
    for line in [format!("/// {wide}"), format!("    // {wide}"), format!("f(\"a\"); // {wide}")] {
        assert!(has_wide_comment(&line), "{line}");
    }
    for line in [format!("f(\"// {wide}\");"), format!("//! | {wide} |")] {
        assert!(!has_wide_comment(&line), "{line}");
    }
}
