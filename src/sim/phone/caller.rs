//! A caller: what a person at a telephone can do and notice. Scripts and tests use the same.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ear::Heard;
use super::line::{Agent, End, Event, Line, State};
use crate::sim::report::FrameCounts;
use crate::sim::speech::Clip;

/// An agent that was not audible for this long has finished speaking.
const PAUSE: Duration = Duration::from_millis(300);
/// The longest turn of an agent that is waited for.
const LONGEST_TURN: Duration = Duration::from_secs(120);
/// How long an interrupted agent may go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something a caller waited for did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the agent was not heard within {0:?}")]
    NotHeard(Duration),
    #[error("the agent was still speaking after {0:?}")]
    StillSpeaking(Duration),
    #[error("the call was over: {0:?}")]
    Over(End),
}

/// One simulated caller. Dropping it hangs up.
pub struct Caller {
    number: u16,
    call_sid: String,
    line: Rc<Line>,
}

impl Caller {
    pub(super) fn new(number: u16, call_sid: String, line: Rc<Line>) -> Self {
        Self { number, call_sid, line }
    }

    /// The number of the call: the `source` of the tags in the caller's audio.
    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn call_sid(&self) -> &str {
        &self.call_sid
    }

    /// Waits until a media stream has started, which is true, or the call is over without one. Every step of
    /// the network has a deadline of its own, so one of both comes.
    pub async fn is_connected(&self) -> bool {
        let found = |state: &mut State| (state.connected_at.is_some() || state.end.is_some()).then_some(());
        self.line.until(found).await;
        self.line.with(|state| state.connected_at.is_some())
    }

    /// Says `clip` to its end.
    pub async fn say(&self, clip: &Clip) -> Result<(), Trouble> {
        let utterance = self.line.with(|state| state.mouth.say(clip));
        let said = |state: &mut State| (state.mouth.finished >= utterance).then_some(());
        let length = Duration::from_millis(u64::from(clip.millis()));
        self.until(length + PATIENCE, said).await?.ok_or(Trouble::NotHeard(length + PATIENCE))
    }

    /// Waits until the agent is audible; returns at once if it is.
    pub async fn hears_agent_within(&self, limit: Duration) -> Result<(), Trouble> {
        let speaking = |state: &mut State| matches!(state.agent, Agent::Speaking(_)).then_some(());
        self.until(limit, speaking).await?.ok_or(Trouble::NotHeard(limit))
    }

    /// The same, as long as there is no silence of `limit`: who hears "One moment, please" waits on.
    pub async fn hears_agent_before_silence_of(&self, limit: Duration) -> Result<(), Trouble> {
        let silence = || self.line.with(|state| state.silence(Instant::now()));
        loop {
            match self.hears_agent_within(limit.saturating_sub(silence())).await {
                Err(Trouble::NotHeard(_)) if silence() < limit => {}
                Err(Trouble::NotHeard(_)) => return Err(Trouble::NotHeard(limit)),
                heard => return heard,
            }
        }
    }

    /// Waits until the agent has been silent for 300 ms.
    pub async fn waits_until_silent(&self) -> Result<(), Trouble> {
        let given_up = Instant::now() + LONGEST_TURN;
        loop {
            let limit = given_up.saturating_duration_since(Instant::now());
            let since = self.until(limit, silent_since).await?.ok_or(Trouble::StillSpeaking(LONGEST_TURN))?;
            let speaks_again =
                self.until_time(since + PAUSE, |state| silent_since(state).is_none().then_some(()));
            if speaks_again.await?.is_none() {
                return Ok(());
            }
        }
    }

    /// Listens for so long, unless the agent falls silent before.
    pub async fn listens_for(&self, length: Duration) -> Result<(), Trouble> {
        self.until(length, silent_since).await.map(|_| ())
    }

    /// Starts to say `clip` whether the agent speaks or not, and says it to its end. Returns the time from
    /// the first frame of it to the moment in which the agent was not heard any more; none if the agent was
    /// silent before.
    pub async fn interrupts_with(&self, clip: &Clip) -> Result<Option<Duration>, Trouble> {
        let utterance = self.line.with(|state| state.mouth.say(clip));
        let limit = Duration::from_millis(u64::from(clip.millis())) + PATIENCE;
        let begun = move |state: &mut State| {
            state
                .mouth
                .begun
                .filter(|(number, _)| *number >= utterance)
                .map(|(_, begun)| (begun, state.agent))
        };
        let (begun, agent) = self.until(limit, begun).await?.ok_or(Trouble::NotHeard(limit))?;
        let reaction = match agent {
            Agent::Silent(_) => None,
            Agent::Speaking(_) => {
                let silent =
                    self.until(PATIENCE, silent_since).await?.ok_or(Trouble::StillSpeaking(PATIENCE))?;
                Some(silent.saturating_duration_since(begun))
            }
        };
        let said = |state: &mut State| (state.mouth.finished >= utterance).then_some(());
        self.until(limit, said).await?.ok_or(Trouble::NotHeard(limit))?;
        Ok(reaction)
    }

