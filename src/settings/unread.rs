//! Settings that are checked and have no effect yet: a value that cannot be meant is a fault all the same.

use url::Url;

use super::reader::Reader;
use super::telephone_number;

pub(super) const CHECKED: [&str; 4] = [
    "URGENT_NOTIFICATION_NUMBER",
    "ALERT_WEBHOOK_URL",
    "SPEND_LIMIT_PER_CALL_USD",
    "SPEND_LIMIT_PER_DAY_USD",
];

pub(super) fn check(reader: &mut Reader<'_>) {
    telephone_number(reader, "URGENT_NOTIFICATION_NUMBER");
    origin(
        reader,
        "ALERT_WEBHOOK_URL",
        &["https", "http"],
        "is not a URL such as https://hooks.example.com/x",
    );
    for name in ["SPEND_LIMIT_PER_CALL_USD", "SPEND_LIMIT_PER_DAY_USD"] {
        reader.parsed(name, (), "an amount in dollars", |value| {
            value.parse().is_ok_and(|amount: f64| amount.is_finite() && amount > 0.0).then_some(())
        });
    }
    reader.parsed("LISTEN_FDS", (), "a number of sockets", |value| value.parse::<u16>().ok().map(|_| ()));
}

/// What is wrong is not shown, as it may hold a password.
fn origin(reader: &mut Reader<'_>, name: &str, schemes: &[&str], wrong: &str) {
    let Some(text) = reader.optional(name) else { return };
    if !Url::parse(&text).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host()) {
        reader.fault(name, wrong, "give scheme and host, or unset it");
    }
}
