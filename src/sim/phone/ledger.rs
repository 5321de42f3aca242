//! What the network knows of its calls, conferences, recordings and messages: the legs write it, the REST API
//! reads it and acts through it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use chrono::{DateTime, Utc};

use super::ear::Heard;
use super::line::{Line, Order};
use super::sid;
use super::twiml::{Room, Target};

mod check;

/// Recordings and messages that are kept of each; Twilio would bill the rest.
const MAX_ENTRIES: usize = 10_000;

/// Everything the network knows. It forgets nothing: a network has at most 65,536 calls.
#[derive(Default)]
pub struct Ledger {
    pub calls: RefCell<Vec<Rc<CallRecord>>>,
    pub conferences: RefCell<Vec<Rc<Conference>>>,
    pub recordings: RefCell<Vec<Rc<Recording>>>,
    pub messages: RefCell<Vec<Message>>,
}

/// One call leg.
pub struct CallRecord {
    /// The number of the call, as in its tags.
    pub number: u16,
    pub sid: String,
    pub from: String,
    pub to: String,
    pub direction: Direction,
    pub status: Cell<Status>,
    pub created: DateTime<Utc>,
    pub ended: Cell<Option<DateTime<Utc>>>,
    /// Its log was deleted.
    pub deleted: Cell<bool>,
    /// The call whose `<Dial>` made it.
    pub parent: Option<String>,
    /// What was heard at this end, when the leg is over.
    pub heard: RefCell<Vec<Heard>>,
    /// The line to it, as long as there is a leg.
    line: Weak<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Inbound,
    OutboundApi,
    OutboundDial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Queued,
    Ringing,
    InProgress,
    Completed,
    Busy,
    Failed,
    NoAnswer,
    Canceled,
}

/// A conference and who is in it.
pub struct Conference {
    pub sid: String,
    pub name: String,
    pub created: DateTime<Utc>,
    pub started: Cell<bool>,
    pub ended: Cell<bool>,
    pub participants: RefCell<Vec<Participant>>,
    /// Who is told what happens, and of what.
    pub callback: Option<(Target, Vec<String>)>,
    /// What has happened, and was not told yet.
    pub untold: RefCell<Vec<Happened>>,
    /// Of the next message.
    pub sequence: Cell<u32>,
}

/// Something that happened in a conference: Twilio's word for it, and whom it concerns.
#[derive(Clone)]
pub struct Happened {
    pub event: &'static str,
    pub participant: Option<Participant>,
}

#[derive(Clone)]
pub struct Participant {
    pub call: Rc<CallRecord>,
    pub label: Option<String>,
    pub muted: bool,
    pub hold: bool,
    pub start_on_enter: bool,
    pub end_on_exit: bool,
}

#[derive(Clone)]
pub struct Recording {
    pub sid: String,
    pub call: Rc<CallRecord>,
    /// `RecordVerb` or `StartCallRecordingAPI`.
    pub source: &'static str,
    pub channels: u8,
    pub track: String,
    pub status: Cell<&'static str>,
    pub created: DateTime<Utc>,
    pub ended: Cell<Option<DateTime<Utc>>>,
    pub deleted: Cell<bool>,
    pub callback: Option<Target>,
    /// Of what `callback` is told.
    pub events: Vec<String>,
}

/// A text message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub sid: String,
    pub to: String,
    /// A number, or the messaging service that chose one.
    pub from: String,
    pub body: String,
    pub created: DateTime<Utc>,
}

