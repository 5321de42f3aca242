//! Twilio: credentials, and where the number sends its calls.

use actors::wire::twilio::rest::{Account, PhoneNumber, Refusal, RestError};
use url::Url;

use crate::preflight::facts::{Facts, Twilio};
use crate::preflight::fix::{Wanted, shown, wanted};
use crate::preflight::{Level, Line};

pub(super) fn lines(facts: &Facts) -> Vec<Line> {
    let signatures = if facts.said.bypasses_validation {
        let seen = "every webhook is believed, whoever sends it";
        Line::fail("twilio-signatures", seen, "unset BYPASS_TWILIO_VALIDATION")
    } else {
        Line::pass("twilio-signatures", "only what Twilio has signed is believed")
    };
    let mut lines = vec![signatures];
    let Some(twilio) = &facts.twilio else {
        let seen = "TWILIO_ACCOUNT_SID is not set: calls of a dead process are not fetched back, and alerts are not \
                    texted";
        lines.push(Line::warn("twilio-account", seen, "set TWILIO_ACCOUNT_SID"));
        lines.push(Line::unknown("number", "twilio-account"));
        lines.extend(not_known("twilio-account"));
        return lines;
    };
    lines.extend([account(twilio), number(twilio)]);
    lines.extend(match (&twilio.number, &facts.said.public_url) {
        (Some(Ok(Some(found))), Some(url)) => hooks(found, &wanted(url), url),
        (Some(Ok(Some(_))), None) => not_known("public-url"),
        (Some(Err(_)), _) if twilio.account.is_err() => not_known("twilio-account"),
        _ => not_known("number"),
    });
    lines
}

/// The lines of the number's URLs, where another line has to be mended first.
fn not_known(first: &str) -> [Line; 3] {
    ["number-voice", "number-fallback", "number-status"].map(|name| Line::unknown(name, first))
}

/// Whether Twilio accepts the credentials.
pub fn account(twilio: &Twilio) -> Line {
    let name = "twilio-account";
    match &twilio.account {
        Ok(Account { status, .. }) if status != "active" => {
            Line::fail(name, format!("the account is {status}"), "see why in Twilio's console")
        }
        Ok(Account { kind, .. }) if kind == "Trial" => {
            let seen = "a trial account: it calls and texts verified numbers only";
            Line::warn(name, seen, "upgrade the account in Twilio's console")
        }
        Ok(_) => Line::pass(name, "Twilio accepts the credentials"),
        Err(RestError::Refused(Refusal { status: 401 | 403 | 404, .. })) => Line::fail(
            name,
            "Twilio refuses the credentials",
            "copy TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN from Twilio's console",
        ),
        Err(error) => Line::fail(
            name,
            format!("Twilio's REST API: {error}"),
            "check TWILIO_API_BASE_URL, the way out of this network, and status.twilio.com",
        ),
    }
}

/// The line that says why nothing can be sent; none if the account and the number are there.
pub(super) fn refuses(twilio: &Twilio) -> Option<&'static str> {
    if account(twilio).level == Level::Fail {
        return Some("twilio-account");
    }
    (!matches!(twilio.number, Some(Ok(Some(_))))).then_some("number")
}

/// Whether the account has the number, and takes calls on it for us.
pub fn number(twilio: &Twilio) -> Line {
    let name = "number";
    match &twilio.number {
        None => {
            let seen = "TWILIO_FROM_NUMBER is not set, so that nobody knows which number to look at";
            Line::warn(name, seen, "set TWILIO_FROM_NUMBER to the number that is called")
        }
        Some(Err(_)) if twilio.account.is_err() => Line::unknown(name, "twilio-account"),
        Some(Err(error)) => Line::fail(name, format!("Twilio's REST API: {error}"), "run the check again"),
        Some(Ok(None)) => {
            let seen = "the account does not have the number in TWILIO_FROM_NUMBER";
            Line::fail(name, seen, "set TWILIO_FROM_NUMBER to a number of this account")
        }
        Some(Ok(Some(found))) => kind(found),
    }
}

fn kind(found: &PhoneNumber) -> Line {
    let name = "number";
    let elsewhere =
        [("a TwiML application", &found.voice_application_sid), ("a SIP trunk", &found.trunk_sid)];
    let elsewhere = elsewhere.into_iter().find(|(_, sid)| !sid.is_empty());
    if let Some((what, _)) = elsewhere {
        let seen = format!("calls go to {what}, and not to the number's own URLs");
        return Line::fail(name, seen, "set the number to `Webhook` in Twilio's console");
    }
    if !found.capabilities.voice {
        return Line::fail(name, "the number takes no calls", "buy a number with the capability `Voice`");
    }
    Line::pass(name, "the account has the number")
}

fn hooks(found: &PhoneNumber, wanted: &Wanted, public_url: &Url) -> [Line; 3] {
    let voice = [found.voice_url.as_str(), found.voice_method.as_str()];
    let status = [found.status_callback.as_str(), found.status_callback_method.as_str()];
    [
        hook("number-voice", Level::Fail, voice, &wanted.voice),
        fallback(&found.voice_fallback_url, public_url),
        hook("number-status", Level::Warn, status, &wanted.status),
    ]
}

/// A URL and its method as they are, against the URL that is wanted.
fn hook(name: &'static str, wrong: Level, [is, method]: [&str; 2], wanted: &Url) -> Line {
    let (bare, rest) = is.split_once('#').unwrap_or((is, ""));
    let mut bare_wanted = wanted.clone();
    bare_wanted.set_fragment(None);
    let (level, seen) = if is.is_empty() {
        (wrong, "not set".to_owned())
    } else if bare != bare_wanted.as_str() {
        (wrong, format!("it leads to {}", shown(is)))
    } else if method != "POST" {
        (wrong, format!("it is requested by {method}"))
    } else if Some(rest) != wanted.fragment() {
        (Level::Warn, "it lacks the part behind # that has Twilio try again".to_owned())
    } else {
        return Line::pass(name, "as it should be");
    };
    let remedy = format!("run `switchboard preflight --fix`, or enter {wanted} (HTTP POST)");
    Line { name, level, seen, remedy: Some(remedy) }
}

fn fallback(is: &str, public_url: &Url) -> Line {
    let name = "number-fallback";
    let remedy = "make a TwiML Bin at Twilio (docs/going-live.md has its text), and enter it at `Primary handler \
                  fails`, or run `switchboard preflight --fix --fallback-url URL`";
    if is.is_empty() {
        return Line::warn(name, "not set: while nothing of yours works, a call ends with an error", remedy);
    }
    if Url::parse(is).is_ok_and(|url| url.origin() == public_url.origin()) {
        return Line::warn(name, "it leads to the program itself, which may be what has failed", remedy);
    }
    Line::pass(name, "it leads elsewhere than to the program")
}
