//! The function calls of the agent: which are at work and until when, whose outputs are in, and what another
//! session must be told of them. Pure.
//!
//! Each call is answered once, with one output, in the session that made it. A result that comes when this
//! session is gone is told to the next one as a note.

use std::collections::VecDeque;

use super::tool_result::ToolFault;
use crate::Millis;

/// So many may be at work at once; a model that calls more is told to wait.
pub const MAX_RUNNING: usize = 8;
/// The service names a function call twice, at its item's end and at its response's.
pub const MAX_KNOWN: usize = 64;
/// So many results are told to a session that takes the place of another,
const MAX_TOLD: usize = 8;
/// and so much of each.
const MAX_TOLD_CHARS: usize = 600;

/// The function calls of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools {
    started: u32,
    running: Vec<Running>,
    /// The ids of the last calls.
    known: VecDeque<String>,
    /// Responses of this session of whose calls some are answered, and which another response is to follow.
    followed: Vec<String>,
    /// The last results of the whole call.
    told: VecDeque<Told>,
}

/// A call at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Tells it from any other of this telephone call.
    pub number: u32,
    pub call_id: String,
    pub name: String,
    response_id: String,
    /// The session that made it is still there.
    pub is_awaited: bool,
    pub began: Millis,
    until: Millis,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    name: String,
    output: String,
}

impl Tools {
    /// A function call is told of. False if it was told of before.
    pub fn learn(&mut self, call_id: &str) -> bool {
        if self.known.iter().any(|known| known == call_id) {
            return false;
        }
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(call_id.to_owned());
        true
    }

    pub fn has_room(&self) -> bool {
        self.running.len() < MAX_RUNNING
    }

    /// Puts a call to work. Answers its number.
    pub fn start(
        &mut self,
        (response_id, call_id): (&str, &str),
        name: &str,
        within: Millis,
        now: Millis,
    ) -> u32 {
        self.started += 1;
        self.running.push(Running {
            number: self.started,
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            response_id: response_id.to_owned(),
            is_awaited: true,
            began: now,
            until: now + within,
        });
        self.started
    }

    /// A call has come to its end. None if it is not at work (any more).
    pub fn finish(&mut self, number: u32, call_id: &str) -> Option<Running> {
        let is_it = |running: &Running| running.number == number && running.call_id == call_id;
        let at = self.running.iter().position(is_it)?;
        let done = self.running.remove(at);
        if done.is_awaited {
            self.follow(&done.response_id);
        }
        Some(done)
    }

    /// A call of this response is answered: another response is to follow once all of them are.
    pub fn follow(&mut self, response_id: &str) {
        if !self.followed.iter().any(|followed| followed == response_id) {
            self.followed.push(response_id.to_owned());
        }
    }

    /// Whether all calls of a response are answered now; the response that follows is then taken as asked
    /// for.
    pub fn take_due(&mut self) -> bool {
        let running = &self.running;
        let is_at_work = |response_id: &String| {
            running.iter().any(|running| running.is_awaited && running.response_id == *response_id)
        };
        let before = self.followed.len();
        self.followed.retain(is_at_work);
        self.followed.len() < before
    }

    /// The calls whose time is over.
    pub fn overdue(&self, now: Millis) -> Vec<(u32, String)> {
        let overdue = self.running.iter().filter(|running| running.until <= now);
        overdue.map(|running| (running.number, running.call_id.clone())).collect()
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.running.iter().map(|running| running.until).min()
    }

    /// The session in use waits for a tool.
    pub fn is_awaited(&self) -> bool {
        self.running.iter().any(|running| running.is_awaited)
    }

    /// The session is gone, and with it whatever could be answered in it.
    pub fn session_lost(&mut self) {
        self.running.iter_mut().for_each(|running| running.is_awaited = false);
        self.followed.clear();
    }

