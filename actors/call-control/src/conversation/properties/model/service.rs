//! The Realtime service: its own idea of what is active, what is made and who is to be answered (reference:
//! OpenAI Realtime, sections 3 to 7).

use super::*;
use crate::realtime::events::{AudioDelta, Content, Item, Response, ServiceError, StatusDetails};

/// The service ends an utterance after so much silence.
pub(super) const SILENCE_MS: Millis = 500;

#[derive(Default)]
pub(super) struct Service {
    pub(super) session: u32,
    /// There is a socket.
    pub(super) open: bool,
    pub(super) ready: bool,
    pub(super) connects: usize,
    pub(super) active: Option<usize>,
    pub(super) responses: Vec<Reply>,
    pub(super) items: Vec<Spoken>,
    pub(super) deltas: Vec<Delta>,
    pub(super) calls: Vec<FunctionCall>,
    pub(super) utterances: usize,
    pub(super) hearing: bool,
    pub(super) voice: u32,
    /// Responses that were cut for their length. What of them was kept is the answer, however they end.
    pub(super) cut: BTreeSet<usize>,
    /// The last moment since which an answer is owed.
    pub(super) owed_since: Option<Millis>,
    /// The response that failed at that moment.
    pub(super) owed_for: Option<usize>,
}

impl Service {
    pub(super) fn owe(&mut self, since: Millis) {
        (self.owed_since, self.owed_for) = (Some(since), None);
    }

    /// Whether the caller has still to be answered.
    pub(super) fn owes(&self) -> bool {
        let last = self.responses.last().map(|response| response.began_at);
        let is_cut = self.owed_for.is_some_and(|response| self.cut.contains(&response));
        last.is_none() || (last < self.owed_since && !is_cut)
    }
}

pub(super) struct Reply {
    /// We could not know that it would be active: it is the service's own, or was asked for before we knew of
    /// such.
    pub(super) crossed: bool,
    pub(super) began_at: Millis,
    pub(super) steps: Vec<(Millis, Step)>,
    pub(super) output: Vec<Output>,
}

#[derive(Clone, Copy)]
pub(super) enum Output {
    Item(usize),
    Call(usize),
}

#[derive(Clone, Copy)]
pub(super) enum Step {
    NewItem,
    Words,
    Audio(u32),
    AudioDone,
    Call { early: bool, called: Called },
    Finish(Ending),
}

#[derive(Default)]
pub(super) struct Spoken {
    pub(super) said: String,
    pub(super) made_bytes: u32,
    pub(super) delivered_bytes: u32,
    pub(super) sent_bytes: u32,
    pub(super) heard_bytes: u32,
    /// Its session was lost: what was still on its way never came.
    pub(super) cut_short: bool,
}

pub(super) struct Delta {
    pub(super) response: usize,
    pub(super) item: usize,
    pub(super) payload: Bytes,
    pub(super) bytes: u32,
}

pub(super) struct FunctionCall {
    /// A call ends with its session: nobody else is to answer it.
    pub(super) session: u32,
    pub(super) called: Called,
    pub(super) response: usize,
    pub(super) delivered: bool,
    pub(super) answers: u32,
}

#[derive(Debug)]
pub(super) enum Said {
    Pong,
    Event(ServerEvent<'static>),
    Delta { delta: usize },
    Committed { utterance: usize },
    Call { call: usize },
}

impl World<'_> {
    pub(super) fn connect(&mut self) {
        let connection = self.scenario.connects.get(self.service.connects).copied();
        self.service.connects += 1;
        let connection = connection.unwrap_or(Connection::Opens);
        match connection {
            Connection::Fails => {
                self.feed(&Input::ServiceLost { fatal: false, cause: "refused", wait: None })
            }
            Connection::Refused => self.feed(&Input::ServiceLost { fatal: true, cause: "401", wait: None }),
            Connection::Opens | Connection::Slow(_) => {
                self.service.session += 1;
                self.service.open = true;
                self.service.ready = false;
                self.service.active = None;
                self.say(Said::Event(ServerEvent::SessionCreated));
            }
        }
    }

    /// The session is gone, with all that was on its way.
    pub(super) fn service_drops(&mut self) {
        self.service = Service {
            session: self.service.session + 1,
            open: false,
            ready: false,
            active: None,
            hearing: false,
            owed_since: None,
            ..std::mem::take(&mut self.service)
        };
        self.service.items.iter_mut().for_each(|item| item.cut_short = true);
        self.gate = false;
        self.caller_heard = false;
        self.silence_next = false; // what it was to begin it never will
    }

