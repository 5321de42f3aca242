use super::*;

const NOW: Millis = 1_000_000;
const HANDED_OVER: Answer = Answer::Next(NextStep::HandedOver);
const HUMAN: Answer = Answer::Next(NextStep::Human);
const SHUTDOWN: CallEnd = CallEnd::new(Outcome::Failed, Reason::Shutdown);
const COMPLETED: CallEnd = CallEnd::new(Outcome::Completed, Reason::CallerHungUp);

fn sid(number: u16) -> CallSid {
    format!("CA{number:032x}").parse().unwrap()
}

fn step(flows: &mut CallFlows, input: Input, now: Millis) -> Vec<Effect> {
    let mut effects = vec![];
    flows.step(&input, now, &mut effects);
    effects
}

fn answered(effects: &[Effect]) -> Option<Answer> {
    let answer = |effect: &Effect| if let Effect::Answer(answer) = effect { Some(*answer) } else { None };
    effects.iter().find_map(answer)
}

fn rings(flows: &mut CallFlows, number: u16) -> Option<Answer> {
    answered(&step(
        flows,
        Input::Rings(Ring { call_sid: sid(number), used: 0, came_back: false, has_headroom: true }),
        NOW,
    ))
}

fn comes_back(flows: &mut CallFlows, number: u16, used: u32) -> Vec<Effect> {
    step(flows, Input::Rings(Ring { call_sid: sid(number), used, came_back: true, has_headroom: true }), NOW)
}

fn after_stream(flows: &mut CallFlows, number: u16, now: Millis) -> Option<Answer> {
    answered(&step(flows, Input::StreamEnded { call_sid: sid(number), epoch: None }, now))
}

fn done(number: u16, serial: u64, end: CallEnd, next: NextStep) -> Input {
    Input::AgentDone { call_sid: sid(number), serial, end, next }
}

#[test]
fn while_the_process_goes_down_a_new_caller_is_sent_elsewhere_five_times_and_then_refused() {
    let mut flows = CallFlows::new(1);
    step(&mut flows, Input::Drain, NOW);
    let first = comes_back(&mut flows, 2, 4);
    assert_eq!(first, [Effect::SentElsewhere { call_sid: sid(2) }, Effect::Answer(HANDED_OVER)]);
    for _ in 0..5 {
        assert_eq!(rings(&mut flows, 1), Some(HANDED_OVER));
    }
    let ring = Ring { call_sid: sid(1), used: 0, came_back: false, has_headroom: true };
    let end = CallEnd::new(Outcome::Refused, Reason::Shutdown);
    let written = Effect::WriteEnd { call_sid: sid(1), epoch: 1, end, is_new: true };
    let full = Effect::Answer(Answer::FullHouse);
    assert_eq!(step(&mut flows, Input::Rings(ring), NOW), [Effect::CountEnd(end), written, full]);
    assert_eq!(step(&mut flows, Input::Rings(ring), NOW), [written, full], "the same webhook once more");
}

#[test]
fn a_caller_who_has_talked_with_the_agent_meets_a_person_and_no_full_house() {
    let mut flows = CallFlows::new(1);
    assert_eq!(rings(&mut flows, 1), Some(Answer::Connect { epoch: 1 }));
    assert_eq!(rings(&mut flows, 2), Some(Answer::FullHouse));
    let end = CallEnd::new(Outcome::Failed, Reason::FullHouse);
    let written = Effect::WriteEnd { call_sid: sid(3), epoch: 2, end, is_new: false };
    assert_eq!(comes_back(&mut flows, 3, 2), [Effect::CountEnd(end), written, Effect::Answer(HUMAN)]);
    assert_eq!(comes_back(&mut flows, 3, 2), [written, Effect::Answer(HUMAN)], "counted once");
    assert_eq!(after_stream(&mut flows, 3, NOW), Some(HUMAN), "asked once more");
    assert!(!flows.is_idle(NOW));
}

