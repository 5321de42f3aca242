//! What becomes of a caller without the agent: a person if there is one, else the voicemail box; never
//! silence.
//!
//! ```text
//! first -+- cold: <Dial> ------------------------+- answered -> farewell
//!        +- warm: the REST API rings the person, |
//!        |  the caller hears music and news -----+- key 1 -> both in a conference -> farewell
//!        +- warm without the REST API: <Dial>    |
//!           with a whisper ----------------------+- anything else -> the next one -> ... -> voicemail
//! ```
//!
//! - [`attempt`] is all that is known of one attempt; [`seal`] makes it a part of a URL.
//! - [`steps`] chooses the person to call, and the next step after each answer.
//!
//! Each wait has an end that needs nobody's callback: the caller's own document asks again after each piece
//! of music, and moves on at the attempt's deadline. Only one thing is pushed to a caller, the way into the
//! conference, and only within the time in which the caller cannot have moved on.

pub mod attempt;
#[cfg(test)]
mod properties;
pub mod seal;
pub mod steps;

use crate::twilio::form::Form;

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

/// What the caller meets besides a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
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

/// What comes after the voicemail box.
pub fn after_message(message: Option<&Message<'_>>, caller: Caller<'_>) -> Meets {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_who_has_hung_up_hears_nothing_more() {
        let gone = Caller { has_hung_up: true, ..Caller::default() };
        assert_eq!(after_message(None, gone), Meets::Nothing);
        assert_eq!(after_message(None, Caller::default()), Meets::NoMessage);
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
