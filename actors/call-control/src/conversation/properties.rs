//! What holds of every conversation, whatever comes in and in whatever order: each property is tried against
//! arbitrary calls played by the [`model`].

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

mod model;

use model::{
    Act, Called, Connection, Ending, Part, Plan, Property, Scenario, Utterance, play, play_recorded,
};

fn part() -> impl Strategy<Value = Part> {
    let gap = prop_oneof![4 => Just(0), 4 => 1..250u64, 1 => 250..1_500u64];
    let bytes = prop_oneof![8 => 8..4_000u32, 2 => 4_000..20_000u32, 1 => 20_000..300_000u32];
    let pieces = prop::collection::vec((gap, bytes), 1..20);
    prop_oneof![
        4 => (pieces, any::<bool>()).prop_map(|(pieces, words_first)| Part::Speech { pieces, words_first }),
        2 => call(),
    ]
}

fn call() -> impl Strategy<Value = Part> {
    let within = prop_oneof![4 => 0..300u64, 2 => 300..4_500u64];
    let called = prop_oneof![
        8 => prop::option::weighted(0.9, within).prop_map(Called::LookUp),
        1 => Just(Called::Unknown),
        1 => Just(Called::BadArguments),
        1 => Just(Called::CutOff),
        1 => Just(Called::TakeMessage),
        1 => Just(Called::FlagUrgent),
        1 => Just(Called::EndCall),
        1 => Just(Called::Transfer),
    ];
    (any::<bool>(), called).prop_map(|(early, called)| Part::Call { early, called })
}

fn plan() -> impl Strategy<Value = Plan> {
    let told = select(&["Please try again in 3.2s.", "try again in 320ms", "no idea"]);
    let outcome = prop_oneof![
        20 => Just(Ending::Completed),
        1 => Just(Ending::Incomplete),
        2 => told.prop_map(Ending::Failed),
        1 => Just(Ending::NotBegun),
        1 => prop::bool::weighted(0.2).prop_map(|fatal| if fatal { Ending::Fatal } else { Ending::Completed }),
    ];
    (prop::collection::vec(part(), 0..4), outcome).prop_map(|(parts, outcome)| Plan { parts, outcome })
}

fn utterance() -> impl Strategy<Value = Utterance> {
    let transcript = prop::option::weighted(0.8, (0..8_000u64, prop::bool::weighted(0.8)));
    (transcript, prop::bool::weighted(0.9), prop::bool::weighted(0.1))
        .prop_map(|(transcript, answered, urgent)| Utterance { transcript, answered, urgent })
}

fn act() -> impl Strategy<Value = Act> {
    let benign = select(&["response_cancel_not_active", "input_audio_buffer_commit_empty", "invalid_value"]);
    prop_oneof![
        60 => (20..4_000u64).prop_map(Act::Speak),
        10 => Just(Act::OpenStream),
        6 => Just(Act::LoseStream),
        3 => Just(Act::Digit),
        6 => Just(Act::Tick),
        4 => benign.prop_map(Act::BenignError),
        2 => Just(Act::HangUp),
        1 => Just(Act::CallOver),
        1 => Just(Act::Unclaimed),
        1 => Just(Act::Shutdown),
        6 => Just(Act::LoseService),
        5 => (0..3_000u64, prop::bool::weighted(0.2))
            .prop_map(|(back_after, blind)| Act::Restart { back_after, blind }),
    ]
}

fn connection() -> impl Strategy<Value = Connection> {
    prop_oneof![
        12 => Just(Connection::Opens),
        4 => Just(Connection::Fails),
        1 => (0..3_000u64).prop_map(Connection::Slow),
        2 => (9_500..11_000u64).prop_map(Connection::Slow),
        1 => Just(Connection::Refused),
    ]
}

