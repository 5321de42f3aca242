//! The agent while the process serves. It is tried at the service, given its phrases, and read again when its
//! file has changed or SIGHUP asks for that. New calls have the new one; a call keeps the one that it began
//! with.
//!
//! A file that is faulty, or that the service refuses, is not used, and `/healthz` says so. One trial is
//! under way at a time: a file that changes meanwhile ends it, and the newer file is tried instead.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_rt::time::sleep;
use actix_web::web::Data;
use actors::call::phrases::Phrase;
use actors::call::phrases::book::Source;
use actors::call::phrases::store::PhraseStore;
use actors::call::trial::{Trial, try_agent};
use actors::health::{Fault, short};

use self::file::{AgentFile, News};
use crate::app::App;
use crate::settings::{Agent, Faults};
use crate::signals::Reloads;

mod file;
mod watch;

/// An agent that could not be tried is tried again after between half of this and all of it.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Looks after the agent until a drain: no call begins after that.
pub(crate) async fn look_after(app: Data<App>, reloads: Reloads) {
    let (path, agent) = (app.settings.agent_file.clone(), app.settings.agent.clone());
    let mut file = AgentFile::new(path, agent, reloads);
    let mut keeper = Keeper::new(app);
    keeper.load().await;
    loop {
        let news = tokio::select! {
            news = file.news() => news,
            never = keeper.settle() => match never {},
        };
        if keeper.app.is_ending() {
            return tracing::info!("the agent stays as it is: no call begins during a drain");
        }
        keeper.heed(news);
    }
}

struct Keeper {
    app: Data<App>,
    /// The one that new calls have.
    agent: Agent,
    /// The service has taken it.
    has_passed: bool,
    /// The one in the file, until the service has taken it.
    candidate: Option<Agent>,
}

impl Keeper {
    fn new(app: Data<App>) -> Self {
        Self { agent: app.settings.agent.clone(), has_passed: false, candidate: None, app }
    }

    /// Takes in what the file says now. After SIGHUP the agent is tried again, also if it is the same.
    fn heed(&mut self, News { agent, is_asked }: News) {
        if is_asked {
            self.has_passed = false;
        }
        match agent {
            None => {}
            Some(Err(faults)) => {
                self.candidate = None;
                self.not_used(&faults);
            }
            Some(Ok(agent)) if agent.persona == self.agent.persona => {
                self.candidate = None;
                self.app.voice.pump.metrics.realtime.explain(agent.places());
                self.agent = agent; // the lines of its keys may be others
                self.is_stale(false);
            }
            Some(Ok(agent)) => self.candidate = Some(agent),
        }
    }

    fn is_stale(&self, is_stale: bool) {
        self.app.agent_is_stale.store(is_stale, Ordering::Relaxed);
    }

    fn not_used(&self, faults: &Faults) {
        self.is_stale(true);
        for fault in faults.iter() {
            let (place, wrong, remedy) = (&fault.name, &fault.wrong, &fault.remedy);
            tracing::warn!(
                place,
                wrong,
                remedy,
                "the agent file is not used: new calls keep the agent that they have"
            );
        }
    }

    /// Tries the agent that is to answer, puts it to use, and has its phrases rendered.
    async fn settle(&mut self) -> Infallible {
        if self.candidate.is_some() || !self.has_passed {
            self.pass().await;
        }
        if let Some(agent) = self.candidate.take() {
            self.put_to_use(agent);
            self.load().await;
        }
        self.app.phrases.render_missing(&self.source(&self.agent)).await;
        pending().await
    }

    /// Returns when the service has taken the agent that is to answer. One that it refuses waits for other
    /// news.
    async fn pass(&mut self) {
        let metrics = self.app.voice.pump.metrics.clone();
        let endpoint = self.app.settings.realtime.clone();
        let mut is_told = false;
        loop {
            let agent = self.candidate.as_ref().unwrap_or(&self.agent);
            match try_agent(&agent.persona, &endpoint, &metrics).await {
                Trial::Passed => break,
                Trial::Refused(fault) => {
                    self.refused(&fault);
                    if self.candidate.is_none() || fault.is_of_the_agent_file() {
                        pending::<()>().await;
                    }
                }
                Trial::Undecided => {
                    if !is_told {
                        tracing::warn!("the agent could not be tried at the Realtime service");
                    }
                    is_told = true;
                    if self.candidate.is_some() {
                        self.is_stale(true);
                    }
                }
            }
            sleep(TRY_AGAIN_AFTER.mul_f64(rand::random_range(0.5..1.0))).await;
        }
        self.has_passed = true;
        tracing::info!("the Realtime service takes the agent as it is");
    }

    fn refused(&self, fault: &Fault) {
        let realtime = &self.app.voice.pump.metrics.realtime;
        let Some(candidate) = &self.candidate else { return realtime.note_refused(fault) };
        self.is_stale(true);
        if !fault.is_of_the_agent_file() {
            return realtime.note_refused(fault); // the agent that answers would be refused as well
        }
        tracing::warn!(
            code = short(&fault.code),
            parameter = short(&fault.parameter),
            value = short(&fault.value),
            text = short(&fault.text),
            setting = fault.place_in(&candidate.places()),
            "the Realtime service refuses the agent file: new calls keep the agent that they have"
        );
    }

    /// From now on it answers new calls.
    fn put_to_use(&mut self, agent: Agent) {
        let metrics = &self.app.voice.pump.metrics;
        let (new, old) = (self.source(&agent), self.source(&self.agent));
        let is_same =
            |phrase: Phrase| new.voice == old.voice && new.texts.get(phrase) == old.texts.get(phrase);
        self.app.phrases.keep(is_same, metrics); // before the persona: no call has the phrases of another one
        self.app.persona.replace(agent.persona.clone());
        metrics.realtime.explain(agent.places());
        self.is_stale(false);
        tracing::info!("new calls have the agent file as it is now");
        self.agent = agent;
    }

    async fn load(&self) {
        self.app.phrases.load(&self.source(&self.agent)).await;
    }

    /// Where the agent's phrases come from. Without a person to transfer to, nobody is promised one.
    fn source(&self, agent: &Agent) -> Source {
        let settings = &self.app.settings;
        let mut texts = agent.persona.phrases.clone();
        if settings.twilio.human_fallback_number.is_none() && agent.persona.destinations.is_empty() {
            texts.set(Phrase::Transfer, None);
        }
        let host = settings.realtime.url.host_str().unwrap_or_default();
        let (folder, voice) = (settings.phrases_dir.clone(), agent.persona.voice.clone());
        let store = PhraseStore::new(folder, host, &settings.realtime.model, &voice);
        let metrics = self.app.voice.pump.metrics.clone();
        Source { texts, voice, store, endpoint: settings.realtime.clone(), metrics }
    }
}

#[cfg(test)]
mod tests;