    pub(super) fn say(&mut self, said: Said) {
        self.say_after(0, said);
    }

    pub(super) fn say_after(&mut self, after: Millis, said: Said) {
        let session = self.service.session;
        self.later(self.now + after + self.scenario.service_ms, Happening::FromService { session, said });
    }

    pub(super) fn voice_begins(&mut self) {
        self.service.voice += 1;
        if self.service.ready && !std::mem::replace(&mut self.service.hearing, true) {
            self.say(Said::Event(ServerEvent::SpeechStarted));
        }
    }

    pub(super) fn utterance_ends(&mut self) {
        if !self.service.ready || !std::mem::take(&mut self.service.hearing) {
            return;
        }
        let utterance = self.service.utterances;
        self.service.utterances += 1;
        let default = Utterance { transcript: Some((100, true)), answered: true, urgent: false };
        let plan = self.scenario.utterances.get(utterance).copied().unwrap_or(default);
        self.say(Said::Event(ServerEvent::SpeechStopped));
        self.say(Said::Committed { utterance });
        self.service.owe(self.now);
        if self.service.active.is_none() && plan.answered {
            self.begin_response(true, None);
        } else if self.service.active.is_some() && self.scenario.tells_of_unanswered {
            self.say(Said::Event(ServerEvent::Error(error(
                "conversation_already_has_active_response",
                None,
            ))));
        }
        if let Some((after, known)) = plan.transcript {
            let item_id = format!("u{utterance:07}");
            let event = if known {
                ServerEvent::TranscriptCompleted {
                    item_id,
                    transcript: if plan.urgent { tools::URGENT_WORDS } else { "Well then." }.into(),
                    usage: Default::default(),
                    urgent: None,
                }
            } else {
                ServerEvent::TranscriptFailed { item_id, code: None }
            };
            self.say_after(after, Said::Event(event));
        }
    }

    pub(super) fn asked(&mut self, request: Request, asked_at: Millis) {
        if !self.service.ready && request != Request::Configure {
            return self.fault(Property::OneResponse, format!("{request:?} before the session was ready"));
        }
        match request {
            Request::Configure => {
                self.service.ready = true;
                let slow = self.scenario.connects.get(self.service.connects - 1);
                let after = if let Some(Connection::Slow(ms)) = slow { *ms } else { 0 };
                self.say_after(after, Said::Event(ServerEvent::SessionUpdated));
            }
            Request::Greet { number } | Request::Respond { number } | Request::Warn { number } => {
                self.response_asked_for(number, asked_at);
            }
            Request::Recall { .. } | Request::Note { .. } => {}
            Request::Cancel { response_id } => {
                let active = self.service.active;
                if active.is_none() || response_id.is_some_and(|id| Some(number(&id)) != active) {
                    let event = ServerEvent::Error(error("response_cancel_not_active", None));
                    return self.say(Said::Event(event));
                }
                self.finish("cancelled", None);
            }
            Request::Truncate { item_id, audio_end_ms, .. } => {
                if audio_end_ms > self.service.items[number(&item_id)].made_bytes / 8 {
                    self.fault(
                        Property::Truncation,
                        format!("{item_id} at {audio_end_ms} ms, beyond what was made"),
                    );
                }
            }
            Request::Delete { item_id } => {
                let item = number(&item_id);
                if item >= self.service.items.len() || !self.deletions.insert(item) {
                    self.fault(Property::Truncation, format!("{item_id} is deleted twice or before it is"));
                }
            }
            Request::FunctionOutput { call_id, .. } => {
                let call = number(&call_id);
                let FunctionCall { session, answers, .. } = &mut self.service.calls[call];
                *answers += 1;
                if *answers > 1 || *session != self.service.session {
                    let what = format!("call {call} of session {session}: answer {answers}");
                    return self.fault(Property::CallsAnswered, what);
                }
                self.service.owe(self.now);
                let kind = "function_call_output".into();
                self.say(Said::Event(ServerEvent::ItemAdded { kind, call_id: Some(call_id) }));
            }
        }
    }

    pub(super) fn response_asked_for(&mut self, number: u32, asked_at: Millis) {
        let unknown = |reply: &Reply| asked_at <= reply.began_at + self.scenario.service_ms;
        let Some(active) = self.service.active else {
            let crossed = self.service.responses.iter().any(|reply| reply.crossed && unknown(reply));
            return self.begin_response(crossed, Some(number));
        };
        let reply = &self.service.responses[active];
        if !reply.crossed || !unknown(reply) {
            self.fault(Property::OneResponse, format!("respond-{number} while {active} is active and known"));
        }
        self.report.refusals += 1;
        self.service.owe(self.now);
        self.say(Said::Event(ServerEvent::Error(error(
            "conversation_already_has_active_response",
            Some(number),
        ))));
    }

