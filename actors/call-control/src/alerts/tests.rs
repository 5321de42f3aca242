use proptest::prelude::*;

use super::*;

const TICK: Millis = 5_000;
const MINUTE: Millis = 60_000;

/// A process whose figures a test chooses.
struct Process {
    state: State,
    sample: Sample,
    now: Millis,
}

impl Process {
    fn new() -> Self {
        Self { state: State::new(&[]), sample: Sample::default(), now: 1_000_000 }
    }

    /// The figures of a rule have this value for a tick.
    fn move_on(&mut self, rule: &Rule, value: f64) -> Vec<Change> {
        let sample = &mut self.sample;
        match rule.watch {
            Watch::Level(figure) => sample.set(figure, value),
            Watch::Percent(part, whole) => {
                sample.set(part, value * 20.0);
                sample.set(whole, 2_000.0);
            }
            Watch::Growth(figure) => sample.add(figure, value * TICK as f64 / rule.window as f64),
            Watch::Share { part, whole, .. } => {
                sample.add(part, value * 10.0);
                sample.add(whole, 1_000.0);
            }
            Watch::P95 { timing, .. } => {
                // 95 of 100 take as long as the value, the others for ever.
                let all = sample.timing(timing).all() as u64 + 100;
                *sample.timing_mut(timing) = Buckets::default();
                sample.timing_mut(timing).add([(value / 1_000.0, all * 95 / 100)], all);
            }
        }
        self.now += TICK;
        let changes = self.state.evaluate(&self.sample, self.now);
        changes.into_iter().filter(|change| change.rule.name == rule.name).collect()
    }

    /// The same for some time.
    fn hold(&mut self, rule: &Rule, value: f64, time: Millis) -> Vec<Change> {
        (0..time / TICK).flat_map(|_| self.move_on(rule, value)).collect()
    }

    /// What became of the rule's alert, without what was only told again.
    fn turns(&mut self, rule: &Rule, value: f64) -> Vec<(Turn, Severity)> {
        let changes = self.hold(rule, value, 10 * MINUTE);
        let turns = changes.iter().map(|change| (change.turn, change.severity));
        turns.filter(|(turn, _)| *turn != Turn::Repeat).collect()
    }
}

fn rule(name: &str) -> &'static Rule {
    &RULES[position(name).unwrap()]
}

#[test]
fn every_rule_raises_worsens_eases_and_clears_at_its_levels() {
    use Severity::{Critical, Warning};
    use Turn::{Cleared, Eased, Raised, Worsened};

    for rule in RULES {
        let Levels { warning, critical } = rule.levels;
        let mut process = Process::new();
        let name = rule.name;
        assert_eq!(process.turns(rule, warning * 0.999), [], "{name} is fine below its level");
        let mut severity = Critical;
        if warning < critical {
            let mild =
                if critical.is_finite() { warning + (critical - warning) / 4.0 } else { warning * 1.2 + 1.0 };
            assert_eq!(process.turns(rule, mild), [(Raised, Warning)], "{name}");
            severity = Warning;
            if critical.is_finite() {
                assert_eq!(process.turns(rule, critical * 1.2 + 1.0), [(Worsened, Critical)], "{name}");
                assert_eq!(process.turns(rule, mild), [(Eased, Warning)], "{name}");
            }
        } else {
            assert_eq!(process.turns(rule, critical * 1.2 + 1.0), [(Raised, Critical)], "{name}");
        }
        let between = warning * (1.0 + rule.clear_at) / 2.0;
        if between > warning * rule.clear_at {
            assert_eq!(process.turns(rule, between), [], "{name} is not over just below its level");
        }
        assert_eq!(process.turns(rule, warning * rule.clear_at * 0.99), [(Cleared, severity)], "{name}");
    }
}

