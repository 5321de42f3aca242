//! The ways by which a person is told: a text message, and a webhook.

use std::fmt;
use std::time::Duration;

use awc::Client;
use call_control::alerts::{Severity, Turn, is_local};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use super::{AlertSettings, urgent};
use crate::secret::Secret;
use crate::wire::https;
use crate::wire::twilio::rest::{BadBaseUrl, NewMessage, RestError, Sender, TwilioApi};
use crate::wire::twilio::settings::TwilioSettings;

/// An attempt is over within this.
const WITHIN: Duration = Duration::from_secs(5);
/// A text message is given so long. After that, nobody knows whether it was sent.
const MESSAGE_WITHIN: Duration = Duration::from_secs(20);
/// Twilio's clock and ours may differ by this.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(5);

thread_local! {
    static CLIENT: Client = https::client();
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An alert was raised, got worse or goes on.
    Bad(Severity),
    Cleared,
    /// Somebody takes care of it.
    Acknowledged,
    /// Nothing is wrong.
    Test,
}

impl Kind {
    pub(super) fn of(turn: Turn, severity: Severity) -> Self {
        if turn == Turn::Cleared { Self::Cleared } else { Self::Bad(severity) }
    }

    /// The word by which instances agree on who tells it; none: they do not.
    pub(super) fn claim(self) -> Option<&'static str> {
        match self {
            Self::Bad(severity) => Some(severity.as_str()),
            Self::Cleared | Self::Acknowledged | Self::Test => None,
        }
    }
}

/// Something to tell. The text is in ASCII.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The identifier of the alert.
    pub id: String,
    pub rule: String,
    pub kind: Kind,
    /// It was told before, and goes on.
    pub is_repeat: bool,
    pub text: String,
    pub value: Option<f64>,
    pub instance: String,
    pub at: DateTime<Utc>,
}

impl Notice {
    /// One that tries the ways.
    pub fn test(instance: &str, at: DateTime<Utc>) -> Self {
        Self {
            id: String::new(),
            rule: "test".to_owned(),
            kind: Kind::Test,
            is_repeat: false,
            text: format!("Switchboard TEST on {instance}: alerts reach you. Nothing is wrong."),
            value: None,
            instance: instance.to_owned(),
            at,
        }
    }
}

/// Why a notice was not sent. None of the texts holds an address or a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The other side refuses it, and would again.
    #[error("{0}")]
    Refused(String),
    /// It may do when it is tried again.
    #[error("{0}")]
    Failed(String),
    /// There was no answer in time: it may have been sent.
    #[error("{0}")]
    Unknown(String),
}

/// A way to notify a person.
#[derive(Clone)]
pub enum Way {
    /// What has no answer `within` this may have been sent.
    Sms {
        api: TwilioApi,
        from: String,
        to: String,
        within: Duration,
    },
    Webhook {
        url: Secret,
        format: Format,
    },
}

