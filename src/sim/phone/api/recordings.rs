//! `/Recordings` and `/Calls/{CallSid}/Recordings`.

use std::cell::Cell;
use std::rc::Rc;

use actix_rt::task::JoinHandle;
use chrono::Utc;
use serde_json::{Value, json};
use url::Url;

use super::params::{Kind, Known, PAGING, Params};
use super::reply::{Fault, Reply, time};
use crate::sim::phone::ledger::{Recording, Status};
use crate::sim::phone::network::{ACCOUNT_SID, Inner};
use crate::sim::phone::sid;

const CREATE: &Known = &[
    ("RecordingChannels", Kind::OneOf(&["mono", "dual"])),
    ("RecordingTrack", Kind::OneOf(&["inbound", "outbound", "both"])),
    ("Trim", Kind::OneOf(&["trim-silence", "do-not-trim"])),
    ("RecordingStatusCallback", Kind::Url),
    ("RecordingStatusCallbackMethod", Kind::Method),
    ("RecordingStatusCallbackEvent", Kind::Several(&["in-progress", "completed", "absent"])),
];
const LIST: &Known = &[
    PAGING[0],
    PAGING[1],
    ("CallSid", Kind::Text(34)),
    ("ConferenceSid", Kind::Text(34)),
    ("IncludeSoftDeleted", Kind::Bool),
    ("DateCreated", Kind::When),
    ("DateCreated>", Kind::When),
    ("DateCreated<", Kind::When),
];
const UPDATE: &Known = &[
    ("Status", Kind::OneOf(&["paused", "in-progress", "stopped"])),
    ("PauseBehavior", Kind::OneOf(&["skip", "silence"])),
];
/// The recording that is under way, whichever it is.
const CURRENT: &str = "Twilio.CURRENT";

pub fn list(net: &Inner, call: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&PAGING, &[])?;
    let call = net.ledger.call(call).ok_or_else(Fault::not_found)?;
    let recordings = net.ledger.recordings_of(&call.sid).iter().map(|recording| json(recording)).collect();
    Ok(Reply::page(params, &format!("Calls/{}/Recordings", call.sid), "recordings", recordings))
}

pub fn list_all(net: &Inner, params: &Params) -> Result<Reply, Fault> {
    params.check(LIST, &[])?;
    let wanted = |recording: &&Rc<Recording>| {
        (!recording.deleted.get() || params.flag("IncludeSoftDeleted") == Some(true))
            && params.admits("CallSid", &recording.call.sid)
            && params.get("ConferenceSid").is_none()
            && params.admits_time(["DateCreated", "DateCreated>", "DateCreated<"], recording.created)
    };
    let recordings = net.ledger.recordings.borrow();
    let entries = recordings.iter().rev().filter(wanted).map(|recording| json(recording)).collect();
    Ok(Reply::page(params, "Recordings", "recordings", entries))
}

pub fn create(net: &Rc<Inner>, call: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(CREATE, &[])?;
    let call = net.ledger.call(call).ok_or_else(Fault::not_found)?;
    if call.status.get() != Status::InProgress {
        return Err(Fault::new(400, 21220, "Requested resource is not eligible for recording"));
    }
    let recording = Recording {
        sid: sid("RE"),
        call,
        source: "StartCallRecordingAPI",
        channels: if params.get("RecordingChannels") == Some("dual") { 2 } else { 1 },
        track: params.owned("RecordingTrack").unwrap_or_else(|| "both".to_owned()),
        status: Cell::new("in-progress"),
        created: Utc::now(),
        ended: Cell::new(None),
        deleted: Cell::new(false),
        callback: params.target("RecordingStatusCallback", "RecordingStatusCallbackMethod"),
        events: params.several("RecordingStatusCallbackEvent", "completed"),
    };
    let full = |_| Fault::new(429, 20429, "too many recordings");
    let recording = net.ledger.add_recording(recording).map_err(full)?;
    net.reports(&recording);
    Ok(Reply::created(json(&recording)))
}

pub fn update(net: &Rc<Inner>, call: &str, recording: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(UPDATE, &["Status"])?;
    let is_it = |known: &Rc<Recording>| {
        if recording == CURRENT { known.ended.get().is_none() } else { known.sid == recording }
    };
    let found = net.ledger.recordings_of(call).into_iter().find(is_it).ok_or_else(Fault::not_found)?;
    if found.ended.get().is_some() {
        return Err(Fault::new(400, 21220, "Recording is not in-progress"));
    }
    let mut reply = json(&found);
    match params.get("Status") {
        Some("paused") => found.status.set("paused"),
        Some("stopped") => drop(net.completes(&found)),
        _ => found.status.set("in-progress"),
    }
    reply["status"] = json!(params.get("Status"));
    Ok(Reply::ok(reply))
}

