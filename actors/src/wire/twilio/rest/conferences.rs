//! Conferences and who is in them (reference: twilio.md sections 2.4 and 7).

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::transport::{self, Params, page};
use super::{RestError, TwilioApi};
use crate::wire::twilio::sid::{CallSid, ConferenceSid};

/// A conference as Twilio has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Conference {
    pub sid: ConferenceSid,
    pub friendly_name: String,
    /// `init`, `in-progress` or `completed`.
    pub status: String,
}

/// A call in a conference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Participant {
    pub call_sid: CallSid,
    pub conference_sid: ConferenceSid,
    pub label: Option<String>,
    pub muted: bool,
    pub hold: bool,
    pub start_conference_on_enter: bool,
    pub end_conference_on_exit: bool,
    /// `queued`, `connecting`, `ringing`, `connected`, `complete` or `failed`.
    pub status: String,
}

/// Somebody to be called into a conference.
#[derive(Debug, Clone, Copy)]
pub struct NewParticipant<'a> {
    /// The conference's name, which makes the conference if none of that name is active.
    pub conference: &'a str,
    /// E.164.
    pub to: &'a str,
    /// E.164; a number of ours.
    pub from: &'a str,
    /// At most 128 characters, unique in the conference, without `/`. Finds the participant again.
    pub label: &'a str,
    pub start_conference_on_enter: bool,
    pub end_conference_on_exit: bool,
    pub muted: bool,
    pub beep: bool,
    /// What they hear until others come: nothing if empty; Twilio's music otherwise.
    pub wait_url: Option<&'a str>,
    /// How long it rings, in whole seconds; 60 s otherwise.
    pub timeout: Option<Duration>,
    /// Told of the participant's call.
    pub status_callback: Option<&'a Url>,
    /// Of what it is told: `initiated`, `ringing`, `answered`, `completed`.
    pub status_callback_events: &'a [&'a str],
}

/// What to change of a participant: what is none stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParticipantChange<'a> {
    pub muted: Option<bool>,
    pub hold: Option<bool>,
    /// Played or said to this participant alone.
    pub announce_url: Option<&'a Url>,
    pub end_conference_on_exit: Option<bool>,
}

page!(Conferences, conferences: Conference);
page!(Participants, participants: Participant);

impl TwilioApi {
    /// The conference of that name that is going on, or has somebody waiting in it; none if there is none.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn active_conference(&self, name: &str) -> Result<Option<Conference>, RestError> {
        let params = Params::default().with("FriendlyName", name);
        let found = self.newest::<Conferences>(&["Conferences"], params).await?;
        Ok(found.into_iter().find(|conference| conference.status != "completed"))
    }

    /// Who is in a conference; nobody if it is over.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn participants(&self, conference: ConferenceSid) -> Result<Vec<Participant>, RestError> {
        let path = ["Conferences", conference.as_str(), "Participants"];
        let found = self.list::<Participants>(&path, Params::default()).await;
        Ok(transport::if_there(found)?.unwrap_or_default())
    }

    /// Calls somebody into a conference. After an unanswered request the label is looked up in the conference
    /// before the call is made again.
    ///
    /// # Errors
    /// [`RestError::leaves_open`]: they may have been called all the same.
    pub async fn add_participant(&self, new: NewParticipant<'_>) -> Result<Participant, RestError> {
        let params = Params::default()
            .with("From", new.from)
            .with("To", new.to)
            .with("Label", new.label)
            .with("StartConferenceOnEnter", new.start_conference_on_enter)
            .with("EndConferenceOnExit", new.end_conference_on_exit)
            .with("Muted", new.muted)
            .with("Beep", new.beep)
            .maybe("WaitUrl", new.wait_url)
            .maybe("Timeout", new.timeout.map(|timeout| timeout.as_secs()))
            .maybe("StatusCallback", new.status_callback)
            .each("StatusCallbackEvent", new.status_callback_events);
        let look_up = async |_| {
            let Some(conference) = self.active_conference(new.conference).await? else { return Ok(None) };
            let found = self.participants(conference.sid).await?;
            Ok(found.into_iter().find(|found| found.label.as_deref() == Some(new.label)))
        };
        let path = ["Conferences", new.conference, "Participants"];
        self.create(&self.post(&path, params), look_up).await
    }

    /// Mutes, holds or announces. None if the participant has left or the conference is over.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn change_participant(
        &self,
        conference: ConferenceSid,
        call: CallSid,
        change: ParticipantChange<'_>,
    ) -> Result<Option<Participant>, RestError> {
        let params = Params::default()
            .maybe("Muted", change.muted)
            .maybe("Hold", change.hold)
            .maybe("AnnounceUrl", change.announce_url)
            .maybe("EndConferenceOnExit", change.end_conference_on_exit);
        let path = ["Conferences", conference.as_str(), "Participants", call.as_str()];
        self.ask_if_there(&self.post(&path, params)).await
    }

    /// Puts somebody out of a conference; their call goes on with what follows their `<Dial>`. None if they
    /// have left.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn kick(&self, conference: ConferenceSid, call: CallSid) -> Result<Option<()>, RestError> {
        self.delete_if_there(&["Conferences", conference.as_str(), "Participants", call.as_str()]).await
    }

    /// Ends a conference for all who are in it. None if it is over.
    ///
    /// # Errors
    /// As every operation: see [`RestError`].
    pub async fn end_conference(&self, conference: ConferenceSid) -> Result<Option<Conference>, RestError> {
        let params = Params::default().with("Status", "completed");
        self.ask_if_there(&self.post(&["Conferences", conference.as_str()], params).repeatable()).await
    }
}
