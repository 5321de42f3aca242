//! `<Dial>`: somebody is rung, or joined in a conference.

use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use url::Url;

use super::{BUSY_TONE, Document, ELSEWHERE, Leg, Next};
use crate::sim::phone::Person;
use crate::sim::phone::ledger::{Conference, Direction, Status};
use crate::sim::phone::line::{End, Event, Line};
use crate::sim::phone::network::NUMBER;
use crate::sim::phone::twiml::{Dialled, Number, Room, Target, Verb};

/// What Twilio says of a `<Dial>` that is over.
type Told = Vec<(&'static str, String)>;

impl Leg {
    pub(super) async fn dials(
        &mut self,
        action: Option<Target>,
        timeout: Duration,
        to: Dialled,
        base: &Url,
    ) -> Next {
        let line = self.line.clone();
        line.change(|state| state.breaks_silence(Instant::now()));
        let (interrupted, told) = match to {
            Dialled::Number(number) => self.rings(number, timeout, base).await,
            Dialled::Conference(room) => {
                line.event(Event::Dialled(room.name.clone()));
                line.event(Event::Answered);
                let told = vec![("DialCallStatus", "answered".to_owned())];
                (self.confers(&room, base).await.is_none(), told)
            }
        };
        line.change(|state| state.was_not_silent_until(Instant::now()));
        match action {
            _ if interrupted => self.hangs_up_before(action, base, told),
            Some(action) => self.document(&action, base, told),
            None => Next::Verb,
        }
    }

    /// Rings a number; whether the caller hung up meanwhile, and what the action is told.
    async fn rings(&mut self, to: Number, timeout: Duration, base: &Url) -> (bool, Told) {
        let line = self.line.clone();
        line.event(Event::Dialled(to.number.clone()));
        self.checks_caller_id(&to);
        let person = self.net.options.person_of(&to.number);
        let (length, status) = match person {
            Person::NoAnswer => (timeout, Status::NoAnswer),
            Person::Busy => (BUSY_TONE, Status::Busy),
            _ => (Duration::ZERO, Status::Completed),
        };
        let child = self.child(&to, person);
        let sid = child.record.sid.clone();
        let talk = async {
            sleep(length).await;
            if !person.answers() {
                child.ends_as(status);
                return false;
            }
            let is_bridged = child.hears_whisper(to.whisper, base).await;
            if is_bridged {
                line.event(Event::Answered);
                sleep(ELSEWHERE).await;
            }
            is_bridged
        };
        let talked = line.unless_interrupted(talk).await;
        let status = match talked {
            None if !person.answers() => "canceled",
            _ => status.as_str(),
        };
        (talked.is_none(), dialled(status, sid, talked.unwrap_or(person.answers())))
    }

    /// Only our own numbers and the caller's may be shown (Twilio's error 13214).
    fn checks_caller_id(&self, to: &Number) {
        let shown = to.caller_id.as_deref().unwrap_or(&self.record.from);
        if shown != NUMBER && *shown != self.record.from {
            self.violation("13214", "Dial@callerId is neither ours nor the caller's".into());
        }
        if to.number == self.record.to || to.number == NUMBER {
            self.violation("own-number", "the number that was called is dialled".into());
        }
    }

    /// The call to whoever is dialled.
    fn child(&self, to: &Number, person: Person) -> Self {
        let line = Rc::new(Line::new(self.record.number));
        let from = to.caller_id.clone().unwrap_or_else(|| self.record.from.clone());
        let parent = Some(self.record.sid.clone());
        let (number, direction) = (self.record.number, Direction::OutboundDial);
        let record = self.net.ledger.add_leg(number, [from, to.number.clone()], direction, parent, &line);
        Self {
            net: self.net.clone(),
            line,
            record,
            status_callback: None,
            callbacks: Vec::new(),
            person: Some((person, Duration::ZERO)),
            said_hangup: false,
        }
    }

    /// Whoever has answered follows the whisper. Both are connected unless it hangs up.
    async fn hears_whisper(mut self, whisper: Option<Target>, base: &Url) -> bool {
        self.record.status.set(Status::InProgress);
        let mut is_bridged = true;
        if let Some(whisper) = whisper
            && let Next::Document(request) = self.document(&whisper, base, Vec::new())
        {
            // A leg that dials has a leg that dials: the type would have no end.
            let following: Pin<Box<dyn Future<Output = End> + '_>> =
                Box::pin(self.follow(Document::Fetch(request)));
            let end = following.await;
            is_bridged = end == End::ByBridge && !self.said_hangup;
        }
        self.ends_as(Status::Completed);
        is_bridged
    }

    fn ends_as(&self, status: Status) {
        self.record.heard.replace(self.line.with(|state| state.ear.heard().to_vec()));
        self.record.ends(status);
    }

    /// Of a call that the REST API makes: how it ends if nobody answers.
    pub(super) async fn is_not_answered(&self) -> Option<End> {
        let (person, rings) = self.person?;
        let (length, end) = match person {
            Person::Busy => (BUSY_TONE, End::Rejected { busy: true }),
            Person::NoAnswer => (rings, End::Rejected { busy: false }),
            _ => return None,
        };
        match self.line.unless_interrupted(sleep(length)).await {
            Some(()) => Some(end),
            None => Some(End::Canceled),
        }
    }

    /// The caller hung up, or the REST API has an order: the action is told of a hang-up, and steers nothing.
    pub(super) fn hangs_up_before(&mut self, action: Option<Target>, base: &Url, extra: Told) -> Next {
        let hung_up = self.line.with(|state| state.hang_up);
        if let Some(action) = action.filter(|_| hung_up)
            && let Next::Document(request) = self.document(&action, base, extra)
        {
            let mut params = self.params("completed");
            params.extend(request.extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
            self.callback(request.url, request.method, params);
        }
        Next::End(End::ByCaller)
    }

    /// Stays in a conference until somebody ends that; without a REST API nobody can, so it is a short one. A
    /// person who was called talks for a second, and leaves. None if the caller hung up or the REST API has
    /// an order.
    async fn confers(&mut self, room: &Room, base: &Url) -> Option<()> {
        let Some(conference) = self.net.ledger.join(room, &self.record) else {
            self.violation("16025", format!("the participant label {:?} is taken", room.label));
            return Some(());
        };
        self.callbacks.extend(self.net.tells_of(&conference));
        let is_over = self.line.until(|_| (!conference.has(&self.record.sid)).then_some(()));
        let stay = async {
            if self.net.options.api_listen.is_none() {
                return sleep(ELSEWHERE).await;
            }
            tokio::select! {
                () = is_over => {}
                () = self.talks_in(&conference) => {}
                never = self.waits_in(&conference, room, base) => never,
            }
        };
        let stayed = self.line.unless_interrupted(stay).await;
        conference.leave(&self.record.sid);
        self.callbacks.extend(self.net.tells_of(&conference));
        stayed
    }

    /// Ends when a person has talked enough.
    async fn talks_in(&self, conference: &Conference) {
        if self.person.is_none() {
            return pending().await;
        }
        self.line.until(|_| conference.started.get().then_some(())).await;
        sleep(ELSEWHERE).await;
    }

    /// Whoever is alone hears the document of `waitUrl`, again and again.
    async fn waits_in<T>(&self, conference: &Conference, room: &Room, base: &Url) -> T {
        let alone = async {
            let Some(wait) = &room.wait else { return pending().await };
            let mut target = wait.clone();
            while let Next::Document(request) = self.document(&target, base, Vec::new()) {
                let Ok(verbs) = self.fetch(&request).await else { break };
                for verb in verbs {
                    match verb {
                        Verb::Say(_) | Verb::Play(_) | Verb::Pause(_) => self.hears(&verb).await,
                        Verb::Redirect(next) => {
                            target = next;
                            break;
                        }
                        other => {
                            self.violation("13238", format!("{other:?} in the document of a waitUrl"));
                            return pending().await;
                        }
                    }
                }
            }
            pending().await
        };
        let started = self.line.until(|_| conference.started.get().then_some(()));
        tokio::select! {
            never = alone => never,
            () = started => {}
        }
        // Talk is no silence.
        self.line.change(|state| state.was_not_silent_until(Instant::now()));
        pending().await
    }
}

/// What the `action` of a `<Dial>` of a number is told (reference: twilio.md section 2.3).
fn dialled(status: &str, sid: String, is_bridged: bool) -> Told {
    let answered = status == "completed";
    let mut told = vec![
        ("DialCallStatus", status.to_owned()),
        ("DialCallSid", sid),
        ("DialBridged", is_bridged.to_string()),
    ];
    told.extend(answered.then(|| ("DialCallDuration", ELSEWHERE.as_secs().to_string())));
    told
}
