//! A call as its three parties see it: the leg that follows the TwiML, the media stream, and the caller. They
//! share one [`Line`] on one thread; whoever waits for something is woken when anything that matters has
//! changed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::ear::{Audible, Ear};
use super::twiml::{Method, Verb};
use crate::sim::speech::{self, Clip, SILENCE};
use crate::sim::tag::{FRAME_BYTES, NO_CLIP, Tag};

/// An agent who is silent for less has not paused: the audio was late.
const PAUSE: Duration = Duration::from_millis(300);
/// Events that are kept of one call; later ones are dropped.
const MAX_EVENTS: usize = 4_096;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The caller hung up.
    ByCaller,
    /// The TwiML hung up or came to its end, or the REST API ended the call.
    ByBridge,
    /// `<Reject>`: the call was never answered.
    Rejected { busy: bool },
    /// The REST API took the call back before it was answered.
    Canceled,
    /// The bridge passed the caller on with `<Dial>` and nothing followed.
    Dialled,
    /// Neither the voice URL nor the fallback URL said what to do.
    Lost,
}

/// Something that happened to a call, for the person or the test that looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A document was fetched from this path.
    Fetched(String),
    StreamStarted,
    /// The socket is gone: `closed by the bridge`, `stopped` by us, or what broke it.
    StreamEnded(String),
    /// A `clear` emptied the playback buffer.
    Cleared,
    /// `<Dial>` to this number or conference.
    Dialled(String),
    /// The person whose number was dialled took the call, or the caller was in the conference.
    Answered,
    /// `<Record>` took a message; one that says nothing is none.
    Recorded,
    /// The number's fallback URL was requested, because of this error.
    Fallback(u32),
}

/// What the REST API makes of a call, whatever it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Follows another document; the present one is abandoned.
    Fetch(Url, Method),
    Follow(Vec<Verb>),
    End(End),
}

/// Since when the agent is, or is not, heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Silent(Instant),
    Speaking(Instant),
}

#[derive(Debug)]
pub struct State {
    pub mouth: Mouth,
    pub ear: Ear,
    pub agent: Agent,
    pub rang_at: Instant,
    /// The first stream's `start` was sent.
    pub connected_at: Option<Instant>,
    /// From there to the first audio of the agent.
    pub first_audio: Option<Duration>,
    /// Silences of the agent that were shorter than a pause.
    pub gaps: u64,
    /// For each interruption, how long the agent went on.
    pub reactions: Vec<Duration>,
    /// For each question, the time from its last word to the first of the answer.
    pub answers: Vec<Duration>,
    /// The caller's frames that count: all, unless it was told otherwise.
    pub counted: Range<u32>,
    pub streaming: bool,
    pub end: Option<End>,
    pub events: Vec<(Duration, Event)>,
    /// What the caller wants: to hang up, to lose the socket, to press keys.
    pub hang_up: bool,
    /// What the REST API wants of the leg.
    pub order: Option<Order>,
    pub drop_socket: bool,
    /// No frames of the caller reach the bridge; marks do.
    pub inaudible: bool,
    pub keys: VecDeque<char>,
    /// None: the caller does not listen any more.
    quiet_since: Option<Instant>,
    longest_silence: Duration,
}

#[derive(Debug)]
pub struct Line {
    state: RefCell<State>,
    changed: Notify,
}

impl Line {
    pub fn new(number: u16) -> Self {
        let now = Instant::now();
        Self {
            state: RefCell::new(State {
                mouth: Mouth::new(number),
                ear: Ear::default(),
                agent: Agent::Silent(now),
                rang_at: now,
                connected_at: None,
                first_audio: None,
                gaps: 0,
                reactions: Vec::new(),
                answers: Vec::new(),
                counted: 0..u32::MAX,
                streaming: false,
                end: None,
                events: Vec::new(),
                hang_up: false,
                order: None,
                drop_socket: false,
                inaudible: false,
                keys: VecDeque::new(),
                quiet_since: Some(now),
                longest_silence: Duration::ZERO,
            }),
            changed: Notify::new(),
        }
    }