    pub(super) fn begin_response(&mut self, crossed: bool, number: Option<u32>) {
        let response = self.service.responses.len();
        let short = Part::Speech { pieces: vec![(10, 1600), (10, 1600)], words_first: true };
        let default = Plan { parts: vec![short], outcome: Ending::Completed };
        let Plan { parts, outcome } = self.scenario.responses.get(response).unwrap_or(&default);
        let mut steps = vec![];
        for part in parts {
            match part {
                Part::Call { early, called } => {
                    steps.push((5, Step::Call { early: *early, called: *called }));
                }
                Part::Speech { pieces, words_first } => {
                    steps.push((0, Step::NewItem));
                    for (gap, bytes) in pieces {
                        let (words, audio) = (Step::Words, Step::Audio(*bytes));
                        let (first, second) = if *words_first { (words, audio) } else { (audio, words) };
                        steps.extend([(*gap, first), (0, second)]);
                    }
                    steps.push((0, Step::AudioDone));
                }
            }
        }
        steps.push((5, Step::Finish(*outcome)));
        let began_at = self.now;
        self.service.responses.push(Reply { crossed, began_at, steps, output: vec![] });
        match (outcome, number) {
            (Ending::NotBegun, Some(number)) => {
                self.service.owe(self.now + 1);
                self.say(Said::Event(ServerEvent::Error(error("server_error", Some(number)))));
            }
            _ => {
                self.service.active = Some(response);
                self.say(Said::Event(ServerEvent::ResponseCreated { id: format!("r{response:07}"), number }));
                self.schedule(response, 0);
            }
        }
    }

    pub(super) fn schedule(&mut self, response: usize, step: usize) {
        let (after, _) = self.service.responses[response].steps[step];
        self.later(self.now + after, Happening::Generate { response, step });
    }

    pub(super) fn generate(&mut self, response: usize, step: usize) {
        let (_, what) = self.service.responses[response].steps[step];
        let item = self.service.items.len().saturating_sub(1);
        match what {
            Step::NewItem => {
                self.service.responses[response].output.push(Output::Item(self.service.items.len()));
                self.service.items.push(Spoken::default());
            }
            Step::Words => {
                let delta = format!("wört{step} ");
                self.service.items[item].said.push_str(&delta);
                let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
                self.say(Said::Event(ServerEvent::TranscriptDelta { response_id, item_id, delta }));
            }
            Step::Audio(bytes) => {
                let delta = self.service.deltas.len();
                self.service.deltas.push(Delta { response, item, payload: audio(delta, bytes), bytes });
                self.service.items[item].made_bytes += bytes;
                self.say(Said::Delta { delta });
            }
            Step::AudioDone => {
                let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
                self.say(Said::Event(ServerEvent::AudioDone { response_id, item_id }));
            }
            Step::Call { early, called } => {
                let call = self.service.calls.len();
                let session = self.service.session;
                self.service.calls.push(FunctionCall {
                    session,
                    called,
                    response,
                    delivered: false,
                    answers: 0,
                });
                self.service.responses[response].output.push(Output::Call(call));
                if early {
                    self.say(Said::Call { call });
                }
            }
            Step::Finish(outcome) => match outcome {
                Ending::Completed | Ending::NotBegun => self.finish("completed", None),
                Ending::Incomplete => self.finish("incomplete", None),
                Ending::Failed(message) => {
                    let message = Some(message.to_owned());
                    self.service.owe(self.now + 1);
                    self.service.owed_for = Some(response);
                    self.finish(
                        "failed",
                        Some(ServiceError { message, ..error("rate_limit_exceeded", None) }),
                    );
                }
                Ending::Fatal => self.finish("failed", Some(error("insufficient_quota", None))),
            },
        }
        if step + 1 < self.service.responses[response].steps.len() {
            self.schedule(response, step + 1);
        }
    }

