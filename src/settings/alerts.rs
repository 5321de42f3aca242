//! The alerts: whom they reach, and from where on something is wrong.

use std::time::Duration;

use actors::alerts::{AlertSettings, INTERVAL, is_pagerduty, levels_of};
use actors::secret::Secret;
use url::Url;

use super::reader::Reader;
use super::telephone_number;

pub(super) fn read(reader: &mut Reader<'_>) -> AlertSettings {
    let webhook = webhook(reader);
    let pagerduty_key = reader.optional_secret("ALERT_PAGERDUTY_KEY");
    let needs_key = webhook.as_ref().is_some_and(|url| is_pagerduty(url.expose()));
    if needs_key && pagerduty_key.is_none() {
        let wrong = "is not set, and ALERT_WEBHOOK_URL leads to PagerDuty";
        reader.fault("ALERT_PAGERDUTY_KEY", wrong, "give the routing key of the integration");
    }
    let usual = u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX);
    AlertSettings {
        interval: Duration::from_millis(reader.number("ALERT_INTERVAL_MS", usual, 20, 60_000).into()),
        levels: levels(reader),
        number: telephone_number(reader, "URGENT_NOTIFICATION_NUMBER"),
        webhook,
        pagerduty_key,
        page: None,
    }
}

fn levels(reader: &mut Reader<'_>) -> Vec<(usize, actors::thresholds::Levels)> {
    let Some(text) = reader.optional("ALERT_THRESHOLDS") else { return Vec::new() };
    levels_of(&text).unwrap_or_else(|error| {
        let remedy = "give rules of docs/operating.md with levels, such as `memory=60/80,api-errors=2/10`";
        reader.fault("ALERT_THRESHOLDS", &format!("is wrong, as {error}"), remedy);
        Vec::new()
    })
}

/// What is wrong is not shown: whoever knows the URL can write there.
fn webhook(reader: &mut Reader<'_>) -> Option<Secret> {
    let text = reader.secret_text("ALERT_WEBHOOK_URL")?;
    if !Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
        let wrong = "is not a URL such as https://hooks.example.com/x";
        reader.fault("ALERT_WEBHOOK_URL", wrong, "give scheme and host, or unset it");
    }
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_webhook_is_read_from_a_file_as_other_secrets_are() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "https://hooks.example.com/x").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let lookup = |name: &str| (name == "ALERT_WEBHOOK_URL_FILE").then(|| path.clone());
        let mut reader = Reader::new(&lookup);
        let webhook = read(&mut reader).webhook.unwrap();
        assert_eq!(webhook.expose(), "https://hooks.example.com/x");
        assert!(reader.finish(()).is_ok());
    }
}
