//! A Realtime service and a Twilio that keep to nothing: they omit, delay, repeat and reorder what they say,
//! refuse, end responses without sound, fall silent and close. A [`Call`] plays one seed against a
//! conversation in virtual milliseconds and collects every promise that the conversation broke.
//!
//! `TORTURE_CASES` sets the number of seeds, `TORTURE_FROM` the first one, and `TORTURE_TRACE` prints every
//! step. Seeds that once failed are kept in `torture-seeds.txt` and are played first; `TORTURE_KEEP` adds
//! those that fail now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::conversation::kept::LIMITS;
use crate::conversation::phrases::{Phrase, Phrases, Recording};
use crate::journal::Journal;
use crate::realtime::RING_MS;
use crate::recorder::tests::Tape;
use crate::twilio::frames::{Mark, payload_bytes};

mod peer;

use self::peer::{Habits, Word};

/// A caller hears an answer, a filler or a person within this time.
const PATIENCE_MS: Millis = 40_000;
/// A caller hears an answer or a person within this time, however many fillers they hear.
const ANSWER_MS: Millis = 90_000;
/// Twilio and the network keep the caller's last words for a new session this long.
const RING: Millis = RING_MS;
/// What is loud this soon after the agent may be its echo: marks can be late.
const ECHO_MS: Millis = 7_000;
/// Requests of one kind within any minute.
const MAX_RESPONSES_A_MINUTE: usize = 40;
const MAX_CONNECTS_A_MINUTE: usize = 120;
/// So many broken calls are told of each share.
const MAX_TOLD: usize = 20;
/// More steps at one millisecond mean that the conversation asks for ticks without end.
const MAX_STEPS_AT_ONCE: u32 = 2_000;
/// The call's actor panics at one of so many inputs, before it takes the input.
const PANICS: u64 = 97;
/// One of so many calls is recorded, and the recording replayed.
const RECORDED: u64 = 8;

/// A small generator whose numbers never change with a library's version, so that a seed stays a seed.
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// True in so many of a thousand throws.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Open,
    SpeechBegins,
    SpeechEnds,
    /// A second of the caller's side is loud.
    Loud,
    LoseStream,
    Connected {
        session: u32,
    },
    Lost {
        session: u32,
    },
    Pong {
        session: u32,
    },
    Said {
        session: u32,
        word: Word,
    },
    Echo {
        mark: Mark,
    },
    CallOver,
}

/// One call, its caller, and what they were promised.
pub(super) struct Call {
    traced: bool,
    dice: Dice,
    habits: Habits,
    now: Millis,
    sequence: u64,
    agenda: BTreeMap<(Millis, u64), Happening>,
    conversation: Journal<Conversation>,
    tape: Option<Tape>,
    session: u32,
    gate: bool,
    responses: u32,
    items: u32,
    active: Option<u32>,
    /// From here on this session says nothing more.
    silent_from: Millis,
    stream_open: bool,
    speaking: bool,
    /// Utterances of the caller so far.
    utterances: u32,
    /// The service or the loudness has shown that the caller speaks.
    noticed: bool,
    /// The end of the last utterance that no session has heard.
    unheard: Option<Millis>,
    play_until: Millis,
    /// Since when the caller is owed an answer.
    owed_since: Option<Millis>,
    ended: bool,
    ordinals: BTreeSet<u32>,
    asked: VecDeque<Millis>,
    connects: VecDeque<Millis>,
    broken: Vec<String>,
    answers: u32,
    fillers: u32,
    persons: u32,
}