#[test]
fn an_account_that_carries_no_other_call_turns_new_callers_away_and_nobody_who_has_an_agent_or_had_one() {
    let mut flows = CallFlows::new(3);
    assert_eq!(rings(&mut flows, 1), Some(Answer::Connect { epoch: 1 }));
    let ring = Ring { call_sid: sid(2), used: 0, came_back: false, has_headroom: false };
    let end = CallEnd::new(Outcome::Refused, Reason::NoHeadroom);
    let written = Effect::WriteEnd { call_sid: sid(2), epoch: 1, end, is_new: true };
    let full = Effect::Answer(Answer::FullHouse);
    assert_eq!(step(&mut flows, Input::Rings(ring), NOW), [Effect::CountEnd(end), written, full]);
    let again = Ring { call_sid: sid(1), ..ring };
    assert_eq!(answered(&step(&mut flows, Input::Rings(again), NOW)), Some(Answer::Connect { epoch: 1 }));
    let returns = Ring { call_sid: sid(3), used: 2, came_back: true, has_headroom: false };
    assert_eq!(answered(&step(&mut flows, Input::Rings(returns), NOW)), Some(Answer::Connect { epoch: 3 }));
    let later = Ring { has_headroom: true, ..ring };
    assert_eq!(answered(&step(&mut flows, Input::Rings(later), NOW)), Some(Answer::Connect { epoch: 1 }));
}

#[test]
fn what_was_decided_is_answered_as_often_as_it_is_asked_until_the_agent_has_the_call_again() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    let effects = step(&mut flows, done(1, 0, COMPLETED, NextStep::Voicemail), NOW);
    assert_eq!(effects, [Effect::Release { call_sid: sid(1), serial: 0, end: Some(COMPLETED) }]);
    for _ in 0..9 {
        assert_eq!(after_stream(&mut flows, 1, NOW), Some(Answer::Next(NextStep::Voicemail)));
    }
    assert_eq!(rings(&mut flows, 1), Some(Answer::Connect { epoch: 2 }));
    assert_eq!(after_stream(&mut flows, 1, NOW), Some(Answer::Connect { epoch: 2 }));
}

#[test]
fn a_caller_whom_no_other_instance_takes_is_given_to_a_person_and_counted_once() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    let effects = step(&mut flows, done(1, 0, SHUTDOWN, NextStep::HandedOver), NOW);
    assert_eq!(effects, [Effect::Release { call_sid: sid(1), serial: 0, end: None }]);
    for _ in 0..5 {
        assert_eq!(after_stream(&mut flows, 1, NOW), Some(HANDED_OVER));
    }
    let asks = Input::StreamEnded { call_sid: sid(1), epoch: None };
    assert_eq!(step(&mut flows, asks, NOW), [Effect::CountEnd(SHUTDOWN), Effect::Answer(HUMAN)]);
    assert_eq!(step(&mut flows, asks, NOW), [Effect::Answer(HUMAN)]);
    assert_eq!(step(&mut flows, Input::CallOver { call_sid: sid(1) }, NOW), []);
}

#[test]
fn a_caller_who_hangs_up_on_the_way_to_another_instance_is_counted() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    step(&mut flows, done(1, 0, SHUTDOWN, NextStep::HandedOver), NOW);
    let over = Input::CallOver { call_sid: sid(1) };
    assert_eq!(step(&mut flows, over, NOW), [Effect::CountEnd(SHUTDOWN)]);
    assert_eq!(step(&mut flows, over, NOW), []);
}

#[test]
fn an_agent_whose_stream_does_not_come_is_told_every_15_s() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    assert_eq!(flows.deadline(), Some(NOW + 15_000));
    assert_eq!(step(&mut flows, Input::Tick, NOW + 14_999), []);
    let told = Effect::Tell { call_sid: sid(1), serial: 0, news: News::NoStream };
    for times in 1..4 {
        assert_eq!(step(&mut flows, Input::Tick, NOW + times * 15_000), [told]);
        assert_eq!(flows.deadline(), Some(NOW + (times + 1) * 15_000));
    }
    let stale = Input::StreamOpens { call_sid: sid(1), epoch: 1 };
    assert_eq!(step(&mut flows, stale, NOW + 45_000), [Effect::Claim(Err(NotClaimed::WrongEpoch))]);
}

#[test]
fn a_stream_that_comes_ends_the_wait() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    step(&mut flows, Input::StreamOpens { call_sid: sid(1), epoch: 1 }, NOW);
    assert_eq!(flows.deadline(), None);
    step(&mut flows, Input::StreamLost { call_sid: sid(1), epoch: 1 }, NOW);
    assert_eq!(flows.deadline(), Some(NOW + 15_000), "another one is promised");
}