/// There is no room for more entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Ledger {
    pub fn add_call(
        &self,
        number: u16,
        from: String,
        to: String,
        direction: Direction,
        line: &Rc<Line>,
    ) -> Rc<CallRecord> {
        self.add_leg(number, [from, to], direction, None, line)
    }

    /// The same, of a call that another one's `<Dial>` may have made.
    pub fn add_leg(
        &self,
        number: u16,
        [from, to]: [String; 2],
        direction: Direction,
        parent: Option<String>,
        line: &Rc<Line>,
    ) -> Rc<CallRecord> {
        let status = match direction {
            Direction::Inbound => Status::Ringing,
            Direction::OutboundApi | Direction::OutboundDial => Status::Queued,
        };
        let call = Rc::new(CallRecord {
            number,
            sid: sid("CA"),
            from,
            to,
            direction,
            status: Cell::new(status),
            created: Utc::now(),
            ended: Cell::new(None),
            deleted: Cell::new(false),
            parent,
            heard: RefCell::default(),
            line: Rc::downgrade(line),
        });
        self.calls.borrow_mut().push(call.clone());
        call
    }

    pub fn call(&self, sid: &str) -> Option<Rc<CallRecord>> {
        self.calls.borrow().iter().rev().find(|call| call.sid == sid && !call.deleted.get()).cloned()
    }

    /// The lines of all calls that are not over yet, and of those whose callers have not forgotten them.
    pub fn lines(&self) -> Vec<Rc<Line>> {
        self.calls.borrow().iter().filter_map(|call| call.line.upgrade()).collect()
    }

    /// An active conference by its identifier or name.
    pub fn conference(&self, sid_or_name: &str) -> Option<Rc<Conference>> {
        let active = |conference: &&Rc<Conference>| {
            !conference.ended.get() && (conference.sid == sid_or_name || conference.name == sid_or_name)
        };
        self.conferences.borrow().iter().rev().find(active).cloned()
    }

    /// Brings a call into the conference of that name, which is made if none is active. None if the label is
    /// taken (Twilio's error 16025). Whoever is in already stays as they are.
    pub fn join(&self, room: &Room, call: &Rc<CallRecord>) -> Option<Rc<Conference>> {
        let conference = self.conference(&room.name).unwrap_or_else(|| {
            let new = Rc::new(Conference {
                sid: sid("CF"),
                name: room.name.clone(),
                created: Utc::now(),
                started: Cell::new(false),
                ended: Cell::new(false),
                participants: RefCell::default(),
                callback: room.callback.clone(),
                untold: RefCell::default(),
                sequence: Cell::new(1),
            });
            self.conferences.borrow_mut().push(new.clone());
            new
        });
        if conference.has(&call.sid) {
            return Some(conference);
        }
        let taken = |participant: &Participant| room.label.is_some() && participant.label == room.label;
        if conference.participants.borrow().iter().any(taken) {
            return None;
        }
        let entered = Participant {
            call: call.clone(),
            label: room.label.clone(),
            muted: room.muted,
            hold: false,
            start_on_enter: room.start_on_enter,
            end_on_exit: room.end_on_exit,
        };
        conference.participants.borrow_mut().push(entered.clone());
        conference.happened("participant-join", Some(entered));
        let participants = conference.participants.borrow();
        let may_start =
            participants.len() > 1 && participants.iter().any(|participant| participant.start_on_enter);
        if may_start && !conference.started.replace(true) {
            conference.happened("conference-start", None);
            participants.iter().for_each(|participant| participant.call.wakes());
        }
        drop(participants);
        conference.check();
        Some(conference)
    }

    pub fn add_recording(&self, recording: Recording) -> Result<Rc<Recording>, Full> {
        push(&self.recordings, Rc::new(recording))
    }

    pub fn recording(&self, sid: &str) -> Option<Rc<Recording>> {
        let there = |recording: &&Rc<Recording>| recording.sid == sid && !recording.deleted.get();
        self.recordings.borrow().iter().rev().find(there).cloned()
    }

    /// The recordings of a call, the newest first.
    pub fn recordings_of(&self, call_sid: &str) -> Vec<Rc<Recording>> {
        let of_call = |recording: &&Rc<Recording>| recording.call.sid == call_sid && !recording.deleted.get();
        self.recordings.borrow().iter().rev().filter(of_call).cloned().collect()
    }

    pub fn add_message(&self, message: Message) -> Result<Message, Full> {
        push(&self.messages, message)
    }
}

fn push<T: Clone>(entries: &RefCell<Vec<T>>, entry: T) -> Result<T, Full> {
    let mut entries = entries.borrow_mut();
    if entries.len() == MAX_ENTRIES {
        return Err(Full);
    }
    entries.push(entry.clone());
    Ok(entry)
}

