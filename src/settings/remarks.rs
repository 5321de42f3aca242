//! What to look at in the environment of a program that starts all the same: names that are probably
//! misspelt, settings that have no effect, and settings that are dangerous.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use actors::alerts::is_pagerduty;
use actors::call::recorder::Mode;

use super::secret_file::file_variable;
use super::{Settings, environment, unread};
use crate::http::settings::ApiAuth;
use crate::nearest::nearest;

/// Settings of other commands, or of parts that a build may lack: they are misspelt as easily as those that
/// are read.
const OTHERS: [&str; 25] = [
    "ALERT_INTERVAL_MS",
    "ALERT_PAGERDUTY_KEY",
    "ALERT_THRESHOLDS",
    "ALERT_WEBHOOK_URL",
    "DIRECT_DATABASE_URL",
    "HTTP_KEEP_ALIVE_MS",
    "OPENAI_REALTIME_FALLBACK_API_KEY",
    "OPENAI_REALTIME_FALLBACK_MODEL",
    "OPENAI_REALTIME_FALLBACK_URL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "RECORD_CALLS",
    "REDIS_URL",
    "RUST_BACKTRACE",
    "SPEND_LIMIT_PER_CALL_USD",
    "SPEND_LIMIT_PER_DAY_USD",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SUPABASE_URL",
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    "TWILIO_AUTH_TOKEN_SECONDARY",
    "TWILIO_SHARED_KEYS",
    "URGENT_NOTIFICATION_NUMBER",
];
/// Those of them that somebody sets for an effect, and what is missing without it. Not said where the program
/// asks for them, unless it only [checks](unread::CHECKED) them.
const WITHOUT_EFFECT: [(&str, &str); 7] = [
    ("HTTP_KEEP_ALIVE_MS", "idle connections are kept as long as always"),
    ("OPENAI_REALTIME_FALLBACK_URL", "there is no second engine"),
    ("RECORD_CALLS", "no call is recorded"),
    ("SPEND_LIMIT_PER_CALL_USD", "nothing limits what a call costs"),
    ("SPEND_LIMIT_PER_DAY_USD", "nothing limits what a day costs"),
    ("TWILIO_AUTH_TOKEN_SECONDARY", "only TWILIO_AUTH_TOKEN is believed"),
    ("TWILIO_SHARED_KEYS", "only TWILIO_AUTH_TOKEN is believed"),
];
/// Without them, those behind them have no effect.
const DEPENDENT: [(&[&str], &[&str]); 5] = [
    (
        &["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
        &[
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ],
    ),
    (&["TWILIO_ACCOUNT_SID"], &["TWILIO_API_BASE_URL"]),
    (&["TWILIO_FROM_NUMBER"], &["URGENT_NOTIFICATION_NUMBER"]),
    (&["ALERT_WEBHOOK_URL"], &["ALERT_PAGERDUTY_KEY"]),
    (&["FLIGHT_RECORDER"], &["FLIGHT_RECORDER_DIR", "FLIGHT_RECORDER_MAX_MB", "FLIGHT_RECORDER_DAYS"]),
];
/// Without effect where the one before is set.
const OVERRIDDEN: [(&str, &str); 3] = [
    ("DATABASE_URL", "SUPABASE_URL"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
];

/// One thing to look at: the name, never the value, of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub name: String,
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// The real environment, which notes what it is asked for.
#[derive(Debug, Default)]
pub struct Environment {
    asked: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// The value of a variable, as [`Settings::read`] wants it.
    pub fn get(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        environment(name)
    }

    /// What there is to say about the names that are set, in view of those that were asked for. Another
    /// command has the same environment as `serve`.
    pub fn remarks(&self) -> Vec<Remark> {
        let _ = Settings::read(|name| {
            self.asked.borrow_mut().insert(name.to_owned());
            None
        });
        let set = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        of_names(&set, &self.asked.borrow())
    }
}

/// Names that are probably misspelt, and names without effect.
fn of_names(set: &BTreeSet<String>, asked: &BTreeSet<String>) -> Vec<Remark> {
    let known: BTreeSet<&str> = asked.iter().map(String::as_str).chain(OTHERS).collect();
    let misspelt = set.iter().filter_map(|name| {
        let near = nearest(name, known.iter().copied())?;
        Some(Remark { name: name.clone(), text: format!("is not a setting: is {near} meant?") })
    });
    let is_set = |name: &str| set.contains(name) || set.contains(&file_variable(name));
    let is_read = |name: &str| asked.contains(name) && !unread::CHECKED.contains(&name);
    let unread = WITHOUT_EFFECT.iter().filter(|(name, _)| is_set(name) && !is_read(name));
    let unread = unread.map(|(name, text)| (*name, format!("has no effect in this version: {text}")));
    let without = DEPENDENT.iter().filter(|(needed, _)| !needed.iter().any(|name| is_set(name)));
    let without = without.flat_map(|(needed, names)| {
        let names = names.iter().filter(|name| is_set(name) && asked.contains(**name));
        names.map(|name| (*name, format!("has no effect without {}", needed[0])))
    });
    let overridden = OVERRIDDEN.iter().filter(|(first, second)| is_set(first) && is_set(second));
    let overridden =
        overridden.map(|(first, second)| (*second, format!("has no effect: {first} goes before it")));
    let without_effect = unread.chain(without).chain(overridden);
    misspelt.chain(without_effect.map(|(name, text)| Remark { name: name.to_owned(), text })).collect()
}

impl Settings {
    /// Settings that are as they should be only in a test, and those that do not fit each other.
    pub fn dangers(&self) -> Vec<Remark> {
        let limitless = self.http.trusted_proxies.iter().any(|network| network.prefix_len() == 0);
        let is_pagerduty = self.alerts.webhook.as_ref().is_some_and(|url| is_pagerduty(url.expose()));
        let dangers = [
            (
                self.alerts.pagerduty_key.is_some() && self.alerts.webhook.is_some() && !is_pagerduty,
                "ALERT_PAGERDUTY_KEY",
                "has no effect: ALERT_WEBHOOK_URL does not lead to PagerDuty",
            ),
            (
                self.twilio.bypass_validation,
                "BYPASS_TWILIO_VALIDATION",
                "is on: every webhook and stream is believed, whoever sends it",
            ),
            (
                self.http.api_auth == ApiAuth::Off,
                "API_AUTH",
                "is off: whoever sits at this machine reads calls and transcripts",
            ),
            (
                self.recorder.as_ref().is_some_and(|recorder| recorder.mode == Mode::Full),
                "FLIGHT_RECORDER",
                "is full: what callers and the agent say is kept in files of this machine",
            ),
            (limitless, "TRUSTED_PROXIES", "names every address: any client can say that it is another one"),
        ];
        let dangers = dangers.into_iter().filter(|(is_so, ..)| *is_so);
        dangers.map(|(_, name, text)| Remark { name: name.to_owned(), text: text.to_owned() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[&str], asked: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        of_names(&owned(set), &owned(asked)).iter().map(Remark::to_string).collect()
    }

    /// Those that `serve` reads.
    fn asked() -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        let _ = Settings::read(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        asked.into_inner()
    }

    #[test]
    fn a_name_close_to_a_setting_is_named_with_the_setting() {
        let asked = asked();
        let known = || asked.iter().map(String::as_str).chain(OTHERS);
        for (slip, meant) in [
            ("MAX_CONCURENT_CALLS", "MAX_CONCURRENT_CALLS"),
            ("MAX_CONCURRENT_CALL", "MAX_CONCURRENT_CALLS"),
            ("max_concurrent_calls", "MAX_CONCURRENT_CALLS"),
            ("TWILLIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN"),
            ("OPENAI_APIKEY", "OPENAI_API_KEY"),
            ("PUBLIC_URI", "PUBLIC_URL"),
            ("DATABSAE_URL", "DATABASE_URL"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("PROT", "PORT"),
            ("REDIS_URI", "REDIS_URL"),
        ] {
            assert_eq!(nearest(slip, known()), Some(meant), "{slip}");
        }
        let others = [
            "PATH",
            "HOST",
            "HOME",
            "PWD",
            "PGPORT",
            "LOGNAME",
            "OLDPWD",
            "HOSTNAME",
            "TERM",
            "USER",
            "LANG",
            "SHLVL",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "SUPABASE_KEY",
            "OPENAI_API_BASE",
            "TWILIO_API_KEY",
            "DATABASE_HOST",
            "HTTP_PROXY",
            "XDG_DATA_HOME",
            "RUSTUP_HOME",
        ];
        for other in others {
            assert_eq!(nearest(other, known()), None, "{other}");
        }
        for name in known() {
            assert_eq!(nearest(name, known()), None, "{name}");
        }
    }

    #[test]
    fn a_setting_without_effect_is_named_with_what_is_missing() {
        let limit = "SPEND_LIMIT_PER_DAY_USD has no effect in this version: nothing limits what a day costs";
        let name = ["SPEND_LIMIT_PER_DAY_USD"];
        assert_eq!(of(&name, &["PORT"]), [limit]);
        assert_eq!(of(&name, &name), [limit], "it is checked alone");
        let alone = "URGENT_NOTIFICATION_NUMBER has no effect without TWILIO_FROM_NUMBER";
        assert_eq!(of(&["URGENT_NOTIFICATION_NUMBER"], &["URGENT_NOTIFICATION_NUMBER"]), [alone]);
        assert_eq!(of(&["REDIS_URL"], &["REDIS_URL"]), [""; 0]);
        assert_eq!(of(&["RECORD_CALLS"], &["RECORD_CALLS"]), [""; 0], "a program that reads it");
        let headers = "OTEL_EXPORTER_OTLP_HEADERS has no effect without OTEL_EXPORTER_OTLP_ENDPOINT";
        assert_eq!(of(&["OTEL_EXPORTER_OTLP_HEADERS"], &["OTEL_EXPORTER_OTLP_HEADERS"]), [headers]);
        let both = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"];
        assert_eq!(of(&both, &both), [""; 0]);
        let second = "SUPABASE_URL has no effect: DATABASE_URL goes before it";
        assert_eq!(of(&["DATABASE_URL", "SUPABASE_URL"], &["DATABASE_URL"]), [second]);
        let by_file = ["DATABASE_URL_FILE", "SUPABASE_URL_FILE"];
        assert_eq!(of(&by_file, &by_file), [second], "a secret in a file is set, too");
    }

    #[test]
    fn settings_that_are_for_tests_are_named() {
        let names = |more: &[(&str, &str)]| -> Vec<String> {
            let required =
                [("DATABASE_URL", "postgres://d/a"), ("OPENAI_API_KEY", "k"), ("TWILIO_AUTH_TOKEN", "t")];
            let find = |name: &str| required.iter().chain(more).find(|(known, _)| *known == name);
            let settings = Settings::read(|name| find(name).map(|(_, value)| (*value).to_owned()));
            settings.unwrap().dangers().into_iter().map(|danger| danger.name).collect()
        };
        assert_eq!(names(&[("TRUSTED_PROXIES", "10.0.0.0/8")]), [""; 0]);
        let tests = [("BYPASS_TWILIO_VALIDATION", "true"), ("API_AUTH", "off")];
        assert_eq!(names(&tests), ["BYPASS_TWILIO_VALIDATION", "API_AUTH"]);
        assert_eq!(names(&[("TRUSTED_PROXIES", "10.0.0.0/8,::/0")]), ["TRUSTED_PROXIES"]);
        assert_eq!(names(&[("FLIGHT_RECORDER", "full")]), ["FLIGHT_RECORDER"]);
        assert_eq!(names(&[("FLIGHT_RECORDER", "redacted")]), [""; 0]);
        let hook = |url| [("ALERT_WEBHOOK_URL", url), ("ALERT_PAGERDUTY_KEY", "k")];
        assert_eq!(names(&hook("https://hooks.example.com/x")), ["ALERT_PAGERDUTY_KEY"]);
        assert_eq!(names(&hook("https://events.eu.pagerduty.com/v2/enqueue")), [""; 0]);
    }
}
