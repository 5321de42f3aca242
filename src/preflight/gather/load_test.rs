//! Reads what the last load test has reported.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use actix_rt::task::spawn_blocking;
use tokio::time::timeout;

use super::late;
use crate::loadtest::result::{LoadTest, Scenario, Verdict};
use crate::preflight::DEADLINE;
use crate::preflight::facts::{Asked, LoadTested};

/// The file in the folder of `--report`.
const RESULT: &str = "result.json";
/// No result is longer.
const LARGEST: u64 = 64 << 20;

pub(super) async fn read(folder: PathBuf) -> Asked<LoadTested> {
    let reading = spawn_blocking(move || parsed(&folder));
    let read = timeout(DEADLINE, reading).await.map_err(|_| late())?;
    read.map_err(|error| error.to_string())?
}

fn parsed(folder: &Path) -> Asked<LoadTested> {
    let path = folder.join(RESULT);
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut bytes))
        .map_err(|error| format!("no load test was reported in {shown}: {error}"))?;
    let test = serde_json::from_slice(&bytes);
    Ok(summary(&test.map_err(|error| format!("{shown} is no result of a load test: {error}"))?))
}

fn summary(test: &LoadTest) -> LoadTested {
    let completed = test.scenarios.iter().filter_map(completed).max().unwrap_or_default();
    // A scenario that goes beyond the limit is slow by design.
    let counted =
        test.scenarios.iter().filter(|scenario| scenario.calls.is_none() || completed_all(scenario));
    let p95_ms = counted.filter_map(|scenario| scenario.response_ms.p95).max_by(f64::total_cmp);
    // A search for the limit has a verdict of its own: its steps are meant to give way.
    let verdict =
        test.scenarios.iter().map(|scenario| scenario.verdict).filter(|is| *is == Verdict::Critical);
    let verdict = verdict.max().unwrap_or(test.verdict);
    let has_it = test.scenarios.iter().filter(|scenario| scenario.verdict == verdict);
    let scenarios = has_it.map(|scenario| scenario.name.clone()).collect();
    LoadTested { at: test.started_at, calls: completed, p95_ms, verdict, scenarios }
}

fn completed_all(scenario: &Scenario) -> bool {
    completed(scenario).is_some()
}

/// How many calls, if all of them were completed.
fn completed(scenario: &Scenario) -> Option<u64> {
    let calls = &scenario.calls.as_ref()?.calls;
    (calls.completed == calls.asked).then_some(calls.completed)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::sim::report::CallsReport;

    fn scenario(calls: Option<(u64, u64)>, p95: f64) -> Scenario {
        let mut scenario = Scenario::default();
        scenario.response_ms.p95 = Some(p95);
        scenario.calls = calls.map(|(asked, completed)| {
            let mut report = CallsReport::default();
            (report.calls.asked, report.calls.completed) = (asked, completed);
            report
        });
        scenario
    }

    fn tested(scenarios: Vec<Scenario>) -> LoadTest {
        LoadTest {
            version: "1".to_owned(),
            started_at: DateTime::UNIX_EPOCH,
            target: "http://127.0.0.1".to_owned(),
            cpus: 2,
            verdict: Verdict::Fine,
            scenarios,
        }
    }

    #[test]
    fn the_most_calls_that_were_all_completed_and_the_slowest_scenario_count() {
        let limit = scenario(Some((40, 39)), 9_000.0); // beyond the limit
        let test = tested(vec![
            scenario(Some((20, 20)), 900.0),
            scenario(Some((10, 10)), 1.0),
            scenario(None, 950.0),
            limit,
        ]);
        let wanted = LoadTested {
            at: DateTime::UNIX_EPOCH,
            calls: 20,
            p95_ms: Some(950.0),
            verdict: Verdict::Fine,
            scenarios: vec![String::new(); 4],
        };
        assert_eq!(summary(&test), wanted);
        let none = LoadTested { calls: 0, p95_ms: None, scenarios: vec![String::new()], ..wanted };
        assert_eq!(summary(&tested(vec![scenario(Some((5, 4)), 900.0)])), none);
    }

    #[test]
    fn the_worst_verdict_counts_with_its_scenarios_though_they_made_no_calls() {
        let named = |name: &str, verdict| Scenario { name: name.to_owned(), verdict, ..Scenario::default() };
        let mut test = tested(vec![named("calls", Verdict::Fine), named("webhooks", Verdict::Warning)]);
        test.verdict = Verdict::Warning;
        let found = summary(&test);
        assert_eq!((found.verdict, found.scenarios), (Verdict::Warning, vec!["webhooks".to_owned()]));
        test.verdict = Verdict::Fine;
        assert_eq!(summary(&test).verdict, Verdict::Fine, "a step of a search for the limit gave way");
        test.scenarios.push(named("database", Verdict::Critical));
        let found = summary(&test);
        assert_eq!((found.verdict, found.scenarios), (Verdict::Critical, vec!["database".to_owned()]));
    }

    #[test]
    fn a_folder_without_a_result_or_with_another_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = parsed(folder.path()).unwrap_err();
        assert!(told.starts_with("no load test was reported in ") && told.contains("result.json"), "{told}");
        std::fs::write(folder.path().join(RESULT), "{}").unwrap();
        let told = parsed(folder.path()).unwrap_err();
        assert!(told.contains("is no result of a load test"), "{told}");
        let written = serde_json::to_vec(&tested(vec![scenario(Some((10, 10)), 1.0)])).unwrap();
        std::fs::write(folder.path().join(RESULT), written).unwrap();
        assert_eq!(parsed(folder.path()).unwrap().calls, 10);
    }
}