    /// Reads or changes the state without waking anybody.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.borrow_mut())
    }

    /// Changes the state and wakes all who wait for a change.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.with(change);
        self.changed.notify_waiters();
        result
    }

    pub fn event(&self, event: Event) {
        self.change(|state| {
            if state.events.len() < MAX_EVENTS {
                state.events.push((state.rang_at.elapsed(), event));
            }
        });
    }

    /// Waits until `fact` finds what it looks for. The caller of this gives the deadline.
    pub async fn until<T>(&self, mut fact: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // One thread: nothing can change between the look and the first poll of the wait.
            if let Some(found) = self.with(&mut fact) {
                return found;
            }
            self.changed.notified().await;
        }
    }

    /// Runs `work` until it is done, the caller hangs up, or the REST API has an order for the call.
    pub async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.until(|state| state.is_interrupted().then_some(())) => None,
            done = work => Some(done),
        }
    }

    /// 20 ms of the stream have passed, in which this was audible.
    pub fn hears(&self, audible: Audible) {
        let changed = self.with(|state| state.hears(audible, Instant::now()));
        if changed {
            self.changed.notify_waiters();
        }
    }

    /// The next 20 ms of what the caller says to a recorder, which takes no part in the stream's sequence.
    /// Whether anything was said.
    pub fn speaks_to_recorder(&self) -> bool {
        let (said, changed) = self.with(|state| {
            let (said, changed) = state.mouth.next_said();
            if said.is_some() {
                state.was_not_silent_until(Instant::now());
            }
            (said.is_some(), changed)
        });
        if changed {
            self.changed.notify_waiters();
        }
        said
    }

    /// The next 20 ms of what the caller says.
    pub fn speaks(&self, now_us: u64) -> [u8; FRAME_BYTES] {
        let (frame, changed) = self.with(|state| state.mouth.frame(now_us));
        if changed {
            self.changed.notify_waiters();
        }
        frame
    }
}

impl State {
    fn hears(&mut self, audible: Audible, now: Instant) -> bool {
        if audible != Audible::Nobody || self.mouth.is_speaking() {
            self.breaks_silence(now);
        }
        match (self.agent, audible == Audible::Agent) {
            (Agent::Silent(since), true) => {
                self.agent = Agent::Speaking(now);
                if let (None, Some(connected)) = (self.first_audio, self.connected_at) {
                    self.first_audio = Some(now - connected);
                } else {
                    self.gaps += u64::from(now - since < PAUSE);
                }
                true
            }
            (Agent::Speaking(_), false) => {
                self.agent = Agent::Silent(now);
                true
            }
            _ => false,
        }
    }

    /// Whether the leg has to stop what it does.
    pub fn is_interrupted(&self) -> bool {
        self.hang_up || self.order.is_some()
    }

    /// The caller has heard something ever since the silence was last broken.
    pub fn was_not_silent_until(&mut self, now: Instant) {
        self.quiet_since = self.quiet_since.map(|_| now);
    }

    /// The caller heard or said something at `now`.
    pub fn breaks_silence(&mut self, now: Instant) {
        self.longest_silence = self.longest_silence(now);
        self.quiet_since = self.quiet_since.map(|_| now);
    }

    /// From now on only silence that begins now counts.
    pub fn forgets_silence(&mut self, now: Instant) {
        self.quiet_since = self.quiet_since.map(|_| now);
        self.longest_silence = Duration::ZERO;
    }

    /// What was measured of the call so far does not count.
    pub fn counts_anew(&mut self, now: Instant) {
        self.counted = self.mouth.frames()..u32::MAX;
        self.ear.counts_anew();
        self.gaps = 0;
        self.reactions.clear();
        self.answers.clear();
        self.forgets_silence(now);
    }

    /// The frames that the caller says from now on do not count.
    pub fn counts_no_more(&mut self) {
        self.counted.end = self.mouth.frames();
    }

    /// The call is over for the caller: what follows is between the network and the bridge.
    pub fn stops_listening(&mut self, now: Instant) {
        self.breaks_silence(now);
        self.quiet_since = None;
    }

    /// The longest time in which the caller heard nothing and said nothing, while the call lasted.
    pub fn longest_silence(&self, now: Instant) -> Duration {
        self.longest_silence.max(self.silence(now))
    }

    /// The time in which the caller has heard nothing and said nothing up to now.
    pub fn silence(&self, now: Instant) -> Duration {
        self.quiet_since.map_or(Duration::ZERO, |since| now - since)
    }
}

/// What the caller says: clips one after the other, silence between them, every frame tagged.
pub struct Mouth {
    number: u16,
    sequence: u32,
    queue: VecDeque<Box<dyn Iterator<Item = [u8; FRAME_BYTES]>>>,
    /// The clip of each utterance that waits or is being said.
    clips: VecDeque<u16>,
    asked: u64,
    /// Utterances said to their end.
    pub finished: u64,
    /// The number of the last utterance that has begun, from 1, and when its first frame was sent.
    pub begun: Option<(u64, Instant)>,
}

impl Mouth {
    fn new(number: u16) -> Self {
        let (queue, clips) = Default::default();
        Self { number, sequence: 0, queue, clips, asked: 0, finished: 0, begun: None }
    }

