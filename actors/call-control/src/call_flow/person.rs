//! What becomes of a caller without the agent: a person if there is one, else the voicemail box; never
//! silence.

use crate::twilio::form::Form;
use crate::twilio::number::can_be_caller_id;

/// The numbers of a deployment, in E.164.
#[derive(Debug, Clone, Copy, Default)]
pub struct Staff<'a> {
    /// Who takes callers over.
    pub person: Option<&'a str>,
    /// The number that we make calls from, if one is set.
    pub ours: Option<&'a str>,
}

/// Who calls, as a webhook says it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
    /// We were called, and did not call.
    pub is_inbound: bool,
    /// What we answer is not heard any more.
    pub has_hung_up: bool,
}

impl<'a> Caller<'a> {
    pub fn of(form: &'a Form) -> Self {
        Self {
            from: form.told("From"),
            to: form.told("To"),
            is_inbound: form.told("Direction").is_none_or(|direction| direction == "inbound"),
            has_hung_up: form.told("CallStatus").is_some_and(|status| status != "in-progress"),
        }
    }
}

/// What the caller meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets<'a> {
    /// This person is rung.
    Person {
        number: &'a str,
        /// Our number, where the caller's own cannot be shown to the person.
        caller_id: Option<&'a str>,
        /// The caller has heard already that somebody is rung.
        is_again: bool,
    },
    VoicemailBox,
    /// A farewell after a talk with the person.
    Farewell,
    /// Thanks for a message.
    Thanks,
    /// Nothing was recorded.
    NoMessage,
    /// The caller has hung up.
    Nothing,
}

/// A person takes over, if there is one; else the caller may leave a message.
pub fn person_or_voicemail<'a>(staff: Staff<'a>, caller: Caller<'a>) -> Meets<'a> {
    let Some(number) = staff.person else { return Meets::VoicemailBox };
    let is_shown = caller.from.is_some_and(can_be_caller_id);
    let caller_id = if is_shown { None } else { our_number(staff, caller) };
    Meets::Person { number, caller_id, is_again: false }
}

/// What comes after the call to the person, which ended with this `DialCallStatus`. Twilio refuses a caller's
/// number that it does not like, and a network does likewise: the person is then rung once more, from our
/// own number, unless that was used (`was_ours`).
pub fn after_dial<'a>(status: &str, was_ours: bool, staff: Staff<'a>, caller: Caller<'a>) -> Meets<'a> {
    if caller.has_hung_up {
        return Meets::Nothing;
    }
    if is_answered(status) {
        return Meets::Farewell;
    }
    match (staff.person, our_number(staff, caller)) {
        (Some(number), Some(ours)) if status == "failed" && !was_ours => {
            Meets::Person { number, caller_id: Some(ours), is_again: true }
        }
        _ => Meets::VoicemailBox,
    }
}

/// Whether the person has talked with the caller, by `DialCallStatus`.
pub fn is_answered(status: &str) -> bool {
    matches!(status, "completed" | "answered")
}

/// What comes after the voicemail box.
pub fn after_message(message: Option<&Message<'_>>, caller: Caller<'_>) -> Meets<'static> {
    match message {
        _ if caller.has_hung_up => Meets::Nothing,
        Some(_) => Meets::Thanks,
        None => Meets::NoMessage,
    }
}

/// A message that the caller has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub recording_sid: &'a str,
    pub recording_url: &'a str,
    pub seconds: u32,
}

impl<'a> Message<'a> {
    /// As told by the action of its `<Record>`, or by its recording's status; both may come. None if it is
    /// empty.
    pub fn of(form: &'a Form) -> Option<Self> {
        let recording_url = form.told("RecordingUrl")?;
        let seconds = form.told("RecordingDuration")?.parse().ok().filter(|&seconds| seconds > 0)?;
        // The action is not sure to get the SID (reference: twilio.md section 2.7); the URL ends in it.
        let of_the_url = || recording_url.rsplit('/').next().unwrap_or_default();
        let recording_sid = form.told("RecordingSid").unwrap_or_else(of_the_url);
        Some(Self { recording_sid, recording_url, seconds })
    }
}

