//! Facts become lines. No clock, no socket, no file.

use super::Line;
use super::facts::Facts;

mod database;
mod load_test;
mod machine;
#[cfg(test)]
mod more_tests;
mod people;
mod public;
mod realtime;
#[cfg(test)]
mod remedy_tests;
#[cfg(test)]
pub(super) mod tests;
mod twilio;
#[cfg(test)]
mod webhook_tests;

pub use database::{direct_connection, reachable};
pub use realtime::trial;
pub use twilio::{account, number};

/// All lines, in the order in which they are best mended.
pub fn judge(facts: &Facts) -> Vec<Line> {
    let mut lines = vec![machine::settings(&facts.said), machine::api_auth(&facts.said)];
    lines.extend(database::lines(facts));
    lines.extend(public::lines(facts));
    lines.extend(twilio::lines(facts));
    lines.extend(realtime::lines(facts));
    lines.extend(people::lines(facts));
    lines.extend(machine::lines(facts));
    lines.extend(load_test::lines(facts));
    lines
}

/// How many processes serve; where none was seen, the one that is checked is about to.
fn processes(facts: &Facts) -> usize {
    let seen = facts.database.as_ref().ok().and_then(|database| database.instances.as_deref());
    seen.unwrap_or_default().len().max(1)
}
