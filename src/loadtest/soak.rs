//! The rounds of a soak: of each scenario the first, the worst and the last one are kept, however many there
//! are.

use super::result::Scenario;

/// The rounds so far.
#[derive(Debug, Default)]
pub struct Rounds {
    count: u32,
    /// One for each scenario of a round, in their order.
    kept: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    first: Scenario,
    /// With the numbers of their rounds.
    worst: (u32, Scenario),
    last: (u32, Scenario),
}

impl Rounds {
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Another round, with the same scenarios as those before.
    pub fn add(&mut self, round: Vec<Scenario>) {
        self.count += 1;
        let number = self.count;
        if number == 1 {
            let only = |first: Scenario| Kept { worst: (1, first.clone()), last: (1, first.clone()), first };
            self.kept = round.into_iter().map(only).collect();
            return;
        }
        for (kept, scenario) in self.kept.iter_mut().zip(round) {
            if is_worse(&scenario, &kept.worst.1) {
                kept.worst = (number, scenario.clone());
            }
            kept.last = (number, scenario);
        }
    }

    /// Those that are kept, in the order of their rounds. The first ones have the names of single rounds, so
    /// that they can be compared with these; the others have the number as well.
    pub fn into_scenarios(self) -> Vec<Scenario> {
        let count = self.count;
        let mut all = Vec::new();
        for Kept { first, worst, last } in self.kept {
            let worst_round = worst.0;
            let mut rounds = vec![(1, first), worst, last];
            rounds.dedup_by_key(|(number, _)| *number);
            all.extend(
                rounds.into_iter().map(|(number, scenario)| named(number, scenario, worst_round, count)),
            );
        }
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, scenario)| scenario).collect()
    }
}

fn named(number: u32, mut scenario: Scenario, worst: u32, count: u32) -> (u32, Scenario) {
    if number > 1 {
        scenario.name += &format!(" {number}");
    }
    let which = match number {
        _ if number == worst => ", the worst one",
        1 => ", the first one",
        _ => ", the last one",
    };
    scenario.task += &format!(" (round {number} of {count}{which})");
    (number, scenario)
}

/// By the verdict; among equals by errors, and then by how slow it was.
fn is_worse(one: &Scenario, other: &Scenario) -> bool {
    let errors = |scenario: &Scenario| scenario.errors.iter().map(|error| error.count).sum::<u64>();
    let slow = |scenario: &Scenario| scenario.response_ms.p95.unwrap_or_default();
    let by_errors = (one.verdict, errors(one)).cmp(&(other.verdict, errors(other)));
    by_errors.then(slow(one).total_cmp(&slow(other))).is_gt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::result::Verdict;
    use crate::sim::report::Percentiles;

    fn scenario(name: &str, verdict: Verdict, p95: f64) -> Scenario {
        let response_ms = Percentiles { p95: Some(p95), ..Percentiles::default() };
        Scenario { name: name.to_owned(), verdict, response_ms, ..Scenario::default() }
    }

    /// The names and tasks of what is kept of rounds of these verdicts and times.
    fn kept(rounds: &[(Verdict, f64)]) -> Vec<(String, String)> {
        let mut all = Rounds::default();
        rounds.iter().for_each(|(verdict, p95)| all.add(vec![scenario("calls", *verdict, *p95)]));
        all.into_scenarios().into_iter().map(|scenario| (scenario.name, scenario.task)).collect()
    }

    fn names(rounds: &[(Verdict, f64)]) -> Vec<String> {
        kept(rounds).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_first_the_worst_and_the_last_round_are_kept_however_many_there_are() {
        use Verdict::{Fine, Warning};
        let mut rounds = vec![(Fine, 10.0); 500];
        rounds[40].1 = 30.0;
        rounds[77] = (Warning, 20.0);
        assert_eq!(names(&rounds), ["calls", "calls 78", "calls 500"]);
        rounds[499] = (Warning, 40.0);
        let kept = kept(&rounds);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[0], ("calls".to_owned(), " (round 1 of 500, the first one)".to_owned()));
        assert_eq!(kept[1], ("calls 500".to_owned(), " (round 500 of 500, the worst one)".to_owned()));
    }

    #[test]
    fn a_round_that_was_as_good_as_the_first_is_not_worse() {
        assert_eq!(names(&[(Verdict::Fine, 10.0); 1]), ["calls"]);
        assert_eq!(names(&[(Verdict::Fine, 10.0); 3]), ["calls", "calls 3"]);
    }

    #[test]
    fn the_rounds_of_several_scenarios_stand_in_the_order_in_which_they_were_run() {
        let mut all = Rounds::default();
        for _ in 0..2 {
            all.add(vec![scenario("calls", Verdict::Fine, 1.0), scenario("webhooks", Verdict::Fine, 1.0)]);
        }
        let names: Vec<_> = all.into_scenarios().into_iter().map(|scenario| scenario.name).collect();
        assert_eq!(names, ["calls", "webhooks", "calls 2", "webhooks 2"]);
    }
}