impl CallRecord {
    /// Gives the leg an order; it follows it within 20 ms. False if there is no leg any more.
    pub fn order(&self, order: Order) -> bool {
        let line = self.line.upgrade();
        if let Some(line) = &line {
            line.change(|state| state.order = Some(order));
        }
        line.is_some()
    }

    pub fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    pub fn ends(&self, status: Status) {
        self.status.set(status);
        self.ended.set(Some(Utc::now()));
    }

    fn wakes(&self) {
        if let Some(line) = self.line.upgrade() {
            line.change(|_| ());
        }
    }
}

impl Conference {
    pub fn has(&self, call_sid: &str) -> bool {
        self.participants.borrow().iter().any(|participant| participant.call.sid == call_sid)
    }

    /// A participant by the call or the label.
    pub fn participant(&self, sid_or_label: &str) -> Option<Participant> {
        let is_it = |participant: &&Participant| {
            participant.call.sid == sid_or_label || participant.label.as_deref() == Some(sid_or_label)
        };
        self.participants.borrow().iter().find(is_it).cloned()
    }

    /// Somebody leaves, or is put out. The conference ends with its last participant, or with one whose
    /// leaving ends it.
    pub fn leave(&self, call_sid: &str) {
        let left = {
            let mut participants = self.participants.borrow_mut();
            let at = participants.iter().position(|participant| participant.call.sid == call_sid);
            at.map(|at| participants.remove(at))
        };
        let Some(left) = left else { return };
        left.call.wakes();
        self.happened("participant-leave", Some(left.clone()));
        if left.end_on_exit || self.participants.borrow().is_empty() {
            self.end();
        }
        self.check();
    }

    /// Puts everybody out.
    pub fn end(&self) {
        let is_new = !self.ended.replace(true);
        for participant in self.participants.take() {
            participant.call.wakes();
            self.happened("participant-leave", Some(participant));
        }
        if is_new {
            self.happened("conference-end", None);
        }
    }

    fn happened(&self, event: &'static str, participant: Option<Participant>) {
        if self.callback.is_some() {
            self.untold.borrow_mut().push(Happened { event, participant });
        }
    }

    pub fn status(&self) -> &'static str {
        match (self.ended.get(), self.started.get()) {
            (true, _) => "completed",
            (false, true) => "in-progress",
            (false, false) => "init",
        }
    }
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::OutboundApi => "outbound-api",
            Self::OutboundDial => "outbound-dial",
        }
    }
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::NoAnswer => "no-answer",
            Self::Canceled => "canceled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(label: &str) -> Room {
        Room { name: "room".into(), label: Some(label.into()), ..Room::default() }
    }

    #[test]
    fn a_conference_starts_with_the_second_and_ends_with_the_last_participant() {
        let (ledger, line) = (Ledger::default(), Rc::new(Line::new(0)));
        let call = |number| ledger.add_call(number, String::new(), String::new(), Direction::Inbound, &line);
        let (first, second) = (call(0), call(1));
        let conference = ledger.join(&room("a"), &first).unwrap();
        assert_eq!(conference.status(), "init");
        ledger.join(&room("b"), &second).unwrap();
        assert_eq!(conference.status(), "in-progress");
        conference.leave(&first.sid);
        assert_eq!(conference.status(), "in-progress");
        conference.leave(&second.sid);
        assert_eq!(conference.status(), "completed");
        assert!(ledger.conference("room").is_none());
    }

    #[test]
    fn a_label_is_taken_once_and_whoever_ends_the_conference_ends_it_for_all() {
        let (ledger, line) = (Ledger::default(), Rc::new(Line::new(0)));
        let call = |number| ledger.add_call(number, String::new(), String::new(), Direction::Inbound, &line);
        let (first, second) = (call(0), call(1));
        ledger.join(&room("a"), &first).unwrap();
        assert!(ledger.join(&room("a"), &second).is_none());
        let conference = ledger.join(&Room { end_on_exit: true, ..room("b") }, &second).unwrap();
        conference.leave(&second.sid);
        assert!(!conference.has(&first.sid) && conference.ended.get());
    }
}
