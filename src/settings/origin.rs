//! Where each setting comes from, for `switchboard print-config`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::catalog::{Entry, entries};
use super::secret_file::{Place, file_variable, places};
use super::{MigrateSettings, OpsSettings, Settings, WorkerSettings};

/// A setting as it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    #[serde(skip)]
    pub section: &'static str,
    pub name: &'static str,
    /// None of a secret, and of a setting that has neither value nor default.
    pub value: Option<String>,
    /// What an unset setting means whose default is no value but a description.
    pub default_means: Option<String>,
    pub is_secret: bool,
    pub is_set: bool,
    pub origin: String,
}

impl Shown {
    /// The value; of a secret, only whether there is one.
    pub fn text(&self) -> &str {
        match (&self.value, self.is_set) {
            (Some(value), _) => value,
            (None, true) => "set",
            (None, false) => self.default_means.as_deref().unwrap_or("not set"),
        }
    }
}

/// All settings as they hold. `lookup` gives the value of a variable, `from_file` where the file of variables
/// has it.
pub fn shown(
    lookup: &dyn Fn(&str) -> Option<String>,
    from_file: &dyn Fn(&str) -> Option<String>,
) -> Vec<Shown> {
    let (secrets, faulty) = (secrets(), faulty(lookup));
    let one = |entry: &'static Entry| {
        let value = lookup(entry.name).filter(|value| !value.is_empty());
        let is_secret = secrets.contains(entry.name);
        let places = if is_secret { places(entry.name, lookup) } else { Vec::new() };
        let of_variable = |name: &str| from_file(name).unwrap_or_else(|| "environment".to_owned());
        let origins: Vec<_> = match (&value, places.as_slice()) {
            (Some(_), []) => vec![of_variable(entry.name)],
            (None, []) => vec![if entry.default.is_some() { "default" } else { "-" }.to_owned()],
            (_, places) => places
                .iter()
                .map(|place| match place {
                    Place::Variable => of_variable(entry.name),
                    Place::File(_) => format!("a file ({})", file_variable(entry.name)),
                    Place::Credential(path) => path.display().to_string(),
                })
                .collect(),
        };
        let is_set = value.is_some() || !places.is_empty();
        let is_doubtful = |value: &str| may_hold_a_secret(value) || faulty.contains(entry.name);
        let is_hidden = is_secret || value.as_deref().is_some_and(is_doubtful);
        let default = entry.default.clone().filter(|_| !is_hidden && !is_set);
        Shown {
            section: entry.section,
            name: entry.name,
            default_means: default.clone().filter(|_| !entry.is_value),
            value: value.filter(|_| !is_hidden).or(default.filter(|_| entry.is_value)),
            is_secret,
            is_set,
            origin: origins.join(" and "),
        }
    };
    entries().iter().map(one).collect()
}

/// A URL with a user, a query or a fragment, or a key, where no secret is expected.
fn may_hold_a_secret(value: &str) -> bool {
    value.contains("://") && value.contains(['@', '?', '#']) || value.contains("-----BEGIN")
}

/// The settings whose readers report a fault: somebody may have put a secret into the wrong variable.
fn faulty(lookup: &dyn Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let faults = [
        Settings::read(lookup).err(),
        WorkerSettings::read(lookup).err(),
        MigrateSettings::read(lookup).err(),
        OpsSettings::read(lookup).err(),
    ];
    let faults = faults.iter().flatten().flat_map(|faults| faults.iter());
    faults.map(|fault| fault.name.clone()).collect()
}

/// The settings that may be in a file: the program asks for the variable that names it.
pub fn secrets() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    drop((Settings::read(lookup), WorkerSettings::read(lookup)));
    drop((MigrateSettings::read(lookup), OpsSettings::read(lookup)));
    let asked = asked.into_inner();
    let is_secret = |name: &&String| asked.contains(&file_variable(name));
    asked.iter().filter(is_secret).cloned().collect()
}