/// What a webhook takes.
#[derive(Clone)]
pub enum Format {
    /// An object with a `text`.
    Slack,
    /// Events API v2. Alerts of one group are one incident.
    PagerDuty { key: Secret, group: String },
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Way {
    /// Every way that the settings name. `group` names the instances that have their incidents together.
    ///
    /// # Errors
    /// The REST API has no usable address.
    pub fn all(
        settings: &AlertSettings,
        twilio: &TwilioSettings,
        group: &str,
    ) -> Result<Vec<Self>, BadBaseUrl> {
        let mut ways = Vec::new();
        if let (Some(to), Some(from), Some(api)) = (&settings.number, &twilio.from_number, twilio.api()?) {
            // Longer than a message is given: the API does not send it again by itself after no answer.
            let (api, within) = (api.within(2 * MESSAGE_WITHIN), MESSAGE_WITHIN);
            ways.push(Self::Sms { api, from: from.clone(), to: to.clone(), within });
        }
        if let Some(url) = &settings.webhook {
            let format = match settings.pagerduty_key.clone().filter(|_| is_pagerduty(url.expose())) {
                Some(key) => Format::PagerDuty { key, group: group.to_owned() },
                None => Format::Slack,
            };
            ways.push(Self::Webhook { url: url.clone(), format });
        }
        Ok(ways)
    }

    /// The word used in metrics and the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sms { .. } => "sms",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// Whether a notice of this kind goes this way. `was_urgent`: its alert was critical at some time.
    pub(super) fn takes(&self, kind: Kind, was_urgent: bool) -> bool {
        match (self, kind) {
            (_, Kind::Test) => true,
            (Self::Sms { .. }, Kind::Bad(severity)) => severity == Severity::Critical,
            (Self::Sms { .. }, Kind::Cleared) => was_urgent,
            (Self::Sms { .. }, Kind::Acknowledged) => false,
            (Self::Webhook { format, .. }, Kind::Acknowledged) => {
                matches!(format, Format::PagerDuty { .. })
            }
            (Self::Webhook { .. }, Kind::Bad(_) | Kind::Cleared) => true,
        }
    }

    /// Whether what it was told of stays open until it is told the end.
    pub(super) fn has_incidents(&self) -> bool {
        matches!(self, Self::Webhook { format: Format::PagerDuty { .. }, .. })
    }

    /// Sends it once: to a webhook within 5 s, as a text message within 20 s.
    ///
    /// # Errors
    /// It was not sent, or nobody knows.
    pub async fn send(&self, notice: &Notice) -> Result<(), SendError> {
        match self {
            Self::Sms { api, from, to, within } => message(api, from, to, &notice.text, *within).await,
            Self::Webhook { url, format: Format::Slack } => post(url, &json!({"text": notice.text})).await,
            Self::Webhook { url, format: Format::PagerDuty { key, group } } => {
                post(url, &pagerduty(notice, key.expose(), group)).await?;
                if notice.kind == Kind::Test {
                    // A test leaves no incident behind.
                    let over = Notice { kind: Kind::Cleared, ..notice.clone() };
                    post(url, &pagerduty(&over, key.expose(), group)).await?;
                }
                Ok(())
            }
        }
    }

    /// Whether a text that may have been sent was sent. A list that is not read says nothing, and the text
    /// counts as not sent: better twice than never.
    pub(super) async fn has_sent(&self, text: &str, since: DateTime<Utc>) -> bool {
        let Self::Sms { api, from, to, within } = self else { return false };
        let body = plain(text);
        let sent = NewMessage { to, from: Sender::Number(from), body: &body, status_callback: None };
        let found = timeout(*within, api.find_message(sent, since - CLOCKS_DIFFER)).await;
        matches!(found, Ok(Ok(Some(_))))
    }
}

/// Whether events go to PagerDuty, in its service region of the USA or of Europe.
pub fn is_pagerduty(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.scheme() == "https"
            && matches!(url.host_str(), Some("events.pagerduty.com" | "events.eu.pagerduty.com"))
            && url.path() == "/v2/enqueue"
    })
}

/// The text of a message. A backtick is not in the alphabet of GSM: with one, a part holds less than half.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

async fn message(
    api: &TwilioApi,
    from: &str,
    to: &str,
    text: &str,
    within: Duration,
) -> Result<(), SendError> {
    let body = plain(text);
    let new = NewMessage { to, from: Sender::Number(from), body: &body, status_callback: None };
    match timeout(within, api.send_message(new)).await {
        // An answer that cannot be read says that it was sent.
        Ok(Ok(_) | Err(RestError::Unreadable(_))) => Ok(()),
        Ok(Err(error @ (RestError::Refused(_) | RestError::Twiml(_)))) => {
            Err(SendError::Refused(error.to_string()))
        }
        Ok(Err(error)) if error.leaves_open() => Err(SendError::Unknown(error.to_string())),
        Ok(Err(error)) => Err(SendError::Failed(error.to_string())),
        Err(_) => Err(SendError::Unknown(format!("no answer within {within:?}"))),
    }
}

/// A redirect is not followed: it might lead anywhere.
async fn post(url: &Secret, body: &Value) -> Result<(), SendError> {
    let client = CLIENT.with(Client::clone);
    let request = client.post(url.expose()).content_type("application/json").force_close();
    match timeout(WITHIN, request.send_body(body.to_string())).await {
        Ok(Ok(response)) => judge(response.status().as_u16()),
        Ok(Err(awc::error::SendRequestError::Url(_))) => {
            Err(SendError::Refused("the URL is of no use".to_owned()))
        }
        Ok(Err(error)) => Err(SendError::Failed(error.to_string())),
        Err(_) => Err(SendError::Failed(format!("no answer within {WITHIN:?}"))),
    }
}

fn judge(status: u16) -> Result<(), SendError> {
    match status {
        200..300 => Ok(()),
        300..400 => Err(SendError::Refused(format!("status {status}: redirects are not followed"))),
        408 | 425 | 429 | 500.. => Err(SendError::Failed(format!("status {status}"))),
        _ => Err(SendError::Refused(format!("status {status}"))),
    }
}

