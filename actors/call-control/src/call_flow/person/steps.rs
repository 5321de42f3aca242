//! Who is rung, and what comes after each answer: plain functions of an [`Attempt`], what Twilio says, and
//! the time (Unix seconds).

use super::Caller;
use super::attempt::{Attempt, Way, told_reason, until};
use crate::policy::destinations::{Destination, Manner, everybody, order};
use crate::twilio::number::can_be_caller_id;
use crate::twilio::sid::CallSid;

/// How many are rung at most, whatever the agent file says by then: more than it can name.
const MAX_ATTEMPTS: u8 = 10;
/// The key with which a person takes the call, and a caller leaves a message instead.
const KEY: &str = "1";

/// Whom a caller can be given to, and by what means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Staff<'a> {
    /// Those of the agent file.
    pub destinations: &'a [Destination],
    pub on_duty: Option<&'a Destination>,
    /// The number that we make calls from, if one is set; E.164.
    pub ours: Option<&'a str>,
    /// Somebody can be called by the REST API.
    pub has_rest: bool,
}

/// What the agent wants for a caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// The name of a destination.
    pub destination: Option<&'a str>,
    pub reason: Option<&'a str>,
}

/// How a call to a person came out that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Busy,
    NoAnswer,
    Failed,
    /// Somebody, or a machine, answered and pressed no key, or another one.
    NotTaken,
    /// Nothing was heard of the call in time.
    TimedOut,
}

/// What comes for a caller who hears music.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// One more piece.
    Music,
    /// The next one is rung.
    Next(Fate),
    /// The caller wants to leave a message.
    Message,
    /// The caller has hung up.
    Nothing,
}

/// What a person hears who was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whisper {
    /// Who is calling, why, and which key takes the call.
    Announcement,
    /// The call is theirs.
    Taken,
    /// It was not taken.
    Declined,
    /// The caller has moved on.
    TooLate,
}

/// What comes when a caller's `<Dial>` is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterDial {
    /// They have talked.
    Farewell,
    /// The same person is rung once more.
    Again(Attempt),
    Next(Fate),
    /// The caller has hung up. `talked`: after a talk with the person.
    Nothing {
        talked: bool,
    },
}

