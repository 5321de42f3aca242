//! Carries out what was decided about a transfer: asks the REST API, writes the log, makes the document.

use std::sync::Arc;
use std::time::Duration;

use actors::call::destinations::Destination;
use actors::call::end::Outcome;
use actors::call::flow::documents::{Dialled, Documents, News};
use actors::call::flow::person::attempt::{Attempt, Way};
use actors::call::flow::person::steps::{Fate, Staff, Wish, is_alone};
use actors::call::flow::person::{Caller, Meets};
use actors::call::persona::Persona;
use actors::call::sentences::Sentences;
use actors::db::record::{Aftermath, Event};
use actors::wire::twilio::form::Form;
use actors::wire::twilio::rest::{Instructions, NewCall, RestError, TwilioApi};
use actors::wire::twilio::sid::CallSid;
use actors::wire::twilio::twiml::Twiml;
use chrono::Utc;

use super::story;
use crate::app::App;
use crate::http::voice::call_sid;

/// Within this time the REST API does what it is asked: Twilio waits 5 s for the answer to a webhook, and the
/// caller hears nothing meanwhile.
const REST_WITHIN: Duration = Duration::from_secs(2);
/// How often a person who is alone in the conference is told that the caller is gone.
const TOLD_ALONE: u32 = 2;

/// What a request about a transfer is answered with.
pub(super) struct Transfers<'a> {
    app: &'a App,
    persona: Arc<Persona>,
    on_duty: Option<Destination>,
    rest: Option<TwilioApi>,
    pub(super) sentences: &'static Sentences,
    /// Who asks: the caller, or the person.
    pub(super) caller: Caller<'a>,
    /// In Unix seconds.
    pub(super) now: u64,
}

/// Whether the caller is on the way into the conference.
pub(super) enum Brought {
    There(Attempt),
    /// They have hung up.
    Gone,
    /// The REST API does not do it.
    NotYet,
}

/// Gives a caller to a person, or to the voicemail box if there is none. `form` is the webhook that is
/// answered; it names the caller.
pub(in crate::http) async fn give(app: &App, form: &Form, wish: Wish<'_>) -> Twiml {
    let transfers = Transfers::of(app, form);
    match transfers.first(form, wish) {
        Some(attempt) => transfers.rings(attempt, News::Called).await,
        None => transfers.meets(Meets::VoicemailBox),
    }
}

/// The same, and nobody else is needed for it: neither the REST API nor the database.
pub(in crate::http) fn without_rest(app: &App, form: &Form) -> Twiml {
    let transfers = Transfers { rest: None, ..Transfers::of(app, form) };
    let attempt = transfers.first(form, Wish::default());
    let dialled = attempt.and_then(|attempt| transfers.dials(&attempt, false));
    dialled.unwrap_or_else(|| transfers.meets(Meets::VoicemailBox))
}

/// Whether there is anybody to give a caller to.
pub(crate) fn has_people(app: &App) -> bool {
    !Transfers::of(app, &Form::default()).staff().is_empty()
}

impl<'a> Transfers<'a> {
    pub(super) fn of(app: &'a App, form: &'a Form) -> Self {
        let persona = app.persona.now();
        let on_duty = app.settings.twilio.human_fallback_number.as_deref();
        Self {
            app,
            on_duty: on_duty.map(Destination::person_on_duty),
            rest: app.voice.rest.clone(),
            sentences: Sentences::of(&persona.language),
            persona,
            caller: Caller::of(form),
            now: Utc::now().timestamp().unsigned_abs(),
        }
    }