    /// Will say `clip` after what is already waiting; returns the number of the utterance, from 1.
    pub fn say(&mut self, clip: &Clip) -> u64 {
        self.queue.push_back(Box::new(speech::frames(clip)));
        self.clips.push_back(clip.id);
        self.asked += 1;
        self.asked
    }

    pub fn is_speaking(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Frames said so far: the tags' sequences ran from 0 to one less.
    pub fn frames(&self) -> u32 {
        self.sequence
    }

    /// The next frame, tagged as sent at `now_us`, and whether an utterance began or ended with it.
    fn frame(&mut self, now_us: u64) -> ([u8; FRAME_BYTES], bool) {
        let (said, changed) = self.next_said();
        let (mut frame, clip) = said.unwrap_or(([SILENCE; FRAME_BYTES], NO_CLIP));
        Tag { source: self.number, sequence: self.sequence, clip, sent_us: now_us }.write(&mut frame);
        self.sequence += 1;
        (frame, changed)
    }

    /// The next frame of a clip and its number, none in silence, and whether an utterance began or ended with
    /// it.
    fn next_said(&mut self) -> (Option<([u8; FRAME_BYTES], u16)>, bool) {
        let (finished, begun) = (self.finished, self.begun);
        let mut said = None;
        while let (Some(frames), Some(clip)) = (self.queue.front_mut(), self.clips.front()) {
            said = frames.next().map(|frame| (frame, *clip));
            if said.is_some() {
                break;
            }
            self.queue.pop_front();
            self.clips.pop_front();
            self.finished += 1;
        }
        let speaking = self.finished + 1;
        if said.is_some() && self.begun.is_none_or(|(number, _)| number < speaking) {
            self.begun = Some((speaking, Instant::now()));
        }
        (said, (finished, begun) != (self.finished, self.begun))
    }
}

impl std::fmt::Debug for Mouth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mouth")
            .field("frames", &self.sequence)
            .field("clips", &self.clips)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_FRAMES: Clip = Clip { id: 3, name: "two", text: "", audio: &[0x55; 2 * FRAME_BYTES] };

    #[test]
    fn every_frame_is_tagged_in_speech_and_in_silence_with_one_sequence() {
        let mut mouth = Mouth::new(9);
        assert_eq!(mouth.say(&TWO_FRAMES), 1);
        let tags: Vec<_> = (0..4).map(|at| Tag::read(&mouth.frame(at).0).unwrap()).collect();
        assert_eq!(tags.iter().map(|tag| tag.sequence).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(tags.iter().map(|tag| tag.clip).collect::<Vec<_>>(), [3, 3, NO_CLIP, NO_CLIP]);
        assert!(tags.iter().all(|tag| tag.source == 9));
    }

    #[test]
    fn an_utterance_begins_with_its_first_frame_and_is_finished_after_its_last() {
        let mut mouth = Mouth::new(9);
        mouth.frame(0);
        mouth.say(&TWO_FRAMES);
        mouth.say(&TWO_FRAMES);
        let changes: Vec<_> = (0..6).map(|at| (mouth.frame(at).1, mouth.finished)).collect();
        assert_eq!(changes, [(true, 0), (false, 0), (true, 1), (false, 1), (true, 2), (false, 2)]);
        assert_eq!(mouth.begun.unwrap().0, 2);
    }

    #[test]
    fn a_silence_of_the_agent_shorter_than_a_pause_is_a_gap() {
        let line = Line::new(0);
        line.with(|state| {
            let start = state.rang_at;
            let times = [0, 500, 540, 900, 1_300].map(|ms| start + Duration::from_millis(ms));
            state.connected_at = Some(times[0]);
            let heard = [Audible::Agent, Audible::Nobody, Audible::Agent, Audible::Nobody, Audible::Agent];
            for (audible, time) in heard.into_iter().zip(times) {
                state.hears(audible, time);
            }
            assert_eq!(state.gaps, 1);
        });
    }

    #[test]
    fn the_longest_silence_is_broken_by_either_side_and_ends_with_the_call() {
        let line = Line::new(0);
        let second = Duration::from_secs(1);
        line.with(|state| {
            let start = state.rang_at;
            state.hears(Audible::Agent, start + 3 * second);
            state.hears(Audible::Nobody, start + 4 * second);
            assert_eq!(state.longest_silence(start + 5 * second), 3 * second);
            assert_eq!(state.longest_silence(start + 9 * second), 6 * second);
            state.stops_listening(start + 5 * second);
            assert_eq!(state.longest_silence(start + 9 * second), 3 * second);
        });
    }
}