impl Call {
    /// Plays the call of this seed to its end; returns the promises that were broken.
    pub(super) fn play(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let habits = Habits::draw(&mut dice);
        let mut phrases = Phrases::default();
        if dice.chance(700) {
            for phrase in Phrase::ALL {
                phrases.add(phrase, Recording::new(&[0xFF; 4_000]));
            }
        }
        let barge_in_min_ms = if dice.chance(800) { 0 } else { dice.between(1, 600) };
        let rules = Rules { barge_in_min_ms, jitter_seed: seed, phrases: phrases.into(), ..Rules::default() };
        let mut effects = vec![];
        let conversation = Conversation::begin(rules.clone(), 0, &mut effects);
        let is_recorded = seed.is_multiple_of(RECORDED);
        let mut call = Self {
            traced: std::env::var_os("TORTURE_TRACE").is_some(),
            dice,
            habits,
            now: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            conversation: Journal::new(conversation, LIMITS),
            tape: is_recorded.then(|| Tape::begin(&rules, None, 0, &effects)),
            session: 0,
            gate: false,
            responses: 0,
            items: 0,
            active: None,
            silent_from: Millis::MAX,
            stream_open: false,
            speaking: false,
            utterances: 0,
            noticed: false,
            unheard: None,
            play_until: 0,
            owed_since: None,
            ended: false,
            ordinals: BTreeSet::new(),
            asked: VecDeque::new(),
            connects: VecDeque::new(),
            broken: vec![],
            answers: 0,
            fillers: 0,
            persons: 0,
        };
        call.carry_out(effects);
        call.plan_the_caller();
        call.run();
        call.judge();
        call
    }

    fn plan_the_caller(&mut self) {
        let mut at = self.dice.between(0, 3_000);
        self.later(at, Happening::Open);
        if self.dice.chance(100) {
            let lost_at = at + self.dice.between(500, 20_000);
            self.later(lost_at, Happening::LoseStream);
            let back_at = lost_at + self.dice.between(10, 14_000);
            self.later(back_at, Happening::Open);
        }
        for _ in 0..self.dice.between(0, 8) {
            at += if self.dice.chance(300) {
                self.dice.between(1, 1_500)
            } else {
                self.dice.between(1_500, 20_000)
            };
            self.later(at, Happening::SpeechBegins);
            let ends_at = at + self.dice.between(300, 4_000);
            (at + 200..ends_at).step_by(1_000).for_each(|at| self.later(at, Happening::Loud));
            at = ends_at;
            self.later(at, Happening::SpeechEnds);
        }
        at += 2 * ANSWER_MS;
        self.later(at, Happening::CallOver);
    }

    fn later(&mut self, at: Millis, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((at.max(self.now), self.sequence), happening);
    }

    fn run(&mut self) {
        let (mut steps, mut last) = (0, 0);
        while !self.ended && self.broken.is_empty() {
            let Some((at, _)) = self.agenda.keys().next().copied() else { return };
            let due = self.conversation.live().deadline().map(|due| due.max(self.now));
            let tick = due.filter(|due| *due < at);
            self.check_patience(tick.unwrap_or(at));
            self.now = tick.unwrap_or(at);
            (steps, last) = if self.now == last { (steps + 1, last) } else { (0, self.now) };
            if steps > MAX_STEPS_AT_ONCE {
                return self.broken.push(format!("it does not come to rest at {} ms", self.now));
            }
            if tick.is_some() {
                self.feed(&Input::Tick);
            } else if let Some((_, happening)) = self.agenda.pop_first() {
                self.happen(happening);
            }
        }
    }

    /// Nothing is heard between now and then.
    fn check_patience(&mut self, then: Millis) {
        let Some(owed_since) = self.owed_since else { return };
        if self.speaking || !self.stream_open {
            return;
        }
        let quiet_since = owed_since.max(self.play_until.min(then));
        if then - quiet_since > PATIENCE_MS {
            self.broken.push(format!("the caller hears nothing from {quiet_since} to {then} ms"));
        }
        if then.saturating_sub(owed_since) > ANSWER_MS {
            self.broken.push(format!("fillers and no answer from {owed_since} to {then} ms"));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Open => {
                self.stream_open = true;
                self.play_until = self.now;
                self.owed_since = Some(self.now);
                self.feed(&Input::StreamOpened);
            }
            Happening::LoseStream => {
                self.stream_open = false;
                self.speaking = false;
                self.agenda.retain(|_, happening| !matches!(happening, Happening::Echo { .. }));
                self.feed(&Input::StreamLost);
            }
            Happening::SpeechBegins if self.stream_open => {
                self.speaking = true;
                self.utterances += 1;
                self.noticed = false;
                self.owed_since = None;
                self.caller_begins();
            }
            Happening::SpeechEnds if self.speaking => {
                self.speaking = false;
                self.owed_since = Some(self.now).filter(|_| self.noticed);
                self.caller_ends();
            }
            Happening::Loud if self.stream_open => {
                self.noticed |= self.play_until + ECHO_MS <= self.now;
                self.feed(&Input::CallerLoud);
            }
            Happening::SpeechBegins | Happening::SpeechEnds | Happening::Loud => {}
            Happening::Connected { session } if session == self.session => self.connected(),
            Happening::Lost { session } if session == self.session => {
                self.forget_session();
                self.feed(&Input::ServiceLost { fatal: false, cause: "lost", wait: None });
            }
            Happening::Pong { session } if session == self.session => self.feed(&Input::Pong),
            Happening::Said { session, word } if session == self.session => self.hear(&word),
            Happening::Connected { .. }
            | Happening::Lost { .. }
            | Happening::Pong { .. }
            | Happening::Said { .. } => {}
            Happening::Echo { mark } => self.feed(&Input::Mark(mark)),
            Happening::CallOver => self.feed(&Input::CallOver),
        }
    }