impl<'a> Staff<'a> {
    /// The destination of that name.
    pub fn find(&self, name: &str) -> Option<&'a Destination> {
        everybody(self.destinations, self.on_duty).find(|one| one.name == name)
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        everybody(self.destinations, self.on_duty).next().is_none()
    }

    /// The number that we make calls from: the one that is set, else the one that was called.
    pub fn our_number(&self, caller: Caller<'a>) -> Option<&'a str> {
        let called = caller.to.filter(|to| caller.is_inbound && can_be_caller_id(to));
        self.ours.or(called)
    }

    /// The number that a person sees who is dialled: ours, or none for the caller's own.
    pub fn caller_id(&self, attempt: &Attempt, caller: Caller<'a>) -> Option<&'a str> {
        self.our_number(caller).filter(|_| attempt.from_us)
    }

    /// The first attempt; none if there is nobody to ring.
    pub fn first(&self, call_sid: CallSid, caller: Caller<'a>, wish: Wish<'_>, now: u64) -> Option<Attempt> {
        let to = *self.in_order(wish.destination, caller).first()?;
        let from = caller.from.filter(|from| can_be_caller_id(from)).map(str::to_owned);
        let begun = Attempt {
            call_sid,
            name: String::new(),
            chosen: wish.destination.and_then(|name| self.find(name)).map(|chosen| chosen.name.clone()),
            reason: wish.reason.and_then(told_reason),
            from,
            ordinal: 0,
            way: Way::Cold,
            from_us: false,
            until: now,
            person_sid: None,
            piece: 0,
        };
        Some(self.attempt(&begun, to, caller, now))
    }

    /// The attempt after this one; none if everybody was rung. Where the agent file has lost the name
    /// meanwhile, the count goes on.
    pub fn next(&self, after: &Attempt, caller: Caller<'a>, now: u64) -> Option<Attempt> {
        let order = self.in_order(after.chosen.as_deref(), caller);
        let place = order.iter().position(|one| one.name == after.name);
        let place = place.map_or(usize::from(after.ordinal), |place| place + 1);
        let to = order.get(place).filter(|_| after.ordinal < MAX_ATTEMPTS)?;
        Some(self.attempt(after, to, caller, now))
    }

    fn in_order(&self, chosen: Option<&str>, caller: Caller<'a>) -> Vec<&'a Destination> {
        let called = caller.to.filter(|_| caller.is_inbound);
        let avoided: Vec<_> = [called, caller.from, self.ours].into_iter().flatten().collect();
        order(everybody(self.destinations, self.on_duty), chosen, &avoided)
    }

    fn attempt(&self, before: &Attempt, to: &Destination, caller: Caller<'a>, now: u64) -> Attempt {
        let ours = self.our_number(caller);
        let way = match to.manner {
            Manner::Cold => Way::Cold,
            Manner::Warm if self.has_rest && ours.is_some() => Way::Waiting,
            Manner::Warm => Way::Dial,
        };
        Attempt {
            name: to.name.clone(),
            ordinal: before.ordinal + 1,
            way,
            from_us: before.from.is_none() && ours.is_some(),
            until: until(to, now),
            person_sid: None,
            piece: 0,
            ..before.clone()
        }
    }
}

/// A caller who hears music has come to the end of a piece, or has pressed `key`. `person` is how the
/// person's call came out, if it is known to be over.
pub fn while_waiting(
    attempt: &Attempt,
    caller: Caller<'_>,
    key: Option<&str>,
    person: Option<Fate>,
    now: u64,
) -> Waits {
    match person {
        _ if caller.has_hung_up => Waits::Nothing,
        _ if key == Some(KEY) => Waits::Message,
        Some(fate) => Waits::Next(fate),
        None if now >= attempt.moves_on_at() => Waits::Next(Fate::TimedOut),
        None => Waits::Music,
    }
}

/// A person who was called has answered, or has pressed `key`; one who was put off has pressed it before.
/// Where the caller waits for a `<Dial>`, they cannot have moved on.
pub fn whispered(attempt: &Attempt, key: Option<&str>, now: u64) -> Whisper {
    let is_late = attempt.way != Way::Dial && now > attempt.until;
    match key {
        _ if is_late => Whisper::TooLate,
        None if attempt.piece > 0 => Whisper::Taken,
        None => Whisper::Announcement,
        Some(KEY) => Whisper::Taken,
        Some(_) => Whisper::Declined,
    }
}

/// The caller's `<Dial>` ended with this `DialCallStatus`. `is_bridged`: Twilio says that both were
/// connected; a person who declines has answered, too. Twilio refuses a caller's number that it does not
/// like, and a network does likewise: the person is then rung once more, from our own number.
pub fn after_dial(
    attempt: &Attempt,
    status: &str,
    is_bridged: bool,
    staff: Staff<'_>,
    caller: Caller<'_>,
) -> AfterDial {
    let is_answered = matches!(status, "completed" | "answered");
    let talked = is_answered && (is_bridged || attempt.way != Way::Dial);
    if caller.has_hung_up {
        return AfterDial::Nothing { talked };
    }
    if talked {
        return AfterDial::Farewell;
    }
    let is_dialled = matches!(attempt.way, Way::Cold | Way::Dial);
    if status == "failed" && is_dialled && !attempt.from_us && staff.our_number(caller).is_some() {
        return AfterDial::Again(Attempt { from_us: true, ..attempt.clone() });
    }
    AfterDial::Next(Fate::of_status(status).unwrap_or(Fate::Failed))
}

/// Whether a caller has been alone in the conference for too long: who pressed the key has not come.
pub fn is_alone(attempt: &Attempt, now: u64) -> bool {
    attempt.piece > 0 && now >= attempt.until
}

impl Fate {
    /// Of a call with this `CallStatus` or `DialCallStatus`; none while it goes on.
    pub fn of_status(status: &str) -> Option<Self> {
        match status {
            "busy" => Some(Self::Busy),
            "no-answer" | "canceled" => Some(Self::NoAnswer),
            "failed" => Some(Self::Failed),
            "completed" | "answered" => Some(Self::NotTaken),
            _ => None,
        }
    }

    /// The word used in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
            Self::NotTaken => "not-taken",
            Self::TimedOut => "timed-out",
        }
    }
}

#[cfg(test)]
mod tests;
