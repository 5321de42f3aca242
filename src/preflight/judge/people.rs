//! The people behind the program: who hears of an alert, who takes a call.

use actors::wire::twilio::number::can_be_caller_id;

use super::twilio;
use crate::preflight::Line;
use crate::preflight::facts::{Facts, Twilio};

pub(super) fn lines(facts: &Facts) -> [Line; 2] {
    [alerts(facts), human(facts)]
}

fn alerts(facts: &Facts) -> Line {
    let (name, said) = ("alert-number", &facts.said);
    let set = "set URGENT_NOTIFICATION_NUMBER to a mobile number in E.164, such as +15005550006";
    let Some(number) = &said.urgent_number else {
        return if said.has_alert_webhook {
            Line::warn(name, "nobody gets a text message: alerts go to ALERT_WEBHOOK_URL alone", set)
        } else {
            let missing: Vec<_> = [
                (true, "URGENT_NOTIFICATION_NUMBER"),
                (facts.twilio.is_none(), "TWILIO_ACCOUNT_SID"),
                (said.from_number.is_none(), "TWILIO_FROM_NUMBER"),
            ]
            .into_iter()
            .filter_map(|(is_missing, setting)| is_missing.then_some(setting))
            .collect();
            let remedy = format!("set ALERT_WEBHOOK_URL, or for text messages {}", missing.join(" and "));
            Line::fail(name, "nobody hears of an alert", remedy)
        };
    };
    if !can_be_caller_id(number) {
        return Line::fail(name, "URGENT_NOTIFICATION_NUMBER is no telephone number that can be texted", set);
    }
    if said.from_number.as_ref() == Some(number) {
        let seen = "URGENT_NOTIFICATION_NUMBER is our own number, TWILIO_FROM_NUMBER";
        return Line::fail(name, seen, "give the number of the person on duty");
    }
    if said.from_number.is_none() || facts.twilio.is_none() {
        let seen = "text messages need TWILIO_ACCOUNT_SID and TWILIO_FROM_NUMBER";
        return Line::fail(name, seen, "set TWILIO_ACCOUNT_SID and TWILIO_FROM_NUMBER");
    }
    if let Some(Twilio { number: Some(Ok(Some(found))), .. }) = &facts.twilio
        && !found.capabilities.sms
    {
        let seen = "the number in TWILIO_FROM_NUMBER cannot send text messages";
        return Line::fail(name, seen, "set ALERT_WEBHOOK_URL, or buy a number with the capability `SMS`");
    }
    if let Some(decides) = facts.twilio.as_ref().and_then(twilio::refuses) {
        return Line::unknown(name, decides);
    }
    Line::pass(name, "critical alerts are texted; try it with `switchboard ops test-alert`")
}

fn human(facts: &Facts) -> Line {
    let (name, said) = ("human-fallback", &facts.said);
    let Some(number) = &said.human_number else {
        return Line::warn(
            name,
            "nobody takes a call if the agent cannot: callers can leave a voicemail",
            "set HUMAN_FALLBACK_NUMBER",
        );
    };
    if said.from_number.as_ref() == Some(number) {
        let seen = "HUMAN_FALLBACK_NUMBER is our own number, so that a transfer calls the agent";
        return Line::fail(name, seen, "give the number of a person");
    }
    if !can_be_caller_id(number) {
        let seen = "HUMAN_FALLBACK_NUMBER is no telephone number that can be called from everywhere";
        return Line::warn(name, seen, "give a full number in E.164, such as +15005550006");
    }
    Line::pass(name, "a person takes a call if the agent cannot")
}
