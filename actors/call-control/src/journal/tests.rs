use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

/// Remembers the last words it was told, when, and how many there were. It panics at a word of its choice.
#[derive(Debug, Clone, Default, PartialEq)]
struct Listener {
    words: Vec<(Millis, String)>,
    told: u32,
}

const REMEMBERED: usize = 5;
const PANICS: &str = "panic";

impl Machine for Listener {
    type Input<'a> = &'a str;
    type Effect = String;

    fn step(&mut self, word: &&str, now: Millis, effects: &mut Vec<String>) {
        self.told += 1;
        effects.push(format!("{now}: {word}"));
        assert!(*word != PANICS, "on purpose");
        self.words.push((now, (*word).to_owned()));
        if self.words.len() > REMEMBERED {
            self.words.remove(0);
        }
    }

    fn deadline(&self) -> Option<Millis> {
        None
    }
}

impl Replay for Listener {
    type Kept = Arc<str>;

    fn keep<'k>(&self, word: &&str, latest_first: impl Iterator<Item = &'k Arc<str>>) -> Arc<str> {
        let mut before = latest_first.take(1);
        before.find(|before| &***before == *word).map_or_else(|| (*word).into(), Clone::clone)
    }

    fn kept(kept: &Arc<str>) -> &str {
        kept
    }

    fn heap_bytes(kept: &Arc<str>) -> usize {
        kept.len()
    }
}

const LIMITS: Limits = Limits { entries: 7, bytes: 40 };

fn journal() -> Journal<Listener> {
    Journal::new(Listener::default(), LIMITS)
}

fn told(journal: &mut Journal<Listener>, word: &str, now: Millis) {
    journal.step(&word, now, &mut vec![]);
    journal.complete();
}

#[test]
fn an_input_that_was_not_completed_leaves_no_trace() {
    let mut journal = journal();
    told(&mut journal, "one", 1);
    let before = journal.live().clone();
    journal.step(&"two", 2, &mut vec![]);
    assert_eq!(journal.live().told, 2);
    journal.restore();
    assert_eq!((journal.live(), journal.entries().len(), journal.bytes()), (&before, 1, 3));
    told(&mut journal, "three", 3);
    assert_eq!(journal.live().words, [(1, "one".into()), (3, "three".into())]);
}

#[test]
fn an_input_that_panics_has_its_first_effects_and_none_is_repeated_when_the_state_is_restored() {
    let mut journal = journal();
    let mut effects = vec![];
    journal.step(&"one", 1, &mut effects);
    journal.complete();
    catch_unwind(AssertUnwindSafe(|| journal.step(&PANICS, 2, &mut effects))).unwrap_err();
    assert_eq!(effects, ["1: one", "2: panic"]);
    journal.restore();
    assert_eq!(effects.len(), 2);
    assert_eq!(journal.live().words, [(1, "one".into())]);
}

#[test]
fn an_input_larger_than_the_journal_is_kept_only_until_it_is_completed() {
    let mut journal = journal();
    told(&mut journal, "one", 1);
    journal.step(&&*"x".repeat(1 << 20), 2, &mut vec![]);
    assert!(journal.bytes() > 1 << 20);
    journal.complete();
    assert_eq!((journal.entries().len(), journal.bytes()), (0, 0));
    assert_eq!(journal.snapshot(), journal.live());
}

/// Counts how often it was stepped, all copies together, so that a copy can tell that it is one.
#[derive(Debug, Clone)]
struct Fickle(Arc<AtomicU32>, u32);

impl PartialEq for Fickle {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Machine for Fickle {
    type Input<'a> = &'a str;
    type Effect = ();

    fn step(&mut self, word: &&str, _: Millis, _: &mut Vec<()>) {
        self.1 = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(self.1 == 1 || *word != PANICS, "on purpose");
    }

    fn deadline(&self) -> Option<Millis> {
        None
    }
}

impl Replay for Fickle {
    type Kept = String;

    fn keep<'k>(&self, word: &&str, _: impl Iterator<Item = &'k String>) -> String {
        (*word).to_owned()
    }

    fn kept(kept: &String) -> &str {
        kept
    }

    fn heap_bytes(kept: &String) -> usize {
        kept.len()
    }
}

#[test]
#[should_panic(expected = "the checkpoint is not what the machine has come to")]
fn a_machine_that_does_something_else_the_second_time_is_noticed() {
    let mut journal = Journal::new(Fickle(Arc::default(), 0), LIMITS);
    journal.step(&"one", 1, &mut vec![]);
    journal.complete();
}

#[test]
fn a_replay_that_panics_is_tried_once_and_the_panic_goes_to_the_caller() {
    let steps = Arc::new(AtomicU32::new(0));
    let mut journal = Journal::new(Fickle(steps.clone(), 0), LIMITS);
    journal.step(&PANICS, 1, &mut vec![]);
    journal.pending = false; // completed, as where nothing is checked
    journal.step(&"two", 2, &mut vec![]);
    catch_unwind(AssertUnwindSafe(|| journal.restore())).unwrap_err();
    assert_eq!(steps.load(Ordering::Relaxed), 3, "two inputs and one replay of the first");
}

proptest! {
    #[test]
    fn whatever_comes_the_checkpoint_is_the_state_before_the_input_that_panicked_and_memory_is_bounded(
        words in prop::collection::vec(("[a-c]{0,12}", 0..4u8), 0..60),
    ) {
        let (mut journal, mut direct) = (journal(), Listener::default());
        let (mut effects, mut expected) = (vec![], vec![]);
        for (now, (word, luck)) in (0..).zip(&words) {
            if *luck == 0 {
                let panics = catch_unwind(AssertUnwindSafe(|| journal.step(&PANICS, now, &mut vec![])));
                prop_assert!(panics.is_err());
                journal.restore();
                prop_assert_eq!(journal.live(), &direct);
            }
            journal.step(&&**word, now, &mut effects);
            direct.step(&&**word, now, &mut expected);
            journal.complete();
            prop_assert_eq!(journal.live(), &direct);
            prop_assert_eq!(&effects, &expected);
            let mut replayed = journal.snapshot().clone();
            replay(&mut replayed, journal.entries());
            prop_assert_eq!(&replayed, &direct);
            prop_assert!(journal.entries().len() < LIMITS.entries && journal.bytes() < LIMITS.bytes);
        }
    }
}