#[test]
fn the_documents_thresholds_raise_its_alerts() {
    let raised = |name: &str, value: f64| {
        let changes = Process::new().hold(rule(name), value, 2 * MINUTE);
        changes.last().map(|change| change.severity)
    };
    for (name, fine, warning, critical) in [
        ("api-response-time", 2_000.0, 2_001.0, 5_001.0),
        ("webhook-response-time", 2_000.0, 2_001.0, 5_001.0),
        ("api-errors", 1.0, 1.1, 5.1),
        ("webhook-errors", 1.0, 1.1, 5.1),
        ("database-pool", 80.0, 81.0, 100.0),
        ("memory", 70.0, 70.1, 85.1),
    ] {
        assert_eq!(raised(name, fine), None, "{name}");
        assert_eq!(raised(name, warning), Some(Severity::Warning), "{name}");
        assert_eq!(raised(name, critical), Some(Severity::Critical), "{name}");
    }
}

#[test]
fn a_window_without_enough_requests_judges_nothing() {
    let mut process = Process::new();
    let errors = rule("api-errors");
    process.sample.set(Figure::ApiRequests, 0.0);
    process.sample.set(Figure::ApiErrors, 0.0);
    assert_eq!(process.state.evaluate(&process.sample, process.now), []);
    process.sample.set(Figure::ApiRequests, 19.0);
    process.sample.set(Figure::ApiErrors, 19.0);
    assert_eq!(process.state.evaluate(&process.sample, process.now + TICK), [], "19 requests");
    process.sample.set(Figure::ApiRequests, 20.0);
    let raised = process.state.evaluate(&process.sample, process.now + 2 * TICK);
    assert_eq!(raised.iter().map(|change| change.rule.name).collect::<Vec<_>>(), [errors.name]);
}

/// A tick in which so many requests to the API took 3 s, and so many half a second.
fn answers(process: &mut Process, slow: u64, fast: u64) -> Vec<Turn> {
    let timing = process.sample.timing_mut(Timing::ApiResponse);
    timing.add([(1.0, fast), (2.0, fast), (5.0, slow + fast)], slow + fast);
    process.now += TICK;
    let changes = process.state.evaluate(&process.sample, process.now);
    changes
        .iter()
        .filter(|change| change.rule.name == "api-response-time")
        .map(|change| change.turn)
        .collect()
}

#[test]
fn a_p95_of_fewer_than_twenty_pages_nobody() {
    let mut process = Process::new();
    answers(&mut process, 0, 0);
    let turns: Vec<_> = (0..19).flat_map(|_| answers(&mut process, 1, 0)).collect();
    assert_eq!(turns, [], "19 requests, all slow");
    assert_eq!(answers(&mut process, 1, 0), [Turn::Raised]);
    for rule in RULES {
        if let Watch::P95 { least, .. } = rule.watch {
            assert!(least >= 20.0, "{}", rule.name);
        }
    }
}

#[test]
fn a_p95_of_a_window_with_too_few_is_looked_for_further_back() {
    let mut process = Process::new();
    answers(&mut process, 0, 0);
    // One request in 15 s: 4 in the window of a minute, 20 in five minutes.
    let slow: Vec<_> = (0..60).flat_map(|tick| answers(&mut process, u64::from(tick % 3 == 0), 0)).collect();
    assert_eq!(slow, [Turn::Raised]);
}

#[test]
fn a_slow_answer_keeps_an_alert_open_though_there_are_too_few_to_raise_one() {
    let mut process = Process::new();
    answers(&mut process, 0, 0);
    let raised: Vec<_> = (0..12).flat_map(|_| answers(&mut process, 10, 0)).collect();
    assert_eq!(raised, [Turn::Raised]);
    // One request in 30 s: 10 in five minutes.
    let slow: Vec<_> = (0..240).flat_map(|tick| answers(&mut process, u64::from(tick % 6 == 0), 0)).collect();
    assert_eq!(slow, [], "they are slow all the same");
    let fast: Vec<_> = (0..120).flat_map(|tick| answers(&mut process, 0, u64::from(tick % 6 == 0))).collect();
    assert_eq!(fast, [Turn::Cleared]);
}

#[test]
fn an_alert_is_over_when_nothing_happens_any_more() {
    let mut process = Process::new();
    let errors = rule("api-errors");
    assert_eq!(process.turns(errors, 50.0), [(Turn::Raised, Severity::Critical)]);
    let mut ends = Vec::new();
    for _ in 0..10 * MINUTE / TICK {
        process.now += TICK;
        ends.extend(process.state.evaluate(&process.sample, process.now));
    }
    assert_eq!(ends.iter().map(|change| change.turn).collect::<Vec<_>>(), [Turn::Cleared]);
}

