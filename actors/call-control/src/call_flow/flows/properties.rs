//! What holds of the calls of an instance, whatever happens to them and in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 3;
const ENDS: [NextStep; 4] = NextStep::ALL;

#[derive(Debug, Clone)]
enum Step {
    Rings {
        used: u32,
        came_back: bool,
    },
    /// A stream comes with the epoch that was answered last.
    Opens,
    StreamEnded {
        named: bool,
    },
    StreamLost,
    CallOver,
    /// The agent's part is over: of the present agent, or of an earlier one.
    Done {
        next: usize,
        is_old: bool,
    },
    Died {
        is_old: bool,
    },
    Drain,
    Resume,
    HandOver,
    /// An operator gives the call to a person.
    ToPerson,
    /// So many milliseconds pass, and the clock ticks.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let used = prop_oneof![4 => Just(0), 1 => 1..9u32];
    prop_oneof![
        6 => (used, any::<bool>()).prop_map(|(used, came_back)| Step::Rings { used, came_back }),
        6 => Just(Step::Opens),
        5 => any::<bool>().prop_map(|named| Step::StreamEnded { named }),
        2 => Just(Step::StreamLost),
        1 => Just(Step::CallOver),
        3 => (0..ENDS.len(), prop::bool::weighted(0.2)).prop_map(|(next, is_old)| Step::Done { next, is_old }),
        1 => prop::bool::weighted(0.2).prop_map(|is_old| Step::Died { is_old }),
        4 => prop_oneof![0..3_000u64, 14_000..16_000u64, 50_000..70_000u64].prop_map(Step::Wait),
        1 => prop_oneof![
            5 => Just(Step::Wait(1)),
            1 => Just(Step::Drain),
            1 => Just(Step::Resume),
            1 => Just(Step::HandOver),
            1 => Just(Step::ToPerson),
        ],
    ]
}

/// What is known from outside.
#[derive(Default)]
struct Outside {
    /// The agent of each call.
    agents: BTreeMap<CallSid, u64>,
    serials: BTreeSet<u64>,
    /// The epoch that was answered last.
    promised: BTreeMap<CallSid, u32>,
    /// How often a call was sent elsewhere since it had an agent, and when last.
    elsewhere: BTreeMap<CallSid, (u32, Millis)>,
    started: u32,
    ended: u32,
    handed_over: u32,
    counted_later: u32,
}