    fn forget_session(&mut self) {
        self.session += 1;
        self.gate = false;
        self.active = None;
    }

    fn feed(&mut self, input: &Input<'_>) {
        let mut effects = vec![];
        self.panics_at_first(input);
        self.conversation.step(input, self.now, &mut effects);
        if let (Some(tape), Some(entry)) = (&mut self.tape, self.conversation.pending()) {
            tape.taken(self.now, &entry.input, &effects);
        }
        self.conversation.complete();
        if self.traced {
            let Conversation { responses, patience, unnoticed, speaking_since, .. } =
                self.conversation.live();
            println!("{} {input:?} -> {effects:?}", self.now);
            println!("    {responses:?} {patience:?} {unnoticed:?} speaking {speaking_since:?}");
        }
        let is_afterword =
            |effect: &Effect| matches!(effect, Effect::WriteTurn(_) | Effect::Ask(Request::Cancel { .. }));
        if self.ended && !effects.iter().all(is_afterword) {
            self.broken.push(format!("effects after the end: {effects:?}"));
        }
        self.carry_out(effects);
    }

    /// Now and then the call's actor panics, and goes on from the checkpoint.
    fn panics_at_first(&mut self, input: &Input<'_>) {
        if !self.sequence.is_multiple_of(PANICS) {
            return;
        }
        let before = self.conversation.live().clone();
        self.conversation.step(input, self.now, &mut vec![]);
        if let (Some(tape), Some(entry)) = (&mut self.tape, self.conversation.pending()) {
            tape.lost(self.now, &entry.input);
        }
        self.conversation.restore();
        if *self.conversation.live() != before {
            self.broken.push(format!("the checkpoint at {} ms is not the state before {input:?}", self.now));
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Connect { after } => self.connect(after),
                Effect::Disconnect => self.forget_session(),
                Effect::Ping => self.pinged(),
                Effect::Ask(request) => self.asked(&request),
                Effect::OpenGate => self.gate_opens(),
                Effect::Play(payload) => self.play_piece(&payload),
                Effect::Mark(mark) => self.mark(mark),
                Effect::Clear => self.clear(),
                Effect::WriteTurn(turn) => {
                    self.ordinals.insert(turn.ordinal);
                }
                Effect::End { next, .. } => {
                    self.ended = true;
                    self.persons += u32::from(next == NextStep::Human);
                }
                _ => {}
            }
        }
    }

    fn play_piece(&mut self, payload: &[u8]) {
        let ms = payload_bytes(payload) / 8;
        let is_phrase = payload.starts_with(b"////");
        self.fillers += u32::from(is_phrase);
        if !is_phrase && ms > 0 {
            self.answers += 1;
            self.owed_since = None;
            self.noticed &= !self.speaking; // what they say from now on must be noticed by itself
        }
        self.play_until = self.play_until.max(self.now) + ms;
    }

    fn mark(&mut self, mark: Mark) {
        if !self.stream_open || self.dice.chance(self.habits.marks_lost) {
            return;
        }
        let mut at = self.play_until.max(self.now) + self.dice.between(0, 60);
        if self.dice.chance(self.habits.marks_late) {
            at += self.dice.between(1, 5_000);
        }
        self.later(at, Happening::Echo { mark });
        if self.dice.chance(self.habits.repeats) {
            let again = at + self.dice.between(0, 3_000);
            self.later(again, Happening::Echo { mark });
        }
    }

    fn clear(&mut self) {
        self.play_until = self.now;
        let echoes =
            self.agenda.extract_if(.., |_, h| matches!(h, Happening::Echo { .. })).collect::<Vec<_>>();
        for (_, echo) in echoes {
            let at = self.now + self.dice.between(0, 60);
            self.later(at, echo);
        }
    }

    fn count(&mut self, which: fn(&mut Self) -> &mut VecDeque<Millis>, most: usize, what: &str) {
        let now = self.now;
        let times = which(self);
        times.push_back(now);
        while times.front().is_some_and(|at| at + 60_000 <= now) {
            times.pop_front();
        }
        let count = times.len();
        if count > most {
            self.broken.push(format!("{count} {what} within a minute, up to {now} ms"));
        }
    }

    fn judge(&mut self) {
        if let Some(first) = self.tape.take().and_then(|tape| tape.differences().into_iter().next()) {
            self.broken.push(format!("the recording differs: {first}"));
        }
        let last = self.ordinals.last().copied().unwrap_or_default();
        if self.ended && self.ordinals.len() != last as usize {
            self.broken.push(format!("ordinals have gaps: {:?}", self.ordinals));
        }
        if !self.ended && self.broken.is_empty() {
            self.broken.push("the call has no end".to_owned());
        }
    }
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Plays the seeds on all cores; answers the promises that were broken, by seed, and what was heard.
fn play_all(seeds: &[u64]) -> (BTreeMap<u64, Vec<String>>, [u64; 3]) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = seeds.len().div_ceil(cores).max(1);
    let (mut broken, mut heard) = (BTreeMap::new(), [0; 3]);
    let play = |seeds: &[u64]| {
        let (mut broken, mut heard) = (BTreeMap::new(), [0; 3]);
        for seed in seeds {
            let call = Call::play(*seed);
            for (sum, count) in heard.iter_mut().zip([call.answers, call.fillers, call.persons]) {
                *sum += u64::from(count);
            }
            if !call.broken.is_empty() && broken.len() < MAX_TOLD {
                broken.insert(*seed, call.broken);
            }
        }
        (broken, heard)
    };
    std::thread::scope(|scope| {
        let shares: Vec<_> = seeds.chunks(share).map(|seeds| scope.spawn(move || play(seeds))).collect();
        for share in shares {
            let (of_share, heard_of_it) = share.join().expect("no call panics");
            broken.extend(of_share);
            heard.iter_mut().zip(heard_of_it).for_each(|(sum, count)| *sum += count);
        }
    });
    (broken, heard)
}