    pub(super) fn staff(&self) -> Staff<'_> {
        Staff {
            destinations: &self.persona.destinations,
            on_duty: self.on_duty.as_ref(),
            ours: self.app.settings.twilio.from_number.as_deref(),
            has_rest: self.rest.is_some(),
        }
    }

    fn documents(&self) -> &Documents {
        &self.app.voice.documents
    }

    /// None if there is nobody, or if Twilio does not say whose call it is.
    fn first(&self, form: &Form, wish: Wish<'_>) -> Option<Attempt> {
        self.staff().first(call_sid(form).ok()?, self.caller, wish, self.now)
    }

    pub(super) fn meets(&self, meets: Meets) -> Twiml {
        self.documents().meets(meets, self.sentences)
    }

    pub(super) fn waits(&self, attempt: &Attempt, news: News) -> Twiml {
        self.documents().waits(attempt, news, self.sentences)
    }

    /// The next one is rung; after the last one, the voicemail box.
    pub(super) async fn next(&self, attempt: &Attempt, fate: Fate) -> Twiml {
        self.tell(attempt, fate.as_str()).await;
        match self.staff().next(attempt, self.caller, self.now) {
            Some(next) => self.rings(next, News::NextCalled).await,
            None => self.meets(Meets::VoicemailBox),
        }
    }

    /// Rings the person. Where the REST API certainly does not, the caller's own `<Dial>` does; where nobody
    /// knows, the caller waits until the deadline of the attempt.
    async fn rings(&self, attempt: Attempt, news: News) -> Twiml {
        let attempt = match attempt.way {
            Way::Waiting => self.calls(attempt).await,
            Way::Cold | Way::Dial | Way::Room => attempt,
        };
        self.tell(&attempt, "rung").await;
        if attempt.way == Way::Waiting {
            return self.waits(&attempt, news);
        }
        self.dials(&attempt, false).unwrap_or_else(|| self.meets(Meets::VoicemailBox))
    }

    async fn calls(&self, attempt: Attempt) -> Attempt {
        let to = self.staff().find(&attempt.name);
        let (Some(rest), Some(from), Some(to)) = (&self.rest, self.staff().our_number(self.caller), to)
        else {
            return attempt.by_dial();
        };
        let url = self.documents().whisper_url(&attempt);
        let call = NewCall {
            to: &to.number,
            from,
            instructions: Instructions::Url(&url),
            status_callback: None,
            timeout: Some(Duration::from_secs(to.ring_seconds.into())),
        };
        match rest.make_call_once(call).await {
            Ok(call) => Attempt { person_sid: Some(call.sid), ..attempt },
            Err(error) => {
                let call_sid = attempt.call_sid;
                tracing::warn!(call.sid = %call_sid, %error, "a person could not be called by the REST API");
                // Of a call that is made all the same, the key fetches the caller out of the `<Dial>`.
                let may_ring = matches!(error, RestError::Unanswered(_) | RestError::Unreadable(_));
                if may_ring { attempt } else { attempt.by_dial() }
            }
        }
    }

    /// None if the agent file has lost the destination meanwhile.
    fn dials(&self, attempt: &Attempt, is_again: bool) -> Option<Twiml> {
        let to = self.staff().find(&attempt.name)?;
        let caller_id = self.staff().caller_id(attempt, self.caller).map(str::to_owned);
        let (number, ring_seconds) = (to.number.as_str(), to.ring_seconds);
        let dialled = Dialled { number, caller_id: caller_id.as_deref(), ring_seconds, is_again };
        Some(self.documents().dials(attempt, dialled, self.sentences))
    }

    /// The same person is rung once more.
    pub(super) fn dials_again(&self, attempt: &Attempt) -> Twiml {
        self.dials(attempt, true).unwrap_or_else(|| self.meets(Meets::VoicemailBox))
    }

    /// How the person's call came out, if the REST API says that it is over.
    pub(super) async fn fate_of_person(&self, attempt: &Attempt) -> Option<Fate> {
        let (rest, sid) = (self.rest.as_ref()?, attempt.person_sid?);
        match rest.call(sid).await {
            Ok(Some(call)) => Fate::of_status(&call.status.to_string()),
            Ok(None) => Some(Fate::Failed),
            Err(error) => {
                tracing::debug!(call.sid = %attempt.call_sid, %error, "a person's call could not be looked up");
                None
            }
        }
    }

    /// Nobody needs the person any more. The request goes its own way; the call ends by itself, too.
    pub(super) fn hangs_up_person(&self, attempt: &Attempt, may_go_on: bool) {
        let (Some(rest), Some(sid)) = (self.rest.clone(), attempt.person_sid.filter(|_| may_go_on)) else {
            return;
        };
        let call_sid = attempt.call_sid;
        actix_rt::spawn(async move {
            if let Err(error) = rest.hang_up(sid).await {
                tracing::warn!(call.sid = %call_sid, %error, "a person who is not needed is still called");
            }
        });
    }

    /// Brings the caller into the conference.
    pub(super) async fn brings_caller(&self, attempt: &Attempt) -> Brought {
        let Some(rest) = &self.rest else { return Brought::NotYet };
        let room = attempt.in_room(self.now);
        let document = self.documents().meets_person(&room);
        match rest.redirect(attempt.call_sid, Instructions::Twiml(&document)).await {
            Ok(Some(_)) => Brought::There(room),
            Ok(None) => Brought::Gone,
            Err(error) => {
                tracing::warn!(call.sid = %attempt.call_sid, %error, "a caller could not be connected yet");
                Brought::NotYet
            }
        }
    }

    /// A caller is alone in the conference. The document there cannot lead them out; the REST API can, and is
    /// asked with each piece of music.
    pub(super) async fn caller_alone(&self, attempt: &Attempt) -> Twiml {
        if let Some(rest) = self.rest.as_ref().filter(|_| is_alone(attempt, self.now)) {
            let moved_on = Attempt { way: Way::Waiting, until: 0, person_sid: None, ..attempt.clone() };
            let url = self.documents().queue_wait_url(&moved_on);
            if let Err(error) = rest.redirect(attempt.call_sid, Instructions::Url(&url)).await {
                tracing::warn!(call.sid = %attempt.call_sid, %error, "a caller is alone in a conference");
            }
        }
        self.documents().alone_as_caller(attempt)
    }

    /// A person is alone in the conference: the caller has hung up on the way.
    pub(super) async fn person_alone(&self, attempt: &Attempt, form: &Form) -> Twiml {
        if attempt.piece >= TOLD_ALONE
            && let (Some(rest), Ok(person)) = (&self.rest, call_sid(form))
            && let Err(error) = rest.hang_up(person).await
        {
            tracing::warn!(call.sid = %attempt.call_sid, %error, "a person is alone in a conference");
        }
        self.documents().alone_as_person(attempt, self.sentences)
    }

    /// The person has pressed the key.
    pub(super) async fn taken(&self, attempt: &Attempt) {
        tracing::info!(call.sid = %attempt.call_sid, "a person has taken the call");
        self.resolve(story::of(attempt, "taken", &[])).await;
    }

    /// Caller and person have talked.
    pub(super) async fn ended(&self, attempt: &Attempt, form: &Form) {
        self.resolve(story::of(attempt, "ended", &story::dialled(form))).await;
    }

    pub(super) async fn tell(&self, attempt: &Attempt, result: &str) {
        self.keep(story::of(attempt, result, &[])).await;
    }

    /// The end of a `<Dial>` that a process of another version began.
    pub(super) async fn after_unknown_dial(&self, call_sid: CallSid, status: &str, form: &Form) -> Twiml {
        let event = story::unknown(call_sid, status, form);
        let talked = matches!(status, "completed" | "answered");
        if talked {
            self.resolve(event).await;
        } else {
            self.keep(event).await;
        }
        match (self.caller.has_hung_up, talked) {
            (true, _) => Twiml::new(),
            (false, true) => self.meets(Meets::Farewell),
            (false, false) => self.meets(Meets::VoicemailBox),
        }
    }

    async fn resolve(&self, event: Event) {
        let call_sid = event.call_sid;
        let aftermath = Aftermath { event, outcome: Outcome::Transferred, from: None };
        if let Err(error) = self.app.db.doors().store_aftermath(aftermath).await {
            tracing::error!(call.sid = %call_sid, %error, "the result of a transfer is lost");
        }
    }

    async fn keep(&self, event: Event) {
        let call_sid = event.call_sid;
        if let Err(error) = self.app.db.doors().store_event(event).await {
            tracing::error!(call.sid = %call_sid, %error, "an event of a transfer is lost");
        }
    }
}

/// The REST API for doors that have to answer in time.
pub(in crate::http) fn in_time(rest: Option<TwilioApi>) -> Option<TwilioApi> {
    rest.map(|rest| rest.within(REST_WITHIN))
}
