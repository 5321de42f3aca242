//! `/Calls`.

use std::rc::Rc;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use url::Url;

use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply, time};
use crate::sim::phone::ledger::{CallRecord, Status};
use crate::sim::phone::leg::StatusCallback;
use crate::sim::phone::line::{End, Order};
use crate::sim::phone::network::{ACCOUNT_SID, Inner, Outgoing};
use crate::sim::phone::twiml::Target;

pub const STATUSES: &[&str] =
    &["queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"];
/// How long a call rings unless the request says so.
const RINGS: Duration = Duration::from_secs(60);
/// In dollars.
const PRICE_OF_A_MINUTE: f64 = 0.0085;
pub const PROGRESS: Kind = Kind::Several(&["initiated", "ringing", "answered", "completed"]);

const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("To", Kind::Text(64)),
    ("From", Kind::Text(64)),
    ("Status", Kind::OneOf(STATUSES)),
    ("ParentCallSid", Kind::Text(34)),
    ("StartTime", Kind::When),
    ("StartTime>", Kind::When),
    ("StartTime<", Kind::When),
    ("EndTime", Kind::When),
    ("EndTime>", Kind::When),
    ("EndTime<", Kind::When),
];
const CREATE: &Known = &[
    ("To", Kind::Number),
    ("From", Kind::OwnNumber),
    ("Url", Kind::Url),
    ("Method", Kind::Method),
    ("Twiml", Kind::Twiml),
    ("FallbackUrl", Kind::Url),
    ("FallbackMethod", Kind::Method),
    ("StatusCallback", Kind::Url),
    ("StatusCallbackMethod", Kind::Method),
    ("StatusCallbackEvent", PROGRESS),
    ("Timeout", Kind::Within(1, 600)),
    ("TimeLimit", Kind::Within(1, 86_400)),
    // What follows is checked and has no effect: the network has no other ear, no machine and no trunk.
    ("ApplicationSid", Kind::Text(34)),
    ("SendDigits", Kind::Text(32)),
    ("Record", Kind::Bool),
    ("RecordingChannels", Kind::OneOf(&["mono", "dual"])),
    ("RecordingTrack", Kind::OneOf(&["inbound", "outbound", "both"])),
    ("RecordingStatusCallback", Kind::Url),
    ("RecordingStatusCallbackMethod", Kind::Method),
    ("RecordingStatusCallbackEvent", Kind::Several(&["in-progress", "completed", "absent"])),
    ("Trim", Kind::OneOf(&["trim-silence", "do-not-trim"])),
    ("SipAuthUsername", Kind::Text(128)),
    ("SipAuthPassword", Kind::Text(128)),
    ("MachineDetection", Kind::OneOf(&["Enable", "DetectMessageEnd"])),
    ("MachineDetectionTimeout", Kind::Within(3, 120)),
    ("MachineDetectionSpeechThreshold", Kind::Within(1_000, 6_000)),
    ("MachineDetectionSpeechEndThreshold", Kind::Within(500, 5_000)),
    ("MachineDetectionSilenceTimeout", Kind::Within(2_000, 10_000)),
    ("AsyncAmd", Kind::Bool),
    ("AsyncAmdStatusCallback", Kind::Url),
    ("AsyncAmdStatusCallbackMethod", Kind::Method),
    ("CallerId", Kind::Text(64)),
    ("CallReason", Kind::Text(50)),
    ("CallToken", Kind::Text(4_096)),
    ("Byoc", Kind::Text(34)),
    ("ClientNotificationUrl", Kind::Url),
];
const UPDATE: &Known = &[
    ("Url", Kind::Url),
    ("Method", Kind::Method),
    ("Twiml", Kind::Twiml),
    ("Status", Kind::OneOf(&["completed", "canceled"])),
    ("FallbackUrl", Kind::Url),
    ("FallbackMethod", Kind::Method),
    ("StatusCallback", Kind::Url),
    ("StatusCallbackMethod", Kind::Method),
    ("TimeLimit", Kind::Within(1, 86_400)),
];

pub fn list(net: &Inner, params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let calls = net.ledger.calls.borrow();
    let wanted = calls.iter().rev().filter(|call| {
        let ends = ["EndTime", "EndTime>", "EndTime<"];
        let asks_for_end = ends.iter().any(|name| params.get(name).is_some());
        !call.deleted.get()
            && params.admits("To", &call.to)
            && params.admits("From", &call.from)
            && params.admits("Status", call.status.get().as_str())
            && params.get("ParentCallSid").is_none_or(|parent| call.parent.as_deref() == Some(parent))
            && params.admits_time(["StartTime", "StartTime>", "StartTime<"], call.created)
            && call.ended.get().map_or(!asks_for_end, |ended| params.admits_time(ends, ended))
    });
    Ok(Reply::page(params, "Calls", "calls", wanted.map(|call| json(net, call)).collect()))
}

pub fn fetch(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    Ok(Reply::ok(json(net, &*net.ledger.call(sid).ok_or_else(Fault::not_found)?)))
}