/// The number that we make calls from: the one that is set, else the one that was called.
fn our_number<'a>(staff: Staff<'a>, caller: Caller<'a>) -> Option<&'a str> {
    let called = caller.to.filter(|to| caller.is_inbound && can_be_caller_id(to));
    staff.ours.or(called)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: &str = "+14155550123";
    const OURS: &str = "+15005550006";
    const STAFF: Staff<'_> = Staff { person: Some(PERSON), ours: Some(OURS) };

    fn caller(from: &str) -> Caller<'_> {
        Caller { from: Some(from), to: Some("+15005550009"), is_inbound: true, has_hung_up: false }
    }

    #[test]
    fn a_person_is_rung_from_the_callers_number_if_it_can_be_shown() {
        let shown = Meets::Person { number: PERSON, caller_id: None, is_again: false };
        assert_eq!(person_or_voicemail(STAFF, caller("+14155550100")), shown);
        let ours = Meets::Person { number: PERSON, caller_id: Some(OURS), is_again: false };
        assert_eq!(person_or_voicemail(STAFF, caller("anonymous")), ours);
        assert_eq!(person_or_voicemail(Staff::default(), caller("+14155550100")), Meets::VoicemailBox);
    }

    #[test]
    fn without_a_number_of_ours_the_one_that_was_called_is_shown() {
        let unset = Staff { ours: None, ..STAFF };
        let called = Meets::Person { number: PERSON, caller_id: Some("+15005550009"), is_again: false };
        assert_eq!(person_or_voicemail(unset, caller("client:bob")), called);
        let outbound = Caller { is_inbound: false, ..caller("client:bob") };
        let none = Meets::Person { number: PERSON, caller_id: None, is_again: false };
        assert_eq!(person_or_voicemail(unset, outbound), none, "the number that we called is not ours");
    }

    #[test]
    fn a_dial_that_failed_is_tried_once_more_from_our_number() {
        let again = Meets::Person { number: PERSON, caller_id: Some(OURS), is_again: true };
        assert_eq!(after_dial("failed", false, STAFF, caller("+14155550100")), again);
        assert_eq!(after_dial("failed", true, STAFF, caller("+14155550100")), Meets::VoicemailBox);
        for status in ["busy", "no-answer", "canceled", "a new word"] {
            assert_eq!(after_dial(status, false, STAFF, caller("+14155550100")), Meets::VoicemailBox);
        }
    }

    #[test]
    fn after_a_talk_with_the_person_comes_a_farewell_and_for_a_caller_who_has_hung_up_nothing() {
        let gone = Caller { has_hung_up: true, ..caller("+14155550100") };
        for status in ["completed", "answered"] {
            assert_eq!(after_dial(status, false, STAFF, caller("+14155550100")), Meets::Farewell);
            assert_eq!(after_dial(status, false, STAFF, gone), Meets::Nothing);
        }
        assert_eq!(after_dial("failed", false, STAFF, gone), Meets::Nothing);
        assert_eq!(after_message(None, gone), Meets::Nothing);
    }

    #[test]
    fn a_message_is_told_by_its_url_and_its_length() {
        let of = |body: &'static str| {
            let form = Form::parse(body.as_bytes());
            Message::of(&form).map(|message| (message.recording_sid.to_owned(), message.seconds))
        };
        let url = "RecordingUrl=https://api.example.com/Recordings/RE1";
        assert_eq!(of(&[url, "&RecordingDuration=4"].concat().leak()[..]), Some(("RE1".to_owned(), 4)));
        assert_eq!(of("RecordingUrl=https://a/RE1&RecordingDuration=4&RecordingSid=RE2").unwrap().0, "RE2");
        for none in [
            "RecordingUrl=https://a/RE1&RecordingDuration=0",
            "RecordingUrl=https://a/RE1",
            "RecordingDuration=4",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