    /// Remembers what came of a call, for sessions that are yet to come.
    pub fn remember(&mut self, name: &str, output: &str) {
        if self.told.len() == MAX_TOLD {
            self.told.pop_front();
        }
        let output = output.chars().take(MAX_TOLD_CHARS).collect();
        self.told.push_back(Told { name: name.to_owned(), output });
    }

    /// What a session that takes the place of another is told of the calls before it; none if there were
    /// none.
    pub fn summary(&self) -> Option<String> {
        if self.told.is_empty() && self.running.is_empty() {
            return None;
        }
        let done = self.told.iter().map(|Told { name, output }| format!("\n- {name} answered: {output}"));
        let at_work = self.running.iter().map(|running| {
            format!("\n- {} is still at work. You will be told what it answers.", running.name)
        });
        let lines: String = done.chain(at_work).collect();
        Some(format!(
            "You have called these tools in this conversation. Do not call them again for the same:{lines}"
        ))
    }

    pub fn running(&self) -> usize {
        self.running.len()
    }

    pub fn known(&self) -> usize {
        self.known.len()
    }
}

/// What a session that did not make the call is told of its result.
pub fn late_note(name: &str, output: &str) -> String {
    let output: String = output.chars().take(MAX_TOLD_CHARS).collect();
    format!("The tool {name}, called before the interruption, has answered: {output}")
}

/// A fault, as the model reads it.
pub fn fault_output(fault: &ToolFault) -> String {
    error_output(&fault.to_string())
}

/// A refusal, as the model reads it.
pub fn error_output(text: &str) -> String {
    serde_json::json!({"error": text}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_follows_when_all_calls_of_one_response_are_answered() {
        let mut tools = Tools::default();
        let first = tools.start(("r1", "c1"), "a", 1_000, 0);
        let second = tools.start(("r1", "c2"), "b", 1_000, 0);
        let other = tools.start(("r2", "c3"), "c", 5_000, 0);
        tools.finish(second, "c2").unwrap();
        assert!(!tools.take_due(), "c1 is at work");
        tools.finish(other, "c3").unwrap();
        assert!(tools.take_due() && !tools.take_due(), "that of r2, once");
        tools.finish(first, "c1").unwrap();
        assert!(tools.take_due());
    }

    #[test]
    fn a_call_ends_once_and_only_by_its_own_number_and_id() {
        let mut tools = Tools::default();
        let number = tools.start(("r1", "c1"), "a", 1_000, 500);
        assert_eq!(tools.deadline(), Some(1_500));
        assert_eq!((tools.finish(number, "c2"), tools.finish(number + 1, "c1")), (None, None));
        assert_eq!(tools.overdue(1_499), []);
        assert_eq!(tools.overdue(1_500), [(number, "c1".to_owned())]);
        assert!(tools.finish(number, "c1").is_some());
        assert_eq!((tools.finish(number, "c1"), tools.deadline()), (None, None));
    }

    #[test]
    fn the_next_session_is_told_what_was_answered_and_what_is_still_at_work() {
        let mut tools = Tools::default();
        assert_eq!(tools.summary(), None);
        tools.remember("look_up", r#"{"free":true}"#);
        let number = tools.start(("r1", "c1"), "book", 1_000, 0);
        tools.session_lost();
        assert!(!tools.is_awaited());
        let summary = tools.summary().unwrap();
        assert!(summary.contains(r#"look_up answered: {"free":true}"#) && summary.contains("book is still"));
        assert!(!tools.finish(number, "c1").unwrap().is_awaited);
        assert!(!tools.take_due(), "no session waits for it");
        (0..20).for_each(|n| tools.remember(&format!("tool_{n}"), &"x".repeat(5_000)));
        assert!(tools.summary().unwrap().len() < 6_000);
    }

    #[test]
    fn a_call_that_is_told_twice_is_one() {
        let mut tools = Tools::default();
        assert!(tools.learn("c1") && !tools.learn("c1"));
        assert!((0..200).all(|n| tools.learn(&format!("d{n}"))) && tools.known() == MAX_KNOWN);
    }
}