/// Any call at all; Twilio is `ear_ms` away.
fn scenario(ear_ms: impl Strategy<Value = u64>) -> impl Strategy<Value = Scenario> {
    let distances = (prop_oneof![1 => Just(0), 2 => 1..60u64, 2 => 60..700u64], ear_ms, 0..20u64);
    let rules = (
        select(&[0u64, 0, 0, 200, 600]),
        prop_oneof![3 => Just(0), 1 => 0..30u64],
        prop::bool::weighted(0.8),
    );
    let peers = (
        prop::collection::vec(connection(), 0..3),
        prop::collection::vec(plan(), 0..8),
        prop::collection::vec(utterance(), 0..8),
    );
    let gap = prop_oneof![1 => Just(0), 6 => 0..1_200u64, 3 => 1_200..9_000u64];
    let acts = (gap.clone(), prop::collection::vec((gap, act()), 0..16));
    (distances, rules, peers, (any::<bool>(), any::<bool>()), acts).prop_map(
        |(distances, rules, peers, told, acts)| {
            let (service_ms, ear_ms, frame_phase) = distances;
            let (barge_in_min_ms, tick_late_ms, phrases) = rules;
            let (connects, responses, utterances) = peers;
            let (opened_after, mut acts) = acts;
            acts.insert(0, (opened_after, Act::OpenStream));
            Scenario {
                barge_in_min_ms,
                phrases,
                service_ms,
                ear_ms,
                frame_phase,
                tick_late_ms,
                connects,
                responses,
                utterances,
                tells_of_unanswered: told.0,
                cancelled_has_transcript: told.1,
                acts,
            }
        },
    )
}

/// A service so far away, short words and many function calls: ours and its own responses cross.
fn crossing() -> impl Strategy<Value = Scenario> {
    let words = prop::collection::vec((600..2_000u64, (20..200u64).prop_map(Act::Speak)), 4..14);
    let calls = (call(), plan()).prop_map(|(call, mut plan)| {
        plan.parts.truncate(1);
        plan.parts.push(call);
        plan
    });
    (scenario(Just(0)), 400..700u64, words, prop::collection::vec(calls, 4..14)).prop_map(
        |(other, service_ms, words, responses)| {
            let acts = std::iter::once((0, Act::OpenStream)).chain(words).collect();
            Scenario { service_ms, responses, acts, connects: vec![], ..other }
        },
    )
}

fn any_scenario() -> impl Strategy<Value = Scenario> {
    prop_oneof![3 => scenario(prop_oneof![Just(0), 1..=20u64, 20..150u64]), 1 => crossing()]
}

fn holds(property: Property, scenario: &Scenario) -> Result<(), TestCaseError> {
    let played = if property == Property::Recorded { play_recorded(scenario) } else { play(scenario) };
    let faults = played.faults;
    let first = faults.into_iter().find(|(broken, _)| *broken == property);
    prop_assert!(first.is_none(), "{}", first.map(|(_, what)| what).unwrap_or_default());
    Ok(())
}

/// `PROPTEST_CASES` of each property, otherwise as many as take a moment.
fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    if chosen { default } else { ProptestConfig { cases: 48, ..default } }
}