#[test]
fn a_stream_that_is_lost_too_often_gives_the_caller_to_a_person() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    for epoch in 1..=3 {
        step(&mut flows, Input::StreamOpens { call_sid: sid(1), epoch }, NOW);
        assert_eq!(after_stream(&mut flows, 1, NOW), Some(Answer::Connect { epoch: epoch + 1 }));
    }
    step(&mut flows, Input::StreamOpens { call_sid: sid(1), epoch: 4 }, NOW);
    let told = Effect::Tell { call_sid: sid(1), serial: 0, news: News::NoStream };
    let asks = Input::StreamEnded { call_sid: sid(1), epoch: Some(4) };
    assert_eq!(step(&mut flows, asks, NOW), [told, Effect::Answer(HUMAN)]);
    assert_eq!(step(&mut flows, Input::StreamLost { call_sid: sid(1), epoch: 4 }, NOW), [told]);
}

#[test]
fn the_process_is_needed_while_a_caller_is_with_a_person_or_about_to_be() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    assert!(!flows.is_idle(NOW + 99_000), "an agent has a call");
    step(&mut flows, done(1, 0, COMPLETED, NextStep::Human), NOW);
    assert!(!flows.is_idle(NOW + 4_999), "Twilio is about to ask");
    assert!(flows.is_idle(NOW + 5_000), "the caller has hung up");
    after_stream(&mut flows, 1, NOW + 1_000);
    assert!(!flows.is_idle(NOW + 60_999));
    assert!(flows.is_idle(NOW + 61_000));
    step(&mut flows, Input::CallOver { call_sid: sid(1) }, NOW + 2_000);
    assert!(flows.is_idle(NOW + 2_000), "the call has ended");
}

#[test]
fn a_dead_agent_frees_its_slot_before_its_end_is_written_and_an_old_one_changes_nothing() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    assert_eq!(step(&mut flows, Input::AgentDied { call_sid: sid(1), serial: 7 }, NOW), []);
    assert_eq!(step(&mut flows, done(1, 7, COMPLETED, NextStep::HangUp), NOW), []);
    let end = CallEnd::new(Outcome::Failed, Reason::ActorFailed);
    let released = Effect::Release { call_sid: sid(1), serial: 0, end: Some(end) };
    let written = Effect::WriteEnd { call_sid: sid(1), epoch: 1, end, is_new: false };
    let died = Input::AgentDied { call_sid: sid(1), serial: 0 };
    assert_eq!(step(&mut flows, died, NOW), [released, written]);
    assert_eq!(step(&mut flows, died, NOW), []);
    assert_eq!(after_stream(&mut flows, 1, NOW), Some(HUMAN));
}

#[test]
fn of_a_call_that_nobody_has_room_for_the_database_knows_what_was_decided() {
    let mut flows = CallFlows::new(1);
    for number in 0..=MAX_REMEMBERED as u16 {
        rings(&mut flows, number);
        let effects = step(&mut flows, done(number, number.into(), SHUTDOWN, NextStep::HandedOver), NOW);
        let is_counted = effects.contains(&Effect::CountEnd(SHUTDOWN));
        assert_eq!(is_counted, usize::from(number) == MAX_REMEMBERED, "call {number}");
    }
    assert_eq!(flows.remembered(), MAX_REMEMBERED);
    assert_eq!(after_stream(&mut flows, MAX_REMEMBERED as u16, NOW), None, "unknown here");
    rings(&mut flows, 2_000);
    step(&mut flows, done(2_000, MAX_REMEMBERED as u64 + 1, COMPLETED, NextStep::Human), NOW + 60_000);
    assert_eq!(flows.remembered(), 1, "the others are a minute old");
}

#[test]
fn a_caller_of_another_process_whom_nobody_takes_is_given_to_a_person_and_has_an_end() {
    let mut flows = CallFlows::new(1);
    step(&mut flows, Input::Drain, NOW);
    assert_eq!(answered(&comes_back(&mut flows, 1, 3)), Some(HANDED_OVER));
    for _ in 0..4 {
        assert_eq!(after_stream(&mut flows, 1, NOW), Some(HANDED_OVER));
    }
    let written = Effect::WriteEnd { call_sid: sid(1), epoch: 3, end: SHUTDOWN, is_new: false };
    let asks = Input::StreamEnded { call_sid: sid(1), epoch: None };
    let effects = step(&mut flows, asks, NOW);
    assert_eq!(effects, [Effect::CountEnd(SHUTDOWN), written, Effect::Answer(HUMAN)]);
    assert_eq!(step(&mut flows, asks, NOW), [Effect::Answer(HUMAN)]);
}