#[test]
fn an_alert_is_not_over_while_little_happens_and_that_fails() {
    let mut process = Process::new();
    let errors = rule("api-errors");
    assert_eq!(process.turns(errors, 50.0), [(Turn::Raised, Severity::Critical)]);
    let mut step = |errors: f64| {
        process.sample.add(Figure::ApiRequests, 1.0);
        process.sample.add(Figure::ApiErrors, errors);
        process.now += TICK;
        let changes = process.state.evaluate(&process.sample, process.now);
        changes.into_iter().filter(|change| change.turn != Turn::Repeat).map(|change| change.turn).next()
    };
    for _ in 0..10 * MINUTE / TICK {
        assert_eq!(step(1.0), None, "12 requests a minute, and each fails");
    }
    let ends: Vec<_> = (0..10 * MINUTE / TICK).filter_map(|_| step(0.0)).collect();
    assert_eq!(ends, [Turn::Cleared]);
}

#[test]
fn a_moment_above_a_level_is_no_alert() {
    let mut process = Process::new();
    let pool = rule("database-pool");
    for _ in 0..20 {
        assert_eq!(process.hold(pool, 100.0, 25_000), []);
        assert_eq!(process.hold(pool, 10.0, TICK), []);
    }
}

/// When bad news of a rule is told, while it is broken for 90 s and then fine for 90 s, for three hours.
fn told_while_it_flaps(name: &str) -> Vec<(Millis, Turn)> {
    let mut process = Process::new();
    let mut told = Vec::new();
    for _ in 0..60 {
        for value in [1.0, 0.0] {
            for _ in 0..90_000 / TICK {
                let changes = process.move_on(rule(name), value);
                let changes = changes.iter().filter(|change| change.is_told && change.turn != Turn::Cleared);
                told.extend(changes.map(|change| (process.now, change.turn)));
            }
        }
    }
    told
}

#[test]
fn a_critical_rule_that_flaps_stays_open_after_it_came_back_once() {
    let told = told_while_it_flaps("database-unavailable");
    let turns: Vec<_> = told.iter().map(|(_, turn)| *turn).take(3).collect();
    assert_eq!(turns, [Turn::Raised, Turn::Raised, Turn::Repeat]);
    assert!(told[1].0 - told[0].0 < COOL_DOWN, "it came back at once, and was told at once: {told:?}");
    assert!(told[1..].windows(2).all(|pair| pair[1].0 - pair[0].0 >= COOL_DOWN), "{told:?}");
}

#[test]
fn a_warning_that_flaps_is_told_once_in_a_cool_down() {
    let told = told_while_it_flaps("redis-away");
    assert!(!told.is_empty());
    assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= COOL_DOWN), "{told:?}");
}

#[test]
fn a_critical_alert_after_an_end_that_was_told_is_told_at_once() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    let raised = |changes: Vec<Change>| -> Vec<bool> {
        changes.iter().filter(|change| change.turn == Turn::Raised).map(|change| change.is_told).collect()
    };
    assert_eq!(raised(process.hold(away, 1.0, MINUTE)), [true]);
    let over = process.hold(away, 0.0, 2 * MINUTE);
    assert_eq!(
        over.iter().map(|change| (change.turn, change.is_told)).collect::<Vec<_>>(),
        [(Turn::Cleared, true)]
    );
    assert_eq!(raised(process.hold(away, 1.0, MINUTE)), [true], "3 minutes after the first");
}

#[test]
fn a_critical_alert_after_an_end_that_nobody_was_told_is_held_back() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    process.hold(away, 1.0, MINUTE);
    process.hold(away, 0.0, 2 * MINUTE);
    process.state.end_untold(position(away.name).unwrap());
    let again = process.hold(away, 1.0, MINUTE);
    assert_eq!(
        again.iter().map(|change| (change.turn, change.is_told)).collect::<Vec<_>>(),
        [(Turn::Raised, false)]
    );
}

