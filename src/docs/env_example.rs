//! deploy/switchboard.env.example is what the table of settings makes it: `UPDATE_DOCS=1 cargo test --lib
//! env_example` writes it. The program takes it.

use std::collections::BTreeMap;

use super::{page, root};
use crate::settings::{EnvFile, Settings, catalog};

const EXAMPLE: &str = "deploy/switchboard.env.example";

fn variables(text: &str) -> BTreeMap<String, String> {
    let file = EnvFile::parse(EXAMPLE, text).unwrap_or_else(|faults| panic!("{faults}"));
    file.variables.into_iter().map(|(name, variable)| (name, variable.value)).collect()
}

#[test]
fn the_example_of_a_file_of_variables_names_the_settings_of_the_page() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(EXAMPLE), catalog::example()).unwrap();
    }
    assert!(page(EXAMPLE) == catalog::example(), "{EXAMPLE} is old: write it with UPDATE_DOCS=1");
}

#[test]
fn the_example_is_a_file_that_the_program_reads() {
    let required = ["DATABASE_URL", "OPENAI_API_KEY", "TWILIO_AUTH_TOKEN"];
    let text = page(EXAMPLE);
    let as_it_is = variables(&text);
    assert_eq!(as_it_is.keys().collect::<Vec<_>>(), required);
    assert!(as_it_is.values().all(String::is_empty));

    // With each default that it names, the program starts as without them.
    let is_default = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && !line.ends_with('=');
    let defaults: String = text.lines().filter(is_default).map(|line| format!("{}\n", &line[1..])).collect();
    let defaults = variables(&defaults);
    assert!(defaults.len() > 20, "{defaults:?}");
    let read = Settings::read(|name| match name {
        "DATABASE_URL" => Some("postgresql://app@127.0.0.1/app".to_owned()),
        "OPENAI_API_KEY" | "TWILIO_AUTH_TOKEN" => Some("any".to_owned()),
        name => defaults.get(name).cloned(),
    });
    read.unwrap_or_else(|faults| panic!("{faults}"));
}
