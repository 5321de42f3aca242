//! The last load test: its size and its age, and how fast the program answered.

use chrono::TimeDelta;

use crate::loadtest::result::Verdict;
use crate::preflight::Line;
use crate::preflight::facts::{Facts, LoadTested};

/// What the document asks for.
const CALLS: u64 = 10;
const P95_MS: f64 = 2_000.0;
const VERDICT: &str = "load-test-verdict";
/// An older one says little of the program as it is now.
const LASTS: TimeDelta = TimeDelta::days(30);

pub(super) fn lines(facts: &Facts) -> [Line; 3] {
    let (name, speed) = ("load-test", "load-test-p95");
    let remedy = "run `switchboard loadtest all --report DIR`, and this check with `--report DIR`";
    let tested = match &facts.load_test {
        Ok(tested) => tested,
        Err(why) => {
            let none = Line::warn(name, why.as_str(), remedy);
            return [none, Line::unknown(VERDICT, name), Line::unknown(speed, name)];
        }
    };
    let day = tested.at.date_naive();
    let size = if tested.calls < CALLS {
        let seen = format!("{} calls at once were completed, and {CALLS} are asked for", tested.calls);
        Line::fail(name, seen, remedy)
    } else if facts.now - tested.at > LASTS {
        Line::warn(name, format!("the last one is of {day}"), remedy)
    } else {
        Line::pass(name, format!("{} calls at once were completed on {day}", tested.calls))
    };
    let speed = match tested.p95_ms {
        None => Line::warn(speed, "the load test has no response times", remedy),
        Some(p95) if p95 < P95_MS => Line::pass(speed, format!("P95 is {p95:.0} ms")),
        Some(p95) => {
            let seen = format!("P95 is {p95:.0} ms, and 2000 are the most");
            Line::fail(speed, seen, "see the report for the scenario, and use a faster machine")
        }
    };
    [size, verdict(tested), speed]
}

fn verdict(tested: &LoadTested) -> Line {
    let seen = format!("the load test is {}: {}", tested.verdict, tested.scenarios.join(", "));
    let remedy = "see the report for the figures that are too large";
    match tested.verdict {
        Verdict::Fine => Line::pass(VERDICT, "all scenarios of the load test are fine"),
        Verdict::Warning => Line::warn(VERDICT, seen, remedy),
        Verdict::Critical => Line::fail(VERDICT, seen, remedy),
    }
}