impl Outside {
    /// Carries out what is to be done.
    fn carry_out(&mut self, effects: &[Effect]) -> Result<(), TestCaseError> {
        for effect in effects {
            match *effect {
                Effect::StartAgent { call_sid, serial, epoch } => {
                    prop_assert!(
                        epoch > 0 && self.serials.insert(serial),
                        "two agents have the serial {}",
                        serial
                    );
                    prop_assert_eq!(self.agents.insert(call_sid, serial), None, "two agents for one call");
                    prop_assert!(self.agents.len() <= LIMIT);
                    self.elsewhere.remove(&call_sid);
                    self.started += 1;
                }
                Effect::Release { call_sid, serial, end } => {
                    prop_assert_eq!(self.agents.remove(&call_sid), Some(serial));
                    self.ended += u32::from(end.is_some());
                    self.handed_over += u32::from(end.is_none());
                }
                Effect::Tell { call_sid, serial, .. } => {
                    prop_assert_eq!(self.agents.get(&call_sid), Some(&serial), "a stranger is told");
                }
                Effect::CountEnd(end) if end == CallEnd::new(Outcome::Completed, Reason::CallerHungUp) => {
                    self.counted_later += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answered(&mut self, call_sid: CallSid, answer: Answer, now: Millis) -> Result<(), TestCaseError> {
        match answer {
            Answer::Connect { epoch } => {
                prop_assert!(self.agents.contains_key(&call_sid), "a stream without an agent");
                self.promised.insert(call_sid, epoch);
            }
            Answer::Next(NextStep::HandedOver) => {
                let (times, last) = self.elsewhere.entry(call_sid).or_default();
                let is_forgotten = now - *last >= REMEMBER;
                (*times, *last) = (if is_forgotten { 1 } else { *times + 1 }, now);
                prop_assert!(*times <= ASKS_ELSEWHERE, "sent elsewhere {} times", times);
            }
            Answer::FullHouse | Answer::Next(_) => {}
        }
        Ok(())
    }
}

/// How many of them answer a request.
fn answers(effects: &[Effect]) -> usize {
    let is_answer =
        |effect: &&Effect| matches!(effect, Effect::Answer(_) | Effect::Unknown | Effect::Claim(_));
    effects.iter().filter(is_answer).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_and_every_agent_ends_once(steps in prop::collection::vec((0u8..5, step()), 1..250)) {
        let (mut flows, mut outside) = (CallFlows::new(LIMIT), Outside::default());
        let (mut now, mut effects) = (1_000_000, vec![]);
        for (number, step) in steps {
            let call_sid: CallSid = format!("CA{number:032x}").parse().unwrap();
            let serial = |is_old: bool| match outside.agents.get(&call_sid) {
                Some(serial) if !is_old => *serial,
                _ => u64::from(u32::MAX),
            };
            let promised = outside.promised.get(&call_sid).copied();
            let end = CallEnd::new(Outcome::Completed, Reason::CallerHungUp);
            let input = match step {
                Step::Rings { used, came_back } => Input::Rings(Ring { call_sid, used, came_back, has_headroom: true }),
                Step::Opens => Input::StreamOpens { call_sid, epoch: promised.unwrap_or(1) },
                Step::StreamEnded { named } => {
                    Input::StreamEnded { call_sid, epoch: promised.filter(|_| named) }
                }
                Step::StreamLost => Input::StreamLost { call_sid, epoch: promised.unwrap_or(1) },
                Step::CallOver => Input::CallOver { call_sid },
                Step::Done { next, is_old } => {
                    Input::AgentDone { call_sid, serial: serial(is_old), end, next: ENDS[next] }
                }
                Step::Died { is_old } => Input::AgentDied { call_sid, serial: serial(is_old) },
                Step::Drain => Input::Drain,
                Step::Resume => {
                    outside.elsewhere.clear(); // who was sent elsewhere is forgotten
                    Input::Resume
                }
                Step::ToPerson => Input::ToPerson { call_sid },
                Step::HandOver => Input::HandOver,
                Step::Wait(time) => {
                    now += time;
                    Input::Tick
                }
            };
            effects.clear();
            flows.step(&input, now, &mut effects);
            outside.carry_out(&effects)?;

            let asks = matches!(input, Input::Rings(_) | Input::StreamOpens { .. } | Input::StreamEnded { .. });
            prop_assert_eq!(answers(&effects), usize::from(asks), "{:?}: {:?}", input, effects);
            prop_assert!(!matches!(input, Input::Resume) || !flows.is_draining());
            for effect in &effects {
                let Effect::Answer(answer) = effect else { continue };
                outside.answered(call_sid, *answer, now)?;
                let came_back = matches!(input, Input::Rings(Ring { came_back: true, .. }));
                let is_turned_away = *answer == Answer::FullHouse;
                prop_assert!(!(came_back && is_turned_away), "a caller who talked with us is turned away");
            }
            let agents: BTreeMap<_, _> = flows.agents().collect();
            prop_assert_eq!(&agents, &outside.agents);
            if matches!(input, Input::Tick) {
                prop_assert!(flows.deadline().is_none_or(|deadline| deadline > now), "a wait that is over");
            }
            prop_assert!(flows.deadline().is_none_or(|deadline| deadline <= now + 15_000));
        }
        let left: Vec<_> = outside.agents.iter().map(|(call_sid, serial)| (*call_sid, *serial)).collect();
        for (call_sid, serial) in left {
            effects.clear();
            let end = CallEnd::new(Outcome::Completed, Reason::CallerHungUp);
            flows.step(&Input::AgentDone { call_sid, serial, end, next: NextStep::HangUp }, now, &mut effects);
            outside.carry_out(&effects)?;
        }
        prop_assert_eq!(outside.started, outside.ended + outside.handed_over);
        prop_assert!(outside.counted_later <= outside.handed_over, "a call was counted twice");
        prop_assert!(flows.is_idle(now + 60_000) && flows.deadline().is_none(), "something is left");
    }
}
