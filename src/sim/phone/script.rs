//! What each of many callers does: hears the greeting, asks, listens, interrupts every third time, and hangs
//! up when its time is over, whatever is being said.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::caller::{Caller, Trouble};
use super::ear::Ear;
use super::line::{End, Event};
use super::network::Network;
use crate::sim::speech::Clip;

/// How far into an answer an interruption comes.
const INTO_ANSWER: Duration = Duration::from_secs(1);
/// Whoever hangs up having waited for so long has met a slow answer; until then nobody knows what it would
/// have been.
const LONG_WAIT: Duration = Duration::from_secs(2);
/// Every so many turns the caller interrupts.
const INTERRUPT_EVERY: usize = 3;

/// How a scripted call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The agent was heard, and the call lasted until the caller hung up.
    Completed,
    /// The agent did not hold it to the end: a person took it, or a message was left.
    WithPerson,
    /// The bridge told the caller something, or rejected the call, and never connected it.
    Refused,
    Failed(String),
}

/// One call of a run, when it is over.
#[derive(Debug)]
pub struct CallDetail {
    pub number: u16,
    pub call_sid: String,
    pub verdict: Verdict,
    /// From the ring to the end.
    pub length: Duration,
    /// From the first stream's `start` to the first audio of the agent that was played.
    pub first_audio: Option<Duration>,
    /// For each interruption, how long the agent went on.
    pub reactions: Vec<Duration>,
    /// For each question, the time from its last word to the first of the answer; of the last one, the time
    /// that it was waited for, if that was long: else the slowest answers of all would be missing.
    pub answers: Vec<Duration>,
    /// Times the agent broke off for less than a pause: its audio was not there when it was to be played.
    pub gaps: u64,
    /// Frames the caller sent, numbered from 0.
    pub frames_sent: u32,
    /// Those of them that count.
    pub counted: Range<u32>,
    pub silence_ms: u64,
    pub events: Vec<(Duration, Event)>,
    pub ear: Ear,
}

/// Rings, talks until then, or until all have to hang up, and hangs up.
pub async fn call(
    net: &Network,
    clips: &[Clip],
    until: Instant,
    mut all_hang_up: watch::Receiver<bool>,
) -> anyhow::Result<CallDetail> {
    let (caller, rang_at) = (net.rings()?, Instant::now());
    let asked = Cell::new(None);
    let trouble = tokio::select! {
        biased;
        () = sleep_until(until) => None,
        _ = all_hang_up.wait_for(|hang_up| *hang_up) => None,
        trouble = talk(&caller, clips, net.patience(), &asked) => Some(trouble),
    };
    let unanswered = asked.get().map(|asked: Instant| asked.elapsed()).filter(|waited| *waited > LONG_WAIT);
    caller.line().with(|state| state.answers.extend(unanswered));
    let end = caller.end();
    caller.hangs_up().await;
    let (connected, told) =
        caller.line().with(|state| (state.connected_at.is_some(), !state.ear.heard().is_empty()));
    let fell_back = caller.events().iter().any(|(_, event)| matches!(event, Event::Fallback(_)));
    let helped = caller.events().iter().any(|(_, event)| matches!(event, Event::Answered | Event::Recorded));
    let verdict = match (trouble, end) {
        _ if fell_back => Verdict::Failed("the fallback URL had to be asked".into()),
        (_, Some(End::Rejected { .. })) => Verdict::Refused,
        (_, Some(End::ByBridge)) if !connected && told => Verdict::Refused,
        _ if connected && helped => Verdict::WithPerson,
        (Some(trouble), _) => Verdict::Failed(trouble.to_string()),
        (None, _) if caller.first_audio().is_some() => Verdict::Completed,
        (None, _) => Verdict::Failed("the agent was never heard".into()),
    };
    let (silence_ms, events) = (caller.silence_ms(), caller.events());
    Ok(caller.line().with(|state| CallDetail {
        number: caller.number(),
        call_sid: caller.call_sid().to_owned(),
        verdict,
        length: rang_at.elapsed(),
        first_audio: state.first_audio,
        reactions: std::mem::take(&mut state.reactions),
        answers: std::mem::take(&mut state.answers),
        gaps: state.gaps,
        frames_sent: state.mouth.frames(),
        counted: state.counted.start..state.counted.end.min(state.mouth.frames()),
        silence_ms,
        events,
        ear: std::mem::take(&mut state.ear),
    }))
}

/// Talks until something goes wrong.
async fn talk(caller: &Caller, clips: &[Clip], patience: Duration, asked: &Cell<Option<Instant>>) -> Trouble {
    match converse(caller, clips, patience, asked).await {
        Err(trouble) => trouble,
        Ok(never) => match never {},
    }
}

/// `patience` is how long a silence the caller bears who waits for a greeting or an answer, `asked` is when
/// the question that is not answered yet was put.
async fn converse(
    caller: &Caller,
    clips: &[Clip],
    patience: Duration,
    asked: &Cell<Option<Instant>>,
) -> Result<std::convert::Infallible, Trouble> {
    caller.is_connected().await;
    caller.hears_agent_before_silence_of(patience).await?;
    let number = usize::from(caller.number());
    let mut dice = StdRng::seed_from_u64(number as u64);
    let mut said = clips.iter().cycle().skip(number % clips.len());
    let mut next = move || said.next().expect("a cycle has no end");
    for turn in number.. {
        if turn % INTERRUPT_EVERY == 2 {
            caller.listens_for(INTO_ANSWER).await?;
            let reaction = caller.interrupts_with(next()).await?;
            caller.line().with(|state| state.reactions.extend(reaction));
        } else {
            caller.waits_until_silent().await?;
            sleep(Duration::from_millis(dice.random_range(200..800))).await;
            caller.say(next()).await?;
        }
        let since = Instant::now();
        asked.set(Some(since));
        caller.hears_agent_before_silence_of(patience).await?;
        asked.set(None);
        caller.line().with(|state| state.answers.push(since.elapsed()));
    }
    unreachable!("a call does not last for 2^64 turns")
}
