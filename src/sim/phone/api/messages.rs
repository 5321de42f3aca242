//! `/Messages`: every message is delivered at once, and kept.

use std::rc::Rc;

use chrono::Utc;
use serde_json::{Value, json};
use url::Url;

use super::NO_CALL;
use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply, time};
use crate::sim::phone::ledger::Message;
use crate::sim::phone::network::{ACCOUNT_SID, Inner};
use crate::sim::phone::sid;

const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("To", Kind::Text(64)),
    ("From", Kind::Text(64)),
    ("DateSent", Kind::When),
    ("DateSent>", Kind::When),
    ("DateSent<", Kind::When),
];
const CREATE: &Known = &[
    ("To", Kind::Number),
    ("From", Kind::OwnNumber),
    ("MessagingServiceSid", Kind::Text(34)),
    ("Body", Kind::Text(1_600)),
    ("StatusCallback", Kind::Url),
    ("ValidityPeriod", Kind::Within(1, 36_000)),
];

pub fn list(net: &Inner, params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let messages = net.ledger.messages.borrow();
    let wanted = messages.iter().rev().filter(|message| {
        params.admits("To", &message.to)
            && params.admits("From", &message.from)
            && params.admits_time(["DateSent", "DateSent>", "DateSent<"], message.created)
    });
    Ok(Reply::page(
        params,
        "Messages",
        "messages",
        wanted.map(|message| json(message, "delivered")).collect(),
    ))
}

pub fn fetch(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    let messages = net.ledger.messages.borrow();
    let found = messages.iter().find(|message| message.sid == sid).ok_or_else(Fault::not_found)?;
    Ok(Reply::ok(json(found, "delivered")))
}

pub fn create(net: &Rc<Inner>, params: &Params) -> Result<Reply, Fault> {
    params.check(CREATE, &["To", "Body"])?;
    let from = match (params.owned("From"), params.owned("MessagingServiceSid")) {
        (Some(from), None) | (None, Some(from)) => from,
        (Some(_), Some(_)) => {
            return Err(Fault::new(400, 20001, "From and MessagingServiceSid exclude each other").violation());
        }
        (None, None) => return Err(Fault::new(400, 21603, "From is missing").violation()),
    };
    let message = Message {
        sid: sid("SM"),
        to: params.owned("To").unwrap_or_default(),
        from,
        body: params.owned("Body").unwrap_or_default(),
        created: Utc::now(),
    };
    let full = |_| Fault::new(429, 20429, "too many messages");
    let message = net.ledger.add_message(message).map_err(full)?;
    let callback = params.target("StatusCallback", "");
    if let Some((url, method)) =
        callback.and_then(|target| Some((Url::parse(&target.url).ok()?, target.method)))
    {
        let told = [
            ("AccountSid", ACCOUNT_SID),
            ("MessageSid", message.sid.as_str()),
            ("MessageStatus", "delivered"),
            ("To", message.to.as_str()),
            ("From", message.from.as_str()),
        ];
        let told = told.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        net.callback(NO_CALL, url, method, told);
    }
    Ok(Reply::created(json(&message, "queued")))
}

fn json(message: &Message, status: &str) -> Value {
    json!({
        "sid": message.sid, "account_sid": ACCOUNT_SID, "api_version": "2010-04-01", "to": message.to,
        "from": message.from, "body": message.body, "status": status, "direction": "outbound-api",
        "num_segments": "1", "num_media": "0", "price": null, "price_unit": "USD", "error_code": null,
        "error_message": null, "messaging_service_sid": null, "date_created": time(message.created),
        "date_updated": time(message.created), "date_sent": (status == "delivered").then(|| time(message.created)),
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{}.json", message.sid),
    })
}