    /// Waits until a `<Say>` that has `text` in it was begun.
    pub async fn is_told_within(&self, limit: Duration, text: &str) -> Result<(), Trouble> {
        let said = |heard: &Heard| matches!(heard, Heard::Said(said) if said.contains(text));
        let told = |state: &mut State| state.ear.heard().iter().any(said).then_some(());
        self.until(limit, told).await?.ok_or(Trouble::NotHeard(limit))
    }

    /// Waits for the tone after which a message may be left.
    pub async fn is_beeped_within(&self, limit: Duration) -> Result<(), Trouble> {
        let beep = |state: &mut State| state.ear.heard().contains(&Heard::Beep).then_some(());
        self.until(limit, beep).await?.ok_or(Trouble::NotHeard(limit))
    }

    /// Waits for that tone and says `clip` to the recorder.
    pub async fn leaves_a_message(&self, limit: Duration, clip: &Clip) -> Result<(), Trouble> {
        self.is_beeped_within(limit).await?;
        self.say(clip).await
    }

    /// Presses a key (`0`-`9`, `*`, `#`); sent with the next frame, or heard by a recorder.
    pub fn presses(&self, key: char) {
        self.line.change(|state| state.keys.push_back(key));
    }

    /// Hangs up and waits until everybody has been told.
    pub async fn hangs_up(&self) {
        self.line.change(|state| state.hang_up = true);
        self.ends().await;
    }

    /// The network between us and the bridge breaks: the media socket dies without a word.
    pub fn drops_socket(&self) {
        self.line.with(|state| state.drop_socket = true);
    }

    /// The network loses the caller's audio, or has it again; the agent is heard all the while.
    pub fn is_inaudible(&self, inaudible: bool) {
        self.line.with(|state| state.inaudible = inaudible);
    }

    /// Waits until the call is over, the last callback included. The caller of this gives the deadline.
    pub async fn ends(&self) -> End {
        self.line.until(|state| state.end.clone()).await
    }

    /// How the call ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.line.with(|state| state.end.clone())
    }

    /// Everything that was heard, in order.
    pub fn heard(&self) -> Vec<Heard> {
        self.line.with(|state| state.ear.heard().to_vec())
    }

    /// What was wrong with the agent's frames.
    pub fn frame_faults(&self) -> FrameCounts {
        self.line.with(|state| state.ear.faults.clone())
    }

    /// The longest time in which nothing was heard and nothing was said, in milliseconds, counted from the
    /// ring.
    pub fn silence_ms(&self) -> u64 {
        self.line.with(|state| state.longest_silence(Instant::now())).as_millis() as u64
    }

    /// Counts silence anew from now on.
    pub fn forgets_silence(&self) {
        self.line.with(|state| state.forgets_silence(Instant::now()));
    }

    /// What happened to the call, each with the time since the ring.
    pub fn events(&self) -> Vec<(Duration, Event)> {
        self.line.with(|state| state.events.clone())
    }

    /// From `start` to the first audio of the agent that was played.
    pub fn first_audio(&self) -> Option<Duration> {
        self.line.with(|state| state.first_audio)
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Waits for a fact; none when `limit` has passed.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        fact: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<Option<T>, Trouble> {
        self.until_time(Instant::now() + limit, fact).await
    }

    async fn until_time<T>(
        &self,
        deadline: Instant,
        mut fact: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<Option<T>, Trouble> {
        let waited = self.line.until(|state| match (fact(state), &state.end) {
            (Some(found), _) => Some(Ok(found)),
            (None, Some(end)) => Some(Err(Trouble::Over(end.clone()))),
            (None, None) => None,
        });
        tokio::select! {
            biased;
            found = waited => found.map(Some),
            () = sleep_until(deadline) => Ok(None),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.line.change(|state| state.hang_up = true);
    }
}

fn silent_since(state: &mut State) -> Option<Instant> {
    match state.agent {
        Agent::Silent(since) => Some(since),
        Agent::Speaking(_) => None,
    }
}