#[test]
fn many_callers_who_are_turned_away_make_nobody_forget_a_decision() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    for number in 2..=MAX_REMEMBERED as u16 + 9 {
        assert_eq!(rings(&mut flows, number), Some(Answer::FullHouse));
    }
    assert!(flows.remembered() < MAX_REMEMBERED);
    step(&mut flows, done(1, 0, COMPLETED, NextStep::Human), NOW);
    assert_eq!(after_stream(&mut flows, 1, NOW), Some(HUMAN));
}

#[test]
fn a_decision_takes_the_place_of_the_oldest_refusal() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    for number in 2..=MAX_REFUSED as u16 + 1 {
        rings(&mut flows, number);
    }
    let mut talking = 1;
    for serial in 0..MAX_REMEMBERED as u16 {
        step(&mut flows, done(talking, serial.into(), COMPLETED, NextStep::Human), NOW);
        talking = 10_000 + serial;
        rings(&mut flows, talking);
    }
    assert_eq!(after_stream(&mut flows, 1, NOW), Some(HUMAN));
    assert_eq!(after_stream(&mut flows, 10_000, NOW), Some(HUMAN));
    assert_eq!(flows.remembered(), MAX_REMEMBERED);
}

#[test]
fn a_caller_who_was_answered_with_a_person_already_keeps_the_process_for_a_minute() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    let asks = Input::StreamEnded { call_sid: sid(1), epoch: Some(1) };
    for _ in 0..5 {
        assert_eq!(answered(&step(&mut flows, asks, NOW)), Some(Answer::Connect { epoch: 1 }));
    }
    assert_eq!(answered(&step(&mut flows, asks, NOW)), Some(HUMAN), "no stream can be opened");
    step(&mut flows, done(1, 0, COMPLETED, NextStep::Human), NOW);
    assert!(!flows.is_idle(NOW + 59_000), "Twilio does not ask again, and the person is rung");
}

#[test]
fn a_hang_up_while_the_call_is_handed_over_is_not_forgotten() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    step(&mut flows, Input::CallOver { call_sid: sid(1) }, NOW);
    let released = Effect::Release { call_sid: sid(1), serial: 0, end: None };
    let effects = step(&mut flows, done(1, 0, SHUTDOWN, NextStep::HandedOver), NOW);
    assert_eq!(effects, [released, Effect::CountEnd(SHUTDOWN)]);
    assert!(flows.is_idle(NOW), "nobody needs the process");
}

#[test]
fn after_a_drain_that_is_taken_back_new_callers_and_those_who_were_sent_elsewhere_get_an_agent() {
    let mut flows = CallFlows::new(2);
    rings(&mut flows, 1);
    step(&mut flows, done(1, 0, SHUTDOWN, NextStep::HandedOver), NOW);
    step(&mut flows, Input::Drain, NOW);
    assert_eq!(rings(&mut flows, 2), Some(HANDED_OVER));
    assert_eq!(answered(&comes_back(&mut flows, 3, 4)), Some(HANDED_OVER));
    assert_eq!(step(&mut flows, Input::Resume, NOW), []);
    assert!(!flows.is_draining());
    assert_eq!(rings(&mut flows, 2), Some(Answer::Connect { epoch: 1 }));
    let asks = Input::StreamEnded { call_sid: sid(3), epoch: None };
    assert_eq!(step(&mut flows, asks, NOW), [Effect::Unknown], "the database knows what was said");
    assert_eq!(answered(&comes_back(&mut flows, 3, 4)), Some(Answer::Connect { epoch: 5 }));
    assert_eq!(after_stream(&mut flows, 1, NOW), Some(HANDED_OVER), "the agent's own decision stays");
}

#[test]
fn an_operator_gives_a_call_to_a_person_by_way_of_its_agent() {
    let mut flows = CallFlows::new(1);
    rings(&mut flows, 1);
    let told = Effect::Tell { call_sid: sid(1), serial: 0, news: News::ToPerson };
    assert_eq!(step(&mut flows, Input::ToPerson { call_sid: sid(1) }, NOW), [told]);
    assert_eq!(step(&mut flows, Input::ToPerson { call_sid: sid(2) }, NOW), [], "it has no agent here");
}
