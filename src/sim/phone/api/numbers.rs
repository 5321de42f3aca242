//! `/IncomingPhoneNumbers`: the network has one number, which always has its URLs.

use serde_json::{Value, json};
use url::Url;

use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply};
use crate::sim::phone::network::{ACCOUNT_SID, Inner, NUMBER};
use crate::sim::phone::number::{Hook, Number};
use crate::sim::phone::twiml::Method;

const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("PhoneNumber", Kind::Text(32)),
    ("FriendlyName", Kind::Text(64)),
    ("Beta", Kind::Bool),
    ("Origin", Kind::Text(16)),
];
const UPDATE: &Known = &[
    ("VoiceUrl", Kind::Url),
    ("VoiceMethod", Kind::Method),
    ("VoiceFallbackUrl", Kind::Url),
    ("VoiceFallbackMethod", Kind::Method),
    ("StatusCallback", Kind::Url),
    ("StatusCallbackMethod", Kind::Method),
];
const SID: &str = "PN00000000000000000000000000000001";

/// The account, which is active.
pub fn account(params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    Ok(Reply::ok(json!({
        "sid": ACCOUNT_SID, "owner_account_sid": ACCOUNT_SID, "friendly_name": "simulated", "status": "active",
        "type": "Full", "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}.json"),
    })))
}

pub fn list(net: &Inner, params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let is_wanted = params.admits("PhoneNumber", NUMBER) && params.admits("FriendlyName", NUMBER);
    let entries = if is_wanted { vec![json(&net.number.borrow())] } else { vec![] };
    Ok(Reply::page(params, "IncomingPhoneNumbers", "incoming_phone_numbers", entries))
}

pub fn fetch(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    if sid != SID {
        return Err(Fault::not_found());
    }
    Ok(Reply::ok(json(&net.number.borrow())))
}

pub fn update(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(UPDATE, &[])?;
    if sid != SID {
        return Err(Fault::not_found());
    }
    let mut number = net.number.borrow_mut();
    let Number { voice, fallback, status } = &mut *number;
    change(voice, params, "VoiceUrl", "VoiceMethod");
    change(fallback, params, "VoiceFallbackUrl", "VoiceFallbackMethod");
    change(status, params, "StatusCallback", "StatusCallbackMethod");
    Ok(Reply::ok(json(&number)))
}

/// What is not given stays as it is.
fn change(hook: &mut Hook, params: &Params, url: &str, method: &str) {
    if let Some(url) = params.get(url).and_then(|text| Url::parse(text).ok()) {
        hook.url = url;
    }
    match params.get(method) {
        Some("GET") => hook.method = Method::Get,
        Some(_) => hook.method = Method::Post,
        None => {}
    }
}

fn json(number: &Number) -> Value {
    let method = |hook: &Hook| match hook.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let Number { voice, fallback, status } = number;
    json!({
        "sid": SID, "account_sid": ACCOUNT_SID, "api_version": "2010-04-01", "phone_number": NUMBER,
        "friendly_name": NUMBER, "beta": false, "origin": "twilio", "status": "in-use",
        "capabilities": {"voice": true, "sms": true, "mms": false, "fax": false},
        "voice_url": voice.url.as_str(), "voice_method": method(voice),
        "voice_fallback_url": fallback.url.as_str(), "voice_fallback_method": method(fallback),
        "status_callback": status.url.as_str(), "status_callback_method": method(status),
        "voice_application_sid": "", "trunk_sid": null,
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}/IncomingPhoneNumbers/{SID}.json"),
    })
}
