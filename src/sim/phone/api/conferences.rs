//! `/Conferences` and their participants.

use std::rc::Rc;

use serde_json::{Value, json};

use super::calls::{PROGRESS, status_callback};
use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply, time};
use crate::sim::phone::ledger::{Conference, Participant};
use crate::sim::phone::line::Order;
use crate::sim::phone::network::{ACCOUNT_SID, Inner, Outgoing};
use crate::sim::phone::twiml::{Dialled, RINGS, Room, Verb};

const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("FriendlyName", Kind::Text(128)),
    ("Status", Kind::OneOf(&["init", "in-progress", "completed"])),
];
const UPDATE: &Known =
    &[("Status", Kind::OneOf(&["completed"])), ("AnnounceUrl", Kind::Url), ("AnnounceMethod", Kind::Method)];
const PARTICIPANTS: &Known =
    &[PAGING[0], PAGING[1], ("Muted", Kind::Bool), ("Hold", Kind::Bool), ("Coaching", Kind::Bool)];
const ADD: &Known = &[
    ("From", Kind::OwnNumber),
    ("To", Kind::Number),
    ("Label", Kind::Text(128)),
    ("StartConferenceOnEnter", Kind::Bool),
    ("EndConferenceOnExit", Kind::Bool),
    ("Muted", Kind::Bool),
    ("Beep", Kind::OneOf(&["true", "false", "onEnter", "onExit"])),
    ("EarlyMedia", Kind::Bool),
    ("WaitUrl", Kind::UrlOrNone),
    ("WaitMethod", Kind::Method),
    ("MaxParticipants", Kind::Within(2, 250)),
    ("JitterBufferSize", Kind::OneOf(&["large", "medium", "small", "off"])),
    ("Timeout", Kind::Within(1, 600)),
    ("TimeLimit", Kind::Within(1, 86_400)),
    ("StatusCallback", Kind::Url),
    ("StatusCallbackMethod", Kind::Method),
    ("StatusCallbackEvent", PROGRESS),
];
const CHANGE: &Known = &[
    ("Muted", Kind::Bool),
    ("Hold", Kind::Bool),
    ("HoldUrl", Kind::Url),
    ("HoldMethod", Kind::Method),
    ("AnnounceUrl", Kind::Url),
    ("AnnounceMethod", Kind::Method),
    ("EndConferenceOnExit", Kind::Bool),
    ("BeepOnExit", Kind::Bool),
];

pub fn list(net: &Inner, params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let conferences = net.ledger.conferences.borrow();
    let wanted = conferences.iter().rev().filter(|conference| {
        params.admits("FriendlyName", &conference.name) && params.admits("Status", conference.status())
    });
    Ok(Reply::page(params, "Conferences", "conferences", wanted.map(|conference| json(conference)).collect()))
}

pub fn fetch(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    let conferences = net.ledger.conferences.borrow();
    let found = conferences.iter().find(|conference| conference.sid == sid).ok_or_else(Fault::not_found)?;
    Ok(Reply::ok(json(found)))
}

pub fn update(net: &Rc<Inner>, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(UPDATE, &[])?;
    let conference = net.ledger.conference(sid).ok_or_else(Fault::not_found)?;
    if params.get("Status").is_some() {
        conference.end();
        net.tells_of(&conference);
    }
    Ok(Reply::ok(json(&conference)))
}

pub fn participants(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(PARTICIPANTS, &[])?;
    let conference = net.ledger.conference(sid).ok_or_else(Fault::not_found)?;
    let participants = conference.participants.borrow();
    let wanted = participants.iter().filter(|participant| {
        let flag = |name: &str, value| params.flag(name).is_none_or(|wanted| wanted == value);
        flag("Muted", participant.muted) && flag("Hold", participant.hold) && flag("Coaching", false)
    });
    let entries = wanted.map(|participant| participant_json(&conference, participant)).collect();
    Ok(Reply::page(params, &format!("Conferences/{sid}/Participants"), "participants", entries))
}