/// Appends the seeds to those that every run plays.
fn keep(seeds: impl Iterator<Item = u64>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conversation/lying_peer/torture-seeds.txt");
    let text = std::fs::read_to_string(path).expect("the file of seeds can be read");
    let known: BTreeSet<_> = text.lines().map(str::to_owned).collect();
    let new = seeds.map(|seed| seed.to_string()).filter(|seed| !known.contains(seed));
    let text = new.fold(text, |text, seed| text + &seed + "\n");
    std::fs::write(path, text).expect("the file of seeds can be written");
}

#[test]
fn nobody_is_left_in_silence_by_a_peer_that_lies() {
    let kept = include_str!("torture-seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let kept = kept.map(|line| line.trim().parse().expect("a seed is a number"));
    let (from, cases) = (number_of("TORTURE_FROM").unwrap_or(1), number_of("TORTURE_CASES").unwrap_or(1_000));
    let seeds: Vec<u64> = kept.chain(from..from + cases).collect();
    let (broken, [answers, fillers, persons]) = play_all(&seeds);
    println!(
        "{} calls: {answers} pieces of answers, {fillers} of phrases, {persons} given to a person",
        seeds.len()
    );
    if number_of("TORTURE_KEEP").is_some() {
        keep(broken.keys().copied());
    }
    assert!(broken.is_empty(), "promises broken, by seed (see torture-seeds.txt): {broken:#?}");
    assert!(answers > 0 && fillers > 0 && persons > 0, "the calls must be worth judging");
}
