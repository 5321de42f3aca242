//! Prose in Markdown has at most 110 columns. Tables, links and code blocks may be wider.

use super::{page, pages, prose};

const COLUMNS: usize = 110;

/// Whether a line may be wide: a table's row cannot be broken, nor can a link.
fn may_be_wide(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('|') || line.contains("](") || line.contains("://")
}

fn is_too_wide(line: &str) -> bool {
    line.chars().count() > COLUMNS && !may_be_wide(line)
}

#[test]
fn lines_of_the_pages_are_not_too_wide() {
    let mut wide = Vec::new();
    for path in pages() {
        let text = page(&path);
        let of_page = prose(&text).into_iter().filter(|(_, line)| is_too_wide(line));
        wide.extend(of_page.map(|(number, line)| format!("{path}:{number}: {line}")));
    }
    assert!(wide.is_empty(), "wider than {COLUMNS} columns:\n{}", wide.join("\n"));
}

#[test]
fn a_wide_line_is_found_unless_it_is_a_table_or_a_link() {
    let wide = "ä".repeat(COLUMNS + 1);
    assert!(is_too_wide(&wide));
    assert!(!is_too_wide(&"ä".repeat(COLUMNS)));
    assert!(!is_too_wide(&format!("| {wide} |")) && !is_too_wide(&format!("[{wide}](a.md)")));
}
