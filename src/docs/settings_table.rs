//! docs/configuration.md names every variable that the program reads, and no others.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{page, prose};
use crate::settings::{MigrateSettings, OpsSettings, Settings, WorkerSettings};

/// Variables that are read outside the settings, most of them by libraries.
const ELSEWHERE: [&str; 6] =
    ["HOME", "OTEL_RESOURCE_ATTRIBUTES", "RUST_BACKTRACE", "SSL_CERT_DIR", "SSL_CERT_FILE", "XDG_DATA_HOME"];

/// Every variable that one of the commands asks for.
fn read_by_the_program() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::from(ELSEWHERE.map(str::to_owned)));
    // Some variables are read only if others are set, or unset.
    for set in [&[][..], &["OTEL_EXPORTER_OTLP_ENDPOINT", "BYPASS_TWILIO_VALIDATION", "TWILIO_ACCOUNT_SID"]] {
        let lookup = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            set.contains(&name).then(|| "http://127.0.0.1:4318".to_owned())
        };
        drop((Settings::read(lookup), WorkerSettings::read(lookup)));
        drop((MigrateSettings::read(lookup), OpsSettings::read(lookup)));
    }
    without_files(asked.into_inner())
}

/// The page tells once that each secret may be in a file: not for every one of them.
fn without_files(mut names: BTreeSet<String>) -> BTreeSet<String> {
    let is_of_secret = |name: &str| name.strip_suffix("_FILE").is_some_and(|secret| names.contains(secret));
    let files: Vec<_> = names.iter().filter(|name| is_of_secret(name)).cloned().collect();
    names.retain(|name| !files.contains(name));
    names
}

/// Whatever stands between backquotes and looks like the name of a variable.
fn named_in(text: &str) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.len() > 2
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let words = prose(text).into_iter().flat_map(|(_, line)| line.split('`').skip(1).step_by(2));
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_page_names_every_variable_that_is_read_and_no_others() {
    let (read, named) = (read_by_the_program(), without_files(named_in(&page("docs/configuration.md"))));
    let missing: Vec<_> = read.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&read).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not name {missing:?}");
    assert!(unknown.is_empty(), "docs/configuration.md names what nobody reads: {unknown:?}");
}

#[test]
fn the_first_page_names_variables_that_are_read() {
    let read = read_by_the_program();
    let unknown: Vec<_> =
        named_in(&page("README.md")).into_iter().filter(|name| !read.contains(name)).collect();
    assert!(unknown.is_empty(), "README.md names what nobody reads: {unknown:?}");
}