    pub(super) fn finish(&mut self, status: &str, error: Option<ServiceError>) {
        let Some(response) = self.service.active.take() else { return };
        let tells = status != "cancelled" || self.scenario.cancelled_has_transcript;
        let output = self.service.responses[response].output.clone().into_iter().map(|output| match output {
            Output::Item(item) => Item {
                id: format!("a{item:07}"),
                kind: "message".into(),
                content: vec![Content { transcript: tells.then(|| self.service.items[item].said.clone()) }],
                ..Item::default()
            },
            Output::Call(call) => self.service.calls[call].called.item(call),
        });
        let done = Response {
            id: format!("r{response:07}"),
            status: status.into(),
            status_details: error.map(|error| StatusDetails { error: Some(error) }),
            output: output.collect(),
            usage: None,
            ..Response::default()
        };
        self.say(Said::Event(ServerEvent::ResponseDone(Box::new(done))));
    }

    /// What the service said reaches us.
    pub(super) fn hear(&mut self, said: Said) {
        match said {
            Said::Pong => self.feed(&Input::Pong),
            Said::Delta { delta } => self.hear_audio(delta),
            Said::Committed { utterance } => {
                self.commits(Turn::Caller);
                self.caller_heard = false;
                self.spoken_at = self.now;
                let item_id = format!("u{utterance:07}");
                self.feed(&Input::Service(ServerEvent::Committed { item_id }));
            }
            Said::Call { call } => {
                self.service.calls[call].delivered |= !self.ended;
                let FunctionCall { called, response, .. } = self.service.calls[call];
                let (response_id, item) = (format!("r{response:07}"), called.item(call));
                self.feed(&Input::Service(ServerEvent::OutputItemDone { response_id, item }));
            }
            Said::Event(event) => {
                if let ServerEvent::ResponseCreated { id, number: ours } = &event {
                    self.known = number(id) + 1;
                    if ours.is_some() && std::mem::take(&mut self.silence_next) {
                        self.silenced.insert(number(id));
                    }
                }
                if event == ServerEvent::SpeechStarted {
                    self.caller_heard = true;
                    self.somebody_speaks();
                }
                if matches!(&event, ServerEvent::Error(error) if error.event_id.is_some()) {
                    self.silence_next = false;
                }
                if let ServerEvent::ResponseDone(response) = &event
                    && !self.ended
                {
                    for call in response.output.iter().filter_map(|item| item.call_id.as_deref()) {
                        self.service.calls[number(call)].delivered = true;
                    }
                }
                self.feed(&Input::Service(event.clone()));
                if let ServerEvent::TranscriptCompleted { transcript, .. } = &event {
                    self.words_heard(transcript);
                }
            }
        }
    }

    pub(super) fn hear_audio(&mut self, delta: usize) {
        let Delta { response, item, ref payload, bytes } = self.service.deltas[delta];
        let payload = payload.clone();
        let (response_id, item_id) = (format!("r{response:07}"), format!("a{item:07}"));
        let held: u32 = self.held.iter().map(|held| self.service.deltas[*held].bytes).sum();
        let has_room = self.stream.is_some() || (held + bytes) / 8 <= HELD_MS as u32;
        let wanted = !self.ended && !self.silenced.contains(&response) && has_room;
        let begins = wanted && !self.turns.values().any(|turn| *turn == Turn::Agent { item });
        if begins {
            self.commits(Turn::Agent { item });
        }
        let (was_cut, waiting_ms) = (self.service.cut.contains(&response), self.waiting_ms());
        if !self.ended {
            self.service.items[item].delivered_bytes += bytes;
        }
        if wanted && self.stream.is_none() {
            self.held.push(delta);
        }
        let was_played = self.last_played;
        let audio = AudioDelta { response_id: &response_id, item_id: &item_id, content_index: 0, payload };
        self.feed(&Input::Service(ServerEvent::Audio(audio)));
        let is_played = self.last_played != was_played;
        if self.stream.is_some() && !was_cut && self.service.cut.contains(&response) {
            return self.cut(delta, begins, is_played, waiting_ms);
        }
        if is_played != (wanted && self.stream.is_some()) {
            self.fault(
                Property::Playing,
                format!("piece {delta} of response {response}: wanted {wanted}, played {is_played}"),
            );
        }
    }
}

pub(super) fn error(code: &str, number: Option<u32>) -> ServiceError {
    let event_id = number.map(|number| format!("respond-{number}"));
    ServiceError { code: Some(code.into()), event_id, ..ServiceError::default() }
}

/// Base64 of so many bytes that begins with the number of the piece.
pub(super) fn audio(delta: usize, bytes: u32) -> Bytes {
    let mut payload = format!("{delta:08}").into_bytes();
    payload.resize((bytes.max(6) as usize).div_ceil(3) * 4, b'A');
    let padding = (3 - bytes as usize % 3) % 3;
    let length = payload.len();
    payload[length - padding..].fill(b'=');
    payload.into()
}