#[test]
fn truncation_is_within_60_ms_of_the_ear_for_99_of_100() {
    let config = config();
    let cases = config.cases * 3;
    let mut runner = TestRunner::new_with_rng(config, TestRunner::deterministic().new_rng());
    let calls = prop_oneof![3 => scenario(0..=20u64), 1 => crossing()];
    let (mut errors_ms, mut barge_ins, mut refusals, mut held, mut restarts) = (vec![], 0, 0, 0, 0);
    let (mut fillers, mut goodbyes) = (0, 0);
    let mut tools = [0; 5];
    for _ in 0..cases {
        let report = play(&calls.new_tree(&mut runner).expect("nothing is rejected").current());
        errors_ms.extend(report.truncation_errors_ms);
        barge_ins += report.barge_ins;
        refusals += report.refusals;
        held += report.held_then_played;
        fillers += report.fillers;
        goodbyes += report.goodbyes;
        restarts += report.restarts;
        let of_call = [report.tools_run, report.messages, report.urgent, report.farewells, report.transfers];
        tools.iter_mut().zip(of_call).for_each(|(sum, count)| *sum += count);
    }
    errors_ms.sort_unstable();
    let (count, p99) = (errors_ms.len(), errors_ms[errors_ms.len() * 99 / 100]);
    println!(
        "{count} truncations: p50 {} ms, p99 {p99} ms, most {:?}",
        errors_ms[count / 2],
        errors_ms.last()
    );
    println!("{barge_ins} barge-ins, {refusals} refusals, held {held} times, {restarts} restarts");
    println!("{fillers} fillers, {goodbyes} goodbyes");
    println!("tools run, messages, urgent, hung up, transferred: {tools:?}");
    assert!(tools.iter().all(|count| *count > 3), "{tools:?}");
    assert!(p99 <= 60, "{p99} ms");
    assert!(count > 100 && barge_ins > 100 && refusals > 0 && held > 10, "the calls must be worth judging");
    assert!(restarts > 20, "{restarts} restarts");
    assert!(fillers > 30 && goodbyes > 0, "{fillers} fillers, {goodbyes} goodbyes");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn at_most_one_response_is_asked_for(call in any_scenario()) {
        holds(Property::OneResponse, &call)?;
    }

    #[test]
    fn every_function_call_is_answered_exactly_once(call in any_scenario()) {
        holds(Property::CallsAnswered, &call)?;
    }

    #[test]
    fn truncation_is_what_the_ear_heard(call in any_scenario()) {
        holds(Property::Truncation, &call)?;
    }

    #[test]
    fn the_log_is_dense_in_order_and_true(call in any_scenario()) {
        holds(Property::Turns, &call)?;
    }

    #[test]
    fn there_is_one_end_and_nothing_after_it(call in any_scenario()) {
        holds(Property::End, &call)?;
    }

    #[test]
    fn audio_is_played_once_in_order_and_never_after_it_was_discarded(call in any_scenario()) {
        holds(Property::Playing, &call)?;
    }

    #[test]
    fn fillers_are_heard_in_silence_alone_and_not_for_ever(call in any_scenario()) {
        holds(Property::Fillers, &call)?;
    }

    #[test]
    fn urgent_words_alert_the_person_on_duty_once(call in any_scenario()) {
        holds(Property::Urgency, &call)?;
    }

    #[test]
    fn nobody_waits_for_ever(call in any_scenario()) {
        holds(Property::Liveness, &call)?;
    }

    #[test]
    fn the_checkpoint_is_the_state_before_the_input_that_panicked(call in any_scenario()) {
        holds(Property::Checkpoint, &call)?;
    }

    #[test]
    fn the_same_inputs_have_the_same_effects(call in any_scenario()) {
        holds(Property::Determinism, &call)?;
    }

    #[test]
    fn a_recording_taken_again_has_the_effects_of_the_call(call in any_scenario()) {
        holds(Property::Recorded, &call)?;
    }
}

#[test]
fn a_response_for_which_there_is_no_room_is_cut_and_is_no_turn() {
    let plan = |pieces, parts: Option<Part>| {
        let speech = Part::Speech { pieces, words_first: false };
        Plan { parts: std::iter::once(speech).chain(parts).collect(), outcome: Ending::Completed }
    };
    // Nearly as much as may wait to be heard, and a call that is answered at once.
    let long = plan(vec![(0, 299_000); 8], Some(Part::Call { early: false, called: Called::Unknown }));
    let next = plan(vec![(0, 16_000), (0, 16_000)], None);
    let report = play(&Scenario {
        barge_in_min_ms: 0,
        phrases: false,
        service_ms: 0,
        ear_ms: 0,
        frame_phase: 0,
        tick_late_ms: 0,
        connects: vec![],
        responses: vec![long, next],
        utterances: vec![],
        tells_of_unanswered: false,
        cancelled_has_transcript: false,
        acts: vec![(0, Act::OpenStream)],
    });
    let faults: Vec<_> = report.faults.iter().map(|(_, what)| what).collect();
    assert!(faults.is_empty(), "{faults:?}");
}
