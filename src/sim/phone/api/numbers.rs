//! `/IncomingPhoneNumbers`: the network has one number.

use serde_json::json;

use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply};
use crate::sim::phone::network::{ACCOUNT_SID, NUMBER};

const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("PhoneNumber", Kind::Text(32)),
    ("FriendlyName", Kind::Text(64)),
    ("Beta", Kind::Bool),
    ("Origin", Kind::Text(16)),
];
const SID: &str = "PN00000000000000000000000000000001";

pub fn list(params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let is_wanted = params.admits("PhoneNumber", NUMBER) && params.admits("FriendlyName", NUMBER);
    let number = json!({
        "sid": SID, "account_sid": ACCOUNT_SID, "api_version": "2010-04-01", "phone_number": NUMBER,
        "friendly_name": NUMBER, "beta": false, "origin": "twilio", "status": "in-use",
        "capabilities": {"voice": true, "sms": true, "mms": false, "fax": false},
        "voice_url": "", "voice_method": "POST", "voice_fallback_url": "", "voice_fallback_method": "POST",
        "status_callback": "", "status_callback_method": "POST",
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}/IncomingPhoneNumbers/{SID}.json"),
    });
    let entries = if is_wanted { vec![number] } else { vec![] };
    Ok(Reply::page(params, "IncomingPhoneNumbers", "incoming_phone_numbers", entries))
}
