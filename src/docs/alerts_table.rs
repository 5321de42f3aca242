//! The table of alerts in docs/operating.md is that of the program:
//! `UPDATE_DOCS=1 cargo test --lib alerts_table` writes it, and without the variable the same test compares
//! it.

use actors::alerts::{ALL_RULES, Rule, reading, texts};
use actors::health::{CAUSES, WARNINGS, explain};

use super::{page, root};

const PAGE: &str = "docs/operating.md";
const BEGIN: &str = "<!-- alerts: written by `UPDATE_DOCS=1 cargo test --lib alerts_table` -->\n";
const END: &str = "<!-- end of the alerts -->";

fn row(rule: &Rule) -> String {
    let Rule { name, levels, unit, text, remedy, .. } = rule;
    let level = |level: f64| match (level.is_finite(), unit.is_empty()) {
        (false, _) => "–".to_owned(),
        (true, true) => "if so".to_owned(),
        (true, false) => format!("> {level} {unit}"),
    };
    let warning = if levels.warning == levels.critical { f64::INFINITY } else { levels.warning };
    let (warning, critical) = (level(warning), level(levels.critical));
    format!("| `{name}` | {warning} | {critical} | {} | {text} | {remedy} |\n", texts::watched(rule))
}

fn table() -> String {
    let rows: String = ALL_RULES.iter().map(row).collect();
    format!(
        "\n| Alert | Warning | Critical | Window | Meaning | What to do |\n|---|---|---|---|---|---|\n{rows}\n"
    )
}

#[test]
fn the_page_lists_every_alert() {
    let page = page(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("the table's beginning");
    let (written, after) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(PAGE), format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert!(written == table(), "the table in {PAGE} is old: write it with UPDATE_DOCS=1");
    }
}

#[test]
fn every_metric_that_alerts_are_judged_by_is_one_of_the_program() {
    let metrics = page("docs/metrics.md");
    for metric in reading::metrics_read() {
        assert!(metrics.contains(&format!("| `{metric}` |")), "{metric}");
    }
}

#[test]
fn every_section_of_the_page_that_an_alert_names_is_there() {
    let page = page(PAGE);
    for rule in ALL_RULES.iter().filter(|rule| rule.remedy.contains("docs/operating.md")) {
        let (before, _) = rule.remedy.split_once("` in docs/operating.md").expect("the name of a section");
        let section = before.rsplit('`').next().unwrap_or_default();
        let is_there = page.lines().any(|line| line.trim_start_matches('#') == format!(" {section}"));
        assert!(is_there, "{}: {section}", rule.name);
    }
}

#[test]
fn every_command_that_helps_is_one_of_the_program() {
    let program = crate::cli::command();
    let states = CAUSES.into_iter().chain(WARNINGS).filter_map(explain).map(|state| state.remedy);
    let mut named = 0;
    for remedy in ALL_RULES.iter().map(|rule| rule.remedy).chain(states) {
        for command in remedy.split('`').filter_map(|code| code.strip_prefix("switchboard ")) {
            let words =
                command.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            let found = words.into_iter().try_fold(&program, |found, word| found.find_subcommand(word));
            assert!(found.is_some(), "there is no `switchboard {command}`: {remedy}");
            named += 1;
        }
    }
    assert!(named > 5, "{named}");
}