#[test]
fn a_warning_after_an_end_that_was_told_waits_for_the_cool_down_and_a_critical_alert_does_not() {
    let mut process = Process::new();
    let memory = rule("memory");
    process.hold(memory, 90.0, 2 * MINUTE);
    process.hold(memory, 10.0, 2 * MINUTE);
    let told: Vec<_> = [75.0, 90.0]
        .into_iter()
        .flat_map(|value| process.hold(memory, value, 2 * MINUTE))
        .map(|change| (change.turn, change.is_told))
        .collect();
    assert_eq!(told, [(Turn::Raised, false), (Turn::Worsened, true)]);
}

#[test]
fn an_alert_that_comes_back_soon_has_to_stay_away_for_longer() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    let mut ticks_to_clear = || {
        process.hold(away, 1.0, MINUTE);
        let ticks = (1..).find(|_| process.move_on(away, 0.0).iter().any(|one| one.turn == Turn::Cleared));
        ticks.unwrap_or_default()
    };
    let minutes: Vec<u64> = (0..5).map(|_| (ticks_to_clear() - 1) * TICK / MINUTE).collect();
    assert_eq!(minutes, [1, 2, 4, 8, 8]);
}

#[test]
fn what_is_worse_is_told_at_once() {
    let mut process = Process::new();
    let memory = rule("memory");
    let raised = process.hold(memory, 75.0, 2 * MINUTE);
    assert_eq!(
        raised.iter().map(|change| (change.turn, change.is_told)).collect::<Vec<_>>(),
        [(Turn::Raised, true)]
    );
    let worse = process.hold(memory, 90.0, 2 * MINUTE);
    assert_eq!(
        worse.iter().map(|change| (change.turn, change.is_told)).collect::<Vec<_>>(),
        [(Turn::Worsened, true)]
    );
}

#[test]
fn a_critical_alert_is_repeated_until_somebody_acknowledges_it() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    let repeats = |changes: &[Change]| changes.iter().filter(|change| change.turn == Turn::Repeat).count();
    assert_eq!(repeats(&process.hold(away, 1.0, 14 * MINUTE)), 0);
    assert_eq!(repeats(&process.hold(away, 1.0, 31 * MINUTE)), 2);
    process.state.acknowledge(position(away.name).unwrap());
    assert_eq!(process.hold(away, 1.0, 60 * MINUTE), []);
    assert_eq!(process.turns(away, 0.0), [(Turn::Cleared, Severity::Critical)]);
}

#[test]
fn an_alert_that_gets_worse_needs_another_acknowledgement() {
    let mut process = Process::new();
    let memory = rule("memory");
    process.hold(memory, 75.0, 2 * MINUTE);
    process.state.acknowledge(position(memory.name).unwrap());
    let worse = process.hold(memory, 90.0, 20 * MINUTE);
    assert_eq!(worse.iter().map(|change| change.turn).collect::<Vec<_>>(), [Turn::Worsened, Turn::Repeat]);
}

#[test]
fn what_reached_nobody_is_told_again_after_a_minute() {
    use Severity::{Critical, Warning};
    for (name, severity) in [("redis-away", Warning), ("database-unavailable", Critical)] {
        let mut process = Process::new();
        let away = rule(name);
        assert_eq!(process.hold(away, 1.0, MINUTE).len(), 1, "{name}");
        process.state.untold(position(name).unwrap(), process.now);
        assert_eq!(process.hold(away, 1.0, MINUTE - TICK), [], "{name}");
        let again = process.hold(away, 1.0, MINUTE);
        let again: Vec<_> = again.iter().map(|change| (change.turn, change.severity)).collect();
        assert_eq!(again, [(Turn::Repeat, severity)]);
    }
}

#[test]
fn what_reached_a_person_by_another_way_is_not_told_again_and_its_end_is() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    let at = position(away.name).unwrap();
    process.hold(away, 1.0, MINUTE);
    process.state.untold(at, process.now);
    process.state.told(at, Severity::Critical, process.now);
    assert_eq!(process.hold(away, 1.0, COOL_DOWN / 2), []);
    let over = process.hold(away, 0.0, 10 * MINUTE);
    let over: Vec<_> = over.iter().map(|change| (change.turn, change.is_told)).collect();
    assert_eq!(over, [(Turn::Cleared, true)]);
}

