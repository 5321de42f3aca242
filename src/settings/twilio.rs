//! Twilio: the account, its credentials, our numbers.

use actors::wire::twilio::rest;
use actors::wire::twilio::settings::TwilioSettings;
use url::Url;

use super::reader::Reader;
use super::{is_account_sid, shared_keys, telephone_number};

pub(super) fn read(reader: &mut Reader<'_>) -> TwilioSettings {
    let bypass_validation =
        reader.parsed("BYPASS_TWILIO_VALIDATION", false, "`true` or `false`", |v| match v {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        });
    let auth_token = if bypass_validation {
        reader.optional_secret("TWILIO_AUTH_TOKEN")
    } else {
        Some(reader.required_secret("TWILIO_AUTH_TOKEN", "give the account's primary auth token"))
    };
    let auth_token_secondary = reader.optional_secret("TWILIO_AUTH_TOKEN_SECONDARY");
    let account_sid = reader.optional("TWILIO_ACCOUNT_SID");
    if account_sid.as_deref().is_some_and(|sid| !is_account_sid(sid)) {
        reader.fault(
            "TWILIO_ACCOUNT_SID",
            "is not `AC` and 32 hexadecimal digits",
            "copy it from Twilio's console",
        );
    }
    let default_url = Url::parse("https://api.twilio.com").expect("a constant URL parses");
    let api_base_url = match reader.optional("TWILIO_API_BASE_URL") {
        None => default_url,
        Some(text) => Url::parse(&text).ok().filter(rest::is_api_origin).unwrap_or_else(|| {
            let wrong = "is not an origin such as https://api.twilio.com";
            let remedy = "give it without path, query or user; http only for a loopback host";
            reader.fault("TWILIO_API_BASE_URL", wrong, remedy);
            default_url
        }),
    };
    let from_number = telephone_number(reader, "TWILIO_FROM_NUMBER");
    let human_fallback_number = telephone_number(reader, "HUMAN_FALLBACK_NUMBER");
    if human_fallback_number.is_some() && human_fallback_number == from_number {
        let wrong = "is our own number (TWILIO_FROM_NUMBER)";
        reader.fault("HUMAN_FALLBACK_NUMBER", wrong, "give the number of a person");
    }
    TwilioSettings {
        account_sid,
        auth_token,
        auth_token_secondary,
        shared_keys: shared_keys::read(reader),
        bypass_validation,
        api_base_url,
        from_number,
        human_fallback_number,
    }
}