/// An event of PagerDuty's Events API v2. An alert about one process is an incident of its own.
fn pagerduty(notice: &Notice, key: &str, group: &str) -> Value {
    let (action, severity) = match notice.kind {
        Kind::Bad(severity) => ("trigger", severity.as_str()),
        Kind::Test => ("trigger", "info"),
        Kind::Cleared => ("resolve", ""),
        Kind::Acknowledged => ("acknowledge", ""),
    };
    let mut incident = format!("switchboard/{group}/{}", notice.rule);
    if is_local(&notice.rule) {
        incident = format!("{incident}/{}", notice.instance);
    }
    if notice.rule == urgent::RULE {
        incident = format!("{incident}/{}", notice.id); // each caller is one of their own
    }
    let mut event = json!({"routing_key": key, "event_action": action, "dedup_key": incident});
    if action == "trigger" {
        event["payload"] = json!({
            "summary": notice.text,
            "source": notice.instance,
            "severity": severity,
            "timestamp": notice.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "component": "switchboard",
            "group": group,
            "class": notice.rule,
            "custom_details": {"value": notice.value},
        });
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: Kind) -> Notice {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Notice { kind, rule: "memory".to_owned(), value: Some(90.0), ..Notice::test("a:8080", at) }
    }

    #[test]
    fn an_incident_of_pagerduty_is_triggered_acknowledged_and_resolved_by_one_key() {
        let event = |kind| pagerduty(&notice(kind), "k", "calls.example.com");
        let bad = event(Kind::Bad(Severity::Critical));
        assert_eq!(bad["event_action"], "trigger");
        assert_eq!(bad["payload"]["severity"], "critical");
        assert_eq!(bad["payload"]["source"], "a:8080");
        assert_eq!(bad["payload"]["timestamp"], "2027-01-15T08:00:00.000Z");
        for (kind, action) in [(Kind::Acknowledged, "acknowledge"), (Kind::Cleared, "resolve")] {
            let event = event(kind);
            assert_eq!(event["event_action"], action);
            assert_eq!(event["dedup_key"], "switchboard/calls.example.com/memory/a:8080");
            assert_eq!(event["routing_key"], "k");
            assert_eq!(event.get("payload"), None);
        }
    }

    #[test]
    fn instances_have_one_incident_about_what_they_share_and_each_its_own_about_itself() {
        let key = |rule: &str, instance: &str| {
            let (rule, instance) = (rule.to_owned(), instance.to_owned());
            let notice = Notice { rule, instance, ..notice(Kind::Bad(Severity::Critical)) };
            pagerduty(&notice, "k", "g")["dedup_key"].clone()
        };
        assert_eq!(key("redis-away", "a"), key("redis-away", "b"));
        assert_ne!(key("memory", "a"), key("memory", "b"));
    }

    #[test]
    fn every_message_is_written_in_the_alphabet_of_gsm() {
        for rule in call_control::alerts::RULES {
            let text = format!("{} {} {}", rule.name, rule.text, rule.remedy);
            let fits = |c: char| c.is_ascii_alphanumeric() || " @$_!\"#%&'()*+,-./:;<=>?".contains(c);
            let odd: String = plain(&text).chars().filter(|c| !fits(*c)).collect();
            assert_eq!(odd, "", "{}", rule.name);
        }
    }

    #[test]
    fn only_pagerdutys_own_address_gets_its_key() {
        assert!(is_pagerduty("https://events.pagerduty.com/v2/enqueue"));
        assert!(is_pagerduty("https://events.eu.pagerduty.com/v2/enqueue"));
        for other in [
            "http://events.pagerduty.com/v2/enqueue",
            "https://events.pagerduty.com.example.com/v2/enqueue",
            "https://hooks.slack.com/services/x",
            "",
        ] {
            assert!(!is_pagerduty(other), "{other}");
        }
    }

    #[test]
    fn what_would_be_refused_again_is_told_from_what_may_do_later() {
        assert_eq!(judge(202), Ok(()));
        for status in [302, 400, 404, 410] {
            assert!(matches!(judge(status), Err(SendError::Refused(_))), "{status}");
        }
        for status in [408, 429, 500, 503] {
            assert!(matches!(judge(status), Err(SendError::Failed(_))), "{status}");
        }
    }
}