#[test]
fn what_may_have_reached_nobody_is_told_again_after_five_minutes() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    process.hold(away, 1.0, MINUTE);
    process.state.perhaps_told(position(away.name).unwrap(), process.now);
    assert_eq!(process.hold(away, 1.0, PERHAPS_AGAIN - TICK), []);
    let again = process.hold(away, 1.0, MINUTE);
    assert_eq!(again.iter().map(|change| change.turn).collect::<Vec<_>>(), [Turn::Repeat]);
}

#[test]
fn a_warning_that_was_told_is_not_repeated() {
    let mut process = Process::new();
    assert_eq!(process.hold(rule("redis-away"), 1.0, 60 * MINUTE).len(), 1);
}

#[test]
fn an_alert_that_was_open_before_is_taken_up_and_not_raised_again() {
    let mut process = Process::new();
    let away = rule("database-unavailable");
    let at = position(away.name).unwrap();
    process.state.restore(at, Severity::Critical, false, Some(10 * MINUTE), process.now);
    assert_eq!(process.hold(away, 1.0, 4 * MINUTE), []);
    let repeat = process.hold(away, 1.0, 2 * MINUTE);
    assert_eq!(repeat.iter().map(|change| change.turn).collect::<Vec<_>>(), [Turn::Repeat]);
    assert_eq!(process.turns(away, 0.0), [(Turn::Cleared, Severity::Critical)]);
}

#[test]
fn a_level_of_the_settings_stands_in_for_that_of_the_table() {
    let memory = rule("memory");
    let mut process = Process::new();
    process.state = State::new(&levels_of("memory=40/50").unwrap());
    assert_eq!(process.turns(memory, 45.0), [(Turn::Raised, Severity::Warning)]);
    assert_eq!(process.turns(memory, 51.0), [(Turn::Worsened, Severity::Critical)]);
}

#[test]
fn names_are_slugs_and_unique_and_no_window_outlasts_the_memory() {
    for (index, rule) in RULES.iter().enumerate() {
        assert_eq!(position(rule.name), Some(index), "{}", rule.name);
        assert!(rule.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.name);
        assert!(
            rule.window <= LONGEST_WINDOW
                && rule.clear_at < 1.0
                && rule.levels.warning <= rule.levels.critical
        );
        assert!(rule.text.ends_with('.') && rule.remedy.ends_with('.'), "{}", rule.name);
    }
    assert!(LONGEST_WINDOW / TICK + 2 <= KEPT as u64);
}

/// One step of a process that does anything.
fn steps() -> impl Strategy<Value = Vec<(u64, Vec<(usize, f64)>)>> {
    let figure = (0..Figure::COUNT, prop_oneof![Just(0.0), Just(1.0), 0.0..100.0_f64, 0.0..100_000.0_f64]);
    prop::collection::vec((1..40_000_u64, prop::collection::vec(figure, 0..12)), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_is_one_alert_a_rule_at_most_and_none_ends_that_was_not_raised(steps in steps()) {
        let mut state = State::new(&[]);
        let mut open = vec![None::<Severity>; RULES.len()];
        let (mut now, mut sample) = (0, Sample::default());
        for (step, figures) in steps {
            now += step;
            for (figure, value) in figures {
                sample.figures_mut()[figure] = value;
            }
            for change in state.evaluate(&sample, now) {
                let known = &mut open[position(change.rule.name).unwrap()];
                match change.turn {
                    Turn::Raised => prop_assert_eq!(known.replace(change.severity), None),
                    Turn::Worsened => {
                        prop_assert_eq!(known.replace(change.severity), Some(Severity::Warning));
                        prop_assert_eq!(change.severity, Severity::Critical);
                    }
                    Turn::Eased => {
                        prop_assert_eq!(known.replace(change.severity), Some(Severity::Critical));
                        prop_assert!(!change.is_told);
                    }
                    Turn::Repeat => prop_assert_eq!(*known, Some(change.severity)),
                    Turn::Cleared => prop_assert_eq!(known.take(), Some(change.severity)),
                }
            }
            prop_assert!(state.remembered() <= KEPT);
            for (position, known) in open.iter().enumerate() {
                prop_assert_eq!(state.open(position), *known);
            }
        }
    }
}
