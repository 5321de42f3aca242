//! All settings with their defaults and meanings, as docs/configuration.md has them: the page is compiled in.
//! A test of the page proves that it names what the program reads.

use std::sync::LazyLock;

const PAGE: &str = include_str!("../../docs/configuration.md");
/// The heading after the last table of variables.
const END: &str = "## Variables without effect";
const REQUIRED: &str = "Required";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The heading of its table.
    pub section: &'static str,
    pub name: &'static str,
    /// As the page has it, without marks; none if there is no default.
    pub default: Option<String>,
    /// The default is a value, and not a description of one.
    pub is_value: bool,
    /// The program does not start without it, or without the one that can stand for it.
    pub is_required: bool,
    pub what: String,
}

/// All settings, in the order of the page.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| of_page(PAGE));
    &ENTRIES
}

fn of_page(page: &'static str) -> Vec<Entry> {
    let tables = page.split_once(END).map_or(page, |(tables, _)| tables);
    let mut section = "";
    let mut entries = Vec::new();
    for line in tables.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        } else if let Some(row) = line.strip_prefix("| `") {
            entries.extend(of_row(section, row));
        }
    }
    entries
}

/// The settings of a row, which is without its beginning.
fn of_row(section: &'static str, row: &'static str) -> Vec<Entry> {
    let cells: Vec<_> = row.trim_end_matches('|').trim_end().split(" | ").collect();
    let (default, what) = match cells[..] {
        [_, what] => ("–", what),
        [_, default, what] => (default, what),
        _ => return Vec::new(),
    };
    let names = cells[0].split('`').step_by(2).filter(|name| !name.is_empty());
    names
        .enumerate()
        .map(|(index, name)| Entry {
            section,
            name,
            default: (default != "–").then(|| plain(default)),
            is_value: default.len() > 2
                && default.starts_with('`')
                && default.ends_with('`')
                && default.matches('`').count() == 2
                && !default.trim_matches('`').chars().all(|c| c.is_ascii_uppercase() || c == '_'),
            is_required: section == REQUIRED && index == 0,
            what: plain(what),
        })
        .collect()
}

/// The text without the marks of links and code.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        plain += &before.replacen('[', "", 1);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain += rest;
    plain.replace('`', "")
}

/// The text in lines of at most so many columns, each with this beginning.
pub fn wrapped(text: &str, columns: usize, beginning: &str) -> String {
    let mut wrapped = String::new();
    let mut line = beginning.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > columns && line != beginning {
            wrapped = wrapped + line.trim_end() + "\n";
            line = beginning.to_owned();
        }
        line = line + word + " ";
    }
    wrapped + line.trim_end() + "\n"
}

/// What `serve --help` says of the settings.
pub fn help() -> String {
    let mut help = "Settings are environment variables:\n".to_owned();
    let mut section = "";
    for entry in entries() {
        if entry.section != section {
            section = entry.section;
            help = help + "\n" + section + ":\n";
        }
        let default =
            entry.default.as_ref().map(|default| format!(" [default: {default}]")).unwrap_or_default();
        help =
            help + "  " + entry.name + "\n" + &wrapped(&(entry.what.clone() + &default), 100, "          ");
    }
    help + "\n--env-file FILE sets variables that the environment does not set. NAME_FILE names a file that has\n\
            the secret NAME. `switchboard print-config` shows the settings in effect, and where each was set.\n"
}

/// Variables that other programs set, and not a file.
const OF_OTHERS: [&str; 5] =
    ["CREDENTIALS_DIRECTORY", "HOME", "LISTEN_FDS", "RUST_BACKTRACE", "XDG_DATA_HOME"];

/// The text of deploy/switchboard.env.example.
pub fn example() -> String {
    filled(&|_| None)
}

/// The same with these values: `value` gives the line of a setting that is set.
pub fn filled(value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut example = "# The settings of Switchboard, one NAME=value a line. Fill in those without `#`; remove the `#` of others.\n\
         # `switchboard serve --env-file FILE`, systemd's EnvironmentFile and Compose's env_file read this file.\n\
         # `docker --env-file` reads it too, and keeps quotes as part of the value: leave them out there.\n\
         # `switchboard print-config --env-file FILE` shows the settings in effect.\n\
         # Put a value that has a blank, a quote, a # or a $ into '…'.\n"
        .to_owned();
    let mut section = "";
    for entry in entries().iter().filter(|entry| !OF_OTHERS.contains(&entry.name)) {
        if entry.section != section {
            section = entry.section;
            example += &format!("\n# ---- {section} ----\n");
        }
        let default =
            entry.default.as_ref().map(|default| format!(" Default: {default}.")).unwrap_or_default();
        let what = entry.what.trim_end_matches('.');
        example = example + "\n" + &wrapped(&format!("{what}.{default}"), 100, "# ");
        example += &value(entry.name).unwrap_or_else(|| {
            let value = entry.default.as_deref().filter(|_| entry.is_value).unwrap_or_default();
            let mark = if entry.is_required { "" } else { "#" };
            format!("{mark}{}={value}", entry.name)
        });
        example += "\n";
    }
    example
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> &'static Entry {
        entries().iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn the_page_has_the_default_and_the_meaning_of_each_setting() {
        assert!(entries().len() > 45, "{}", entries().len());
        let port = entry("PORT");
        assert_eq!(
            (port.section, port.default.as_deref(), port.is_value),
            ("Where it listens", Some("8080"), true)
        );
        assert_eq!(port.what, "the port to listen on; 0 takes any free port");
        let direct = entry("DIRECT_DATABASE_URL");
        assert_eq!(
            (direct.default.as_deref(), direct.is_value),
            (Some("DATABASE_URL"), false),
            "a description"
        );
        let required: Vec<_> =
            entries().iter().filter(|entry| entry.is_required).map(|entry| entry.name).collect();
        assert_eq!(required, ["DATABASE_URL", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY"]);
        assert_eq!(entry("TLS_KEY_FILE").what, entry("TLS_CERT_FILE").what, "two in one row");
        let all = entries().iter();
        assert!(all.clone().all(|entry| !entry.what.contains(['`', '[', ']']) && !entry.what.is_empty()));
        let is_name =
            |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        assert!(
            all.clone().all(|entry| is_name(entry.name)),
            "{:?}",
            all.map(|entry| entry.name).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_help_names_every_setting_in_lines_that_are_not_too_wide() {
        let help = help();
        for entry in entries() {
            assert!(help.contains(&format!("\n  {}\n", entry.name)), "{}", entry.name);
        }
        assert!(help.lines().all(|line| line.chars().count() <= 101), "{help}");
    }

    #[test]
    fn marks_are_removed_and_lines_are_wrapped() {
        assert_eq!(plain("see [a `b`](c.md#d), `e` and [f](g)"), "see a b, e and f");
        assert_eq!(wrapped("aa bb cc dd", 6, "# "), "# aa\n# bb\n# cc\n# dd\n");
        assert_eq!(wrapped("aa bb cc dd", 8, "# "), "# aa bb\n# cc dd\n");
        assert_eq!(wrapped("aaaaaaaaaa", 4, "# "), "# aaaaaaaaaa\n", "a long word is not broken");
    }
}