pub fn fetch(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[("IncludeSoftDeleted", Kind::Bool)], &[])?;
    Ok(Reply::ok(json(&*net.ledger.recording(sid).ok_or_else(Fault::not_found)?)))
}

/// The audio at this path below the accounts: silence of the recording's length.
pub fn audio(net: &Inner, path: &str) -> Result<Reply, Fault> {
    let of_account = path.strip_prefix(ACCOUNT_SID).and_then(|path| path.strip_prefix("/Recordings/"));
    let sid = of_account.ok_or_else(|| Fault::not_found().violation())?;
    let recording = net.ledger.recording(sid).ok_or_else(Fault::not_found)?;
    let seconds =
        recording.seconds().and_then(|seconds| seconds.parse().ok()).ok_or_else(Fault::not_found)?;
    Ok(Reply::wav(silence(seconds)))
}

/// A WAV file with one channel of 8,000 samples a second, 16 bits each.
fn silence(seconds: u32) -> Vec<u8> {
    let (rate, bytes) = (8_000_u32, seconds * 16_000);
    let mut wav = Vec::with_capacity(44 + bytes as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    [1_u16, 1].iter().for_each(|number| wav.extend(number.to_le_bytes()));
    [rate, 2 * rate].iter().for_each(|number| wav.extend(number.to_le_bytes()));
    [2_u16, 16].iter().for_each(|number| wav.extend(number.to_le_bytes()));
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.resize(44 + bytes as usize, 0);
    wav
}

pub fn delete(net: &Inner, sid: &str, params: &Params) -> Result<Reply, Fault> {
    params.check(&[], &[])?;
    net.ledger.recording(sid).ok_or_else(Fault::not_found)?.deleted.set(true);
    Ok(Reply::deleted())
}

impl Inner {
    /// Ends a recording that is under way, and tells whoever wants to know.
    pub fn completes(self: &Rc<Self>, recording: &Recording) -> Option<JoinHandle<()>> {
        if recording.ended.get().is_some() {
            return None;
        }
        recording.ended.set(Some(Utc::now()));
        recording.status.set("completed");
        self.reports(recording)
    }

    /// Tells of the status a recording has, if that is wanted.
    pub fn reports(self: &Rc<Self>, recording: &Recording) -> Option<JoinHandle<()>> {
        let status = recording.status.get();
        let wanted =
            recording.callback.as_ref().filter(|_| recording.events.iter().any(|event| event == status));
        let (url, method) = wanted.and_then(|target| Some((Url::parse(&target.url).ok()?, target.method)))?;
        let params = [
            ("AccountSid", ACCOUNT_SID.to_owned()),
            ("CallSid", recording.call.sid.clone()),
            ("RecordingSid", recording.sid.clone()),
            ("RecordingUrl", recording.url()),
            ("RecordingStatus", status.to_owned()),
            ("RecordingDuration", recording.seconds().unwrap_or_else(|| "-1".to_owned())),
            ("RecordingChannels", recording.channels.to_string()),
            ("RecordingStartTime", time(recording.created)),
            ("RecordingSource", recording.source.to_owned()),
            ("RecordingTrack", recording.track.clone()),
        ];
        let params = params.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Some(self.callback(recording.call.number, url, method, params))
    }
}

impl Recording {
    /// Where the audio is.
    pub fn url(&self) -> String {
        format!("https://api.twilio.com{}", path(self))
    }

    /// How long it is, in seconds; none while it is under way.
    pub fn seconds(&self) -> Option<String> {
        self.ended.get().map(|ended| (ended - self.created).num_seconds().to_string())
    }
}

fn path(recording: &Recording) -> String {
    format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Recordings/{}", recording.sid)
}

fn json(recording: &Recording) -> Value {
    json!({
        "sid": recording.sid, "account_sid": ACCOUNT_SID, "call_sid": recording.call.sid, "conference_sid": null,
        "api_version": "2010-04-01", "status": recording.status.get(), "source": recording.source,
        "channels": recording.channels, "track": recording.track, "duration": recording.seconds(),
        "start_time": time(recording.created), "date_created": time(recording.created),
        "date_updated": time(recording.ended.get().unwrap_or(recording.created)), "price": null, "price_unit": "USD",
        "error_code": null, "uri": format!("{}.json", path(recording)),
    })
}