/// The settings as a table, with the heading of each section.
pub fn table(shown: &[Shown]) -> String {
    let mut table = String::new();
    let mut section = "";
    let widths: BTreeMap<&str, usize> = shown.iter().fold(BTreeMap::new(), |mut widths, one| {
        let width = one.text().chars().count().min(48);
        let widest: &mut usize = widths.entry(one.section).or_default();
        *widest = (*widest).max(width);
        widths
    });
    for one in shown {
        if one.section != section {
            section = one.section;
            table += &format!("{}# {section}\n", if table.is_empty() { "" } else { "\n" });
        }
        let width = widths.get(section).copied().unwrap_or_default();
        table += &format!("{:<36} {:<width$}  {}\n", one.name, one.text(), one.origin);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], in_file: &[&str]) -> Vec<Shown> {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        shown(&lookup, &|name| in_file.contains(&name).then(|| "a.env:7".to_owned()))
    }

    fn one(shown: &[Shown], name: &str) -> (String, String) {
        let one = shown.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"));
        (one.text().to_owned(), one.origin.clone())
    }

    #[test]
    fn each_setting_is_shown_with_where_it_comes_from_and_no_secret_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hush").unwrap();
        let path = path.to_str().unwrap();
        let shown = of(
            &[
                ("PORT", "80"),
                ("BIND_ADDR", "10.0.0.1"),
                ("DATABASE_URL", "postgresql://u:hush@h/d"),
                ("OPENAI_API_KEY_FILE", path),
                ("TWILIO_API_BASE_URL", "https://u:hush@h"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "key=hush"),
            ],
            &["BIND_ADDR"],
        );
        let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(one(&shown, "PORT"), pair("80", "environment"));
        assert_eq!(one(&shown, "BIND_ADDR"), pair("10.0.0.1", "a.env:7"));
        assert_eq!(one(&shown, "MAX_CONCURRENT_CALLS"), pair("20", "default"));
        assert_eq!(one(&shown, "PUBLIC_URL").1, "default");
        assert_eq!(one(&shown, "HUMAN_FALLBACK_NUMBER"), pair("not set", "-"));
        assert_eq!(one(&shown, "DATABASE_URL"), pair("set", "environment"));
        assert_eq!(one(&shown, "OPENAI_API_KEY"), pair("set", "a file (OPENAI_API_KEY_FILE)"));
        assert_eq!(one(&shown, "TWILIO_AUTH_TOKEN"), pair("not set", "-"));
        assert_eq!(one(&shown, "TWILIO_API_BASE_URL"), pair("set", "environment"));
        let all = table(&shown) + &serde_json::to_string(&shown).unwrap();
        assert!(!all.contains("hush"), "{all}");
        assert!(all.starts_with("# Required\nDATABASE_URL "), "{all}");
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_not_shown() {
        for (name, value) in [
            ("PORT", "sk-hush"),
            ("TWILIO_API_BASE_URL", "https://h/?key=hush"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/#hush"),
            ("OTEL_SERVICE_NAME", "https://u:hush@h"),
            ("OTEL_SERVICE_NAME", "-----BEGIN PRIVATE KEY-----hush"),
            ("OPENAI_API_KEY_FILE", "sk-hush"),
        ] {
            let shown = of(&[(name, value)], &[]);
            let all = table(&shown) + &serde_json::to_string(&shown).unwrap();
            assert!(!all.contains("hush"), "{name}: {all}");
            let secret = name.trim_end_matches("_FILE");
            assert_eq!(one(&shown, secret).0, "set", "{name}");
        }
        assert_eq!(one(&of(&[("OTEL_SERVICE_NAME", "a#b")], &[]), "OTEL_SERVICE_NAME").0, "a#b");
    }

    #[test]
    fn a_default_that_is_a_description_is_no_value() {
        let shown = of(&[("DATABASE_URL", "postgresql://u:hush@h/d")], &[]);
        let one = |name: &str| shown.iter().find(|one| one.name == name).unwrap();
        let port = one("PORT");
        assert_eq!((port.value.as_deref(), port.default_means.as_deref()), (Some("8080"), None));
        let url = one("PUBLIC_URL");
        assert_eq!((url.value.as_deref(), url.is_set), (None, false));
        assert_eq!(Some(url.text()), url.default_means.as_deref());
    }

    #[test]
    fn the_secrets_are_known() {
        let known = [
            "ALERT_WEBHOOK_URL",
            "DATABASE_URL",
            "DIRECT_DATABASE_URL",
            "OPENAI_API_KEY",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "REDIS_URL",
            "SECRET_KEY",
            "SUPABASE_URL",
            "TWILIO_AUTH_TOKEN",
            "TWILIO_AUTH_TOKEN_SECONDARY",
            "TWILIO_SHARED_KEYS",
        ];
        let secrets = secrets();
        for name in known {
            assert!(secrets.contains(name), "{name}");
        }
        let all = entries().iter().map(|entry| entry.name);
        let unhidden: Vec<_> = all
            .filter(|name| ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word)))
            .filter(|name| !secrets.contains(*name) && *name != "TLS_KEY_FILE")
            .collect();
        assert_eq!(unhidden, [""; 0]);
    }
}
