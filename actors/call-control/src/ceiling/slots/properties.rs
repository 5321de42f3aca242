//! What holds of the slots, whatever happens to calls and in whatever order: slots balance, and every token
//! works once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 3;
const NOW: Millis = 1_000_000;

#[derive(Debug, Clone)]
enum Step {
    /// The call rings, or a process takes it up after this epoch.
    Admit {
        used: u32,
    },
    /// A stream comes with the token of so many promises ago.
    Claim {
        ago: usize,
    },
    /// The stream was lost, or Twilio asks what comes next.
    Resume,
    /// The timer of the promise so many promises ago.
    Expire {
        ago: usize,
    },
    End,
    /// So many seconds pass.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![4 => Just(0), 1 => 0..9u32].prop_map(|used| Step::Admit { used }),
        5 => (0..3usize).prop_map(|ago| Step::Claim { ago }),
        4 => Just(Step::Resume),
        3 => (0..3usize).prop_map(|ago| Step::Expire { ago }),
        2 => Just(Step::End),
        4 => prop_oneof![0..5u64, 14..17u64, 50..70u64].prop_map(Step::Wait),
    ]
}

/// What is known of one call from outside.
#[derive(Debug, Default)]
struct Seen {
    held: bool,
    /// The stream of the last promise is open.
    open: bool,
    /// How often a stream was promised again that had not opened.
    unopened: usize,
    /// Every epoch that was promised, and when last.
    promises: Vec<(u32, Millis)>,
    claimed: BTreeSet<u32>,
    revoked: BTreeSet<u32>,
}

impl Seen {
    fn ago(&self, ago: usize) -> Option<(u32, Millis)> {
        self.promises.iter().rev().nth(ago).copied()
    }

    fn promise(&mut self, epoch: u32, now: Millis) {
        match self.promises.last_mut() {
            Some(last) if last.0 == epoch => last.1 = now,
            _ => self.promises.push((epoch, now)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_balance_and_a_token_is_good_once(steps in prop::collection::vec((0u8..5, step()), 1..250)) {
        let mut slots = Slots::new(LIMIT);
        let mut calls = BTreeMap::<u8, Seen>::new();
        let (mut now, mut admitted, mut freed) = (NOW, 0, 0);
        for (number, step) in steps {
            let (call_sid, seen) = (sid(number), calls.entry(number).or_default());
            match step {
                Step::Wait(seconds) => now += seconds * 1_000,
                Step::Admit { used } => match slots.reserve(call_sid, used, now, |_| ()) {
                    Reserved::Slot { epoch, fresh } => {
                        prop_assert_eq!(fresh, !seen.held);
                        if fresh {
                            admitted += 1;
                            prop_assert!(epoch > used, "the epoch {} was used by another process", epoch);
                            let remembered = seen.ago(0).filter(|(_, at)| now - *at < REMEMBER_ENDED);
                            prop_assert!(remembered.is_none_or(|(last, _)| epoch > last), "{} again", epoch);
                            *seen = Seen { held: true, ..Seen::default() };
                            seen.promise(epoch, now);
                        }
                    }
                    Reserved::Full => prop_assert!(!seen.held && admitted - freed == LIMIT),
                },
                Step::Claim { ago } => {
                    let Some((epoch, _)) = seen.ago(ago) else { continue };
                    let good = seen.held && !seen.open && ago == 0 && !seen.revoked.contains(&epoch);
                    prop_assert_eq!(slots.claim(call_sid, epoch).is_ok(), good);
                    if good {
                        prop_assert!(seen.claimed.insert(epoch), "the token of epoch {} was good twice", epoch);
                        seen.open = true;
                    }
                }
                Step::Resume => match slots.resume(call_sid, None, now) {
                    Resumed::Epoch(epoch) => {
                        prop_assert!(seen.held && !seen.claimed.contains(&epoch) && !seen.revoked.contains(&epoch));
                        seen.unopened += usize::from(!seen.open);
                        seen.open = false;
                        seen.promise(epoch, now);
                    }
                    Resumed::TooOften if seen.open => prop_assert!(seen.claimed.len() > MAX_RESUMES),
                    Resumed::TooOften => prop_assert!(seen.unopened >= MAX_UNOPENED),
                    Resumed::NoSlot => prop_assert!(!seen.held),
                },
                Step::Expire { ago } => {
                    let Some((epoch, promised_at)) = seen.ago(ago) else { continue };
                    let is_due = now - promised_at >= CLAIM_WITHIN;
                    let runs_out =
                        seen.held && !seen.open && ago == 0 && is_due && !seen.revoked.contains(&epoch);
                    let revoked = slots.revoke(call_sid, epoch, now).map(|(_, next)| next);
                    prop_assert_eq!(revoked, runs_out.then_some(epoch + 1));
                    if runs_out {
                        seen.revoked.insert(epoch);
                    }
                }
                Step::End => {
                    let held = std::mem::take(&mut seen.held);
                    prop_assert_eq!(slots.release(call_sid, now).is_some(), held);
                    freed += usize::from(held);
                    seen.open = false;
                }
            }
            let (reserved, active) = slots.reserved_and_active();
            prop_assert!(reserved + active <= LIMIT);
            prop_assert_eq!(reserved + active, admitted - freed);
        }
        calls.values().zip(calls.keys()).filter(|(seen, _)| seen.held && !seen.open).for_each(|(_, number)| {
            let epoch = slots.get(sid(*number)).map(|slot| slot.epoch);
            let later = now + CLAIM_WITHIN;
            assert!(epoch.is_some_and(|epoch| slots.revoke(sid(*number), epoch, later).is_some()), "it leaks");
        });
    }
}

fn sid(number: u8) -> CallSid {
    format!("CA{number:032x}").parse().unwrap()
}