/// Forgets a call that is over; the log of one that is not cannot be deleted.
pub fn delete(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    let call = net.ledger.call(sid).ok_or_else(Fault::not_found)?;
    if !call.is_over() {
        return Err(Fault::new(400, 20009, "Cannot delete this resource before its lifecycle has ended"));
    }
    call.deleted.set(true);
    Ok(Reply::deleted())
}

pub fn create(net: &Rc<Inner>, params: &Params) -> Result<Reply, Fault> {
    params.check(CREATE, &["To", "From"])?;
    let order =
        document(params)?.ok_or_else(|| Fault::new(400, 21205, "Url or Twiml is missing").violation())?;
    let outgoing = Outgoing {
        from: params.owned("From").unwrap_or_default(),
        to: params.owned("To").unwrap_or_default(),
        order,
        status_callback: status_callback(params),
        person: params.get("To").map(|to| (net.options.person_of(to), rings_for(params))),
    };
    let (_, call) = net.begins(Some(outgoing)).map_err(|_| Fault::new(429, 10004, "no call numbers left"))?;
    Ok(Reply::created(json(net, &call)))
}

pub fn update(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    let call = net.ledger.call(sid).ok_or_else(Fault::not_found)?;
    let of_call =
        |fault: Fault| Fault { violation_of: fault.violation_of.map(|_| Some(call.number)), ..fault };
    params.check(UPDATE, &[]).map_err(of_call)?;
    let document = document(params).map_err(of_call)?;
    let status = call.status.get();
    let waits = matches!(status, Status::Queued | Status::Ringing);
    let order = match (params.get("Status"), document) {
        (Some(_), Some(_)) => return Err(of_call(both("Status and a document"))),
        (Some("canceled"), None) if !waits => return Err(Fault::not_in_progress()),
        (Some("canceled"), None) => Order::End(End::Canceled),
        (Some(_), None) if waits => Order::End(End::Canceled),
        (Some(_), None) => Order::End(End::ByBridge),
        (None, Some(_)) if waits => return Err(Fault::not_in_progress()),
        (None, Some(document)) => document,
        (None, None) => return Ok(Reply::ok(json(net, &call))),
    };
    let ends = matches!(order, Order::End(_));
    if call.is_over() || !call.order(order) {
        return Err(Fault::not_in_progress());
    }
    let mut reply = json(net, &call);
    if ends {
        reply["status"] = json!(if waits { "canceled" } else { "completed" });
    }
    Ok(Reply::ok(reply))
}

/// How long it rings unless somebody answers.
fn rings_for(params: &Params) -> Duration {
    params.number("Timeout").map_or(RINGS, |seconds| Duration::from_secs(seconds.into()))
}

/// The document that a request gives, by URL or inline.
fn document(params: &Params) -> Result<Option<Order>, Fault> {
    match (params.target("Url", "Method"), params.twiml()) {
        (Some(_), Some(_)) => Err(both("Url and Twiml")),
        (Some(Target { url, method }), None) => {
            let url = Url::parse(&url).map_err(|_| Fault::new(400, 21205, "Url is not valid").violation())?;
            Ok(Some(Order::Fetch(url, method)))
        }
        (None, verbs) => Ok(verbs.map(Order::Follow)),
    }
}

fn both(what: &str) -> Fault {
    Fault::new(400, 20001, format!("{what} exclude each other")).violation()
}

pub fn status_callback(params: &Params) -> Option<StatusCallback> {
    let Target { url, method } = params.target("StatusCallback", "StatusCallbackMethod")?;
    let events = params.several("StatusCallbackEvent", "completed");
    Some(StatusCallback { url: Url::parse(&url).ok()?, method, events })
}

/// What a call costs: by the minute begun, and known some time after its end only.
fn price(net: &Inner, call: &CallRecord) -> Option<String> {
    let ended = call.ended.get().filter(|ended| *ended + net.options.price_after <= Utc::now())?;
    let minutes = ((ended - call.created).num_seconds() + 59) / 60;
    Some(format!("-{:.5}", PRICE_OF_A_MINUTE * minutes.max(1) as f64))
}

fn json(net: &Inner, call: &CallRecord) -> Value {
    let ended = call.ended.get();
    let seconds = ended.map(|ended| (ended - call.created).num_seconds().to_string());
    json!({
        "sid": call.sid, "account_sid": ACCOUNT_SID, "api_version": "2010-04-01", "parent_call_sid": call.parent,
        "from": call.from, "to": call.to, "direction": call.direction.as_str(), "status": call.status.get().as_str(),
        "date_created": time(call.created), "date_updated": time(ended.unwrap_or(call.created)),
        "start_time": time(call.created), "end_time": ended.map(time), "duration": seconds,
        "price": price(net, call), "price_unit": "USD", "queue_time": "0", "answered_by": null, "caller_name": null,
        "forwarded_from": null, "group_sid": null, "phone_number_sid": null, "trunk_sid": null, "annotation": null,
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{}.json", call.sid),
    })
}