/// Calls somebody, who answers at once. `name` makes a conference; an identifier must be that of an active
/// one.
pub fn add(net: &Rc<Inner>, name: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(ADD, &["From", "To"])?;
    let active = net.ledger.conference(name);
    if active.is_none() && name.len() == 34 && name.starts_with("CF") {
        return Err(Fault::not_found());
    }
    let room = Room {
        name: active.map_or_else(|| name.to_owned(), |conference| conference.name.clone()),
        label: params.owned("Label"),
        muted: params.flag("Muted").unwrap_or(false),
        start_on_enter: params.flag("StartConferenceOnEnter").unwrap_or(true),
        end_on_exit: params.flag("EndConferenceOnExit").unwrap_or(false),
        ..Room::default()
    };
    let taken =
        |conference: Rc<Conference>| room.label.as_ref().and_then(|label| conference.participant(label));
    if net.ledger.conference(name).and_then(taken).is_some() {
        return Err(Fault::new(400, 16025, "the participant label is taken").violation());
    }
    let outgoing = Outgoing {
        from: params.owned("From").unwrap_or_default(),
        to: params.owned("To").unwrap_or_default(),
        order: Order::Follow(vec![Verb::Dial {
            action: None,
            timeout: RINGS,
            to: Dialled::Conference(room.clone()),
        }]),
        status_callback: status_callback(params),
        person: None,
    };
    let (_, call) = net.begins(Some(outgoing)).map_err(|_| Fault::new(429, 10004, "no call numbers left"))?;
    // The leg finds itself in the conference when it starts.
    let conference = net.ledger.join(&room, &call).ok_or_else(Fault::not_found)?;
    net.tells_of(&conference);
    let participant = conference.participant(&call.sid).ok_or_else(Fault::not_found)?;
    Ok(Reply::created(participant_json(&conference, &participant)))
}

pub fn participant(net: &Inner, sid: &str, who: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    let conference = net.ledger.conference(sid).ok_or_else(Fault::not_found)?;
    let participant = conference.participant(who).ok_or_else(Fault::not_found)?;
    Ok(Reply::ok(participant_json(&conference, &participant)))
}

pub fn change(net: &Inner, sid: &str, who: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(CHANGE, &[])?;
    let conference = net.ledger.conference(sid).ok_or_else(Fault::not_found)?;
    let call_sid = conference.participant(who).ok_or_else(Fault::not_found)?.call.sid.clone();
    let mut participants = conference.participants.borrow_mut();
    let participant = participants.iter_mut().find(|participant| participant.call.sid == call_sid);
    let participant = participant.ok_or_else(Fault::not_found)?;
    participant.muted = params.flag("Muted").unwrap_or(participant.muted);
    participant.hold = params.flag("Hold").unwrap_or(participant.hold);
    participant.end_on_exit = params.flag("EndConferenceOnExit").unwrap_or(participant.end_on_exit);
    Ok(Reply::ok(participant_json(&conference, participant)))
}

pub fn kick(net: &Rc<Inner>, sid: &str, who: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    let conference = net.ledger.conference(sid).ok_or_else(Fault::not_found)?;
    let participant = conference.participant(who).ok_or_else(Fault::not_found)?;
    conference.leave(&participant.call.sid);
    net.tells_of(&conference);
    Ok(Reply::deleted())
}

fn json(conference: &Conference) -> Value {
    json!({
        "sid": conference.sid, "account_sid": ACCOUNT_SID, "friendly_name": conference.name,
        "api_version": "2010-04-01", "status": conference.status(), "region": "us1",
        "date_created": time(conference.created), "date_updated": time(conference.created),
        "uri": format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Conferences/{}.json", conference.sid),
    })
}

fn participant_json(conference: &Conference, participant: &Participant) -> Value {
    let call = &participant.call;
    json!({
        "call_sid": call.sid, "conference_sid": conference.sid, "account_sid": ACCOUNT_SID,
        "label": participant.label, "muted": participant.muted, "hold": participant.hold, "coaching": false,
        "call_sid_to_coach": null, "start_conference_on_enter": participant.start_on_enter,
        "end_conference_on_exit": participant.end_on_exit, "status": "connected", "queue_time": null,
        "date_created": time(call.created), "date_updated": time(call.created),
        "uri": format!(
            "/2010-04-01/Accounts/{ACCOUNT_SID}/Conferences/{}/Participants/{}.json",
            conference.sid, call.sid
        ),
    })
}
