//! Speech of the caller that the service does not notice. Pure.
//!
//! The service tells when the caller speaks. One that is deaf tells nothing and answers pings all the same,
//! so the loudness of the caller's side is held against what it says. Loudness is no proof: a little of it
//! only makes the agent say something, more of it replaces the session, and only if that does not help a
//! person takes over.

use crate::Millis;

/// The service notices speech within this time.
const WITHIN: Millis = 10_000;
/// So many loud seconds are more than a noise.
const SPEECH_SECONDS: u32 = 3;
/// What is loud this soon after the agent may be the agent's echo.
const ECHO: Millis = 1_000;
/// A session that is lost this soon after the caller was loud may not have heard all of it.
const RECENT: Millis = 2_000;
/// A session that was replaced for this reason so many times is not replaced again.
const MAX_REPLACED: u32 = 1;

/// What is to be done about speech that the service did not notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The agent says something.
    Speak,
    /// Another session.
    Replace,
    /// A person.
    GiveUp,
}

/// What else is to be heard while the caller's side is loud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Silence,
    /// The loudness may be the agent's echo.
    Agent,
    /// The service has said that the caller speaks.
    Caller,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unnoticed {
    /// When the first loud second ended, of those that the service did not notice.
    since: Option<Millis>,
    seconds: u32,
    /// The caller was loud while the agent was heard. That makes the agent speak once, until the service
    /// notices something.
    over_agent: bool,
    asked_again: bool,
    /// Sessions in a row that noticed nothing.
    replaced: u32,
    /// When the caller was last loud, or the service noticed them.
    voice_at: Option<Millis>,
    loud_at: Option<Millis>,
    /// When the agent was last heard.
    agent_at: Option<Millis>,
}

impl Unnoticed {
    /// The caller was loud for a second.
    pub fn loud(&mut self, over: Over, now: Millis) {
        (self.voice_at, self.loud_at) = (Some(now), Some(now));
        let after_agent = self.agent_at.is_some_and(|at| now < at + ECHO);
        match over {
            Over::Silence if !after_agent => {
                self.since.get_or_insert(now);
                self.seconds += 1;
            }
            Over::Silence | Over::Agent => self.over_agent = true,
            Over::Caller => {}
        }
    }

    /// The service notices the caller.
    pub fn noticed(&mut self, now: Millis) {
        let Self { agent_at, loud_at, .. } = *self;
        *self = Self { voice_at: Some(now), loud_at, agent_at, ..Self::default() };
    }

    /// The agent is heard: so the service is not deaf.
    pub fn agent_speaks(&mut self, now: Millis) {
        self.new_session();
        self.agent_at = Some(now);
    }

    /// Another session begins.
    pub fn new_session(&mut self) {
        (self.since, self.seconds) = (None, 0);
    }

    /// When something is to be done.
    pub fn deadline(&self) -> Option<Millis> {
        let over_agent = self.agent_at.filter(|_| self.over_agent && !self.asked_again);
        Some(self.since.into_iter().chain(over_agent).min()? + WITHIN)
    }

    /// What is to be done now.
    pub fn remedy(&mut self, now: Millis) -> Option<Remedy> {
        if self.deadline()? > now {
            return None;
        }
        let was_speech = self.seconds >= SPEECH_SECONDS;
        if self.since.is_none() {
            self.asked_again = true;
        }
        self.new_session();
        Some(match was_speech {
            false => Remedy::Speak,
            true if self.replaced >= MAX_REPLACED => Remedy::GiveUp,
            true => {
                self.replaced += 1;
                Remedy::Replace
            }
        })
    }

    /// Whether the caller was loud a moment ago.
    pub fn is_recent(&self, now: Millis) -> bool {
        self.loud_at.is_some_and(|at| now < at + RECENT)
    }

    /// When the caller's side was last loud.
    pub fn loud_at(&self) -> Option<Millis> {
        self.loud_at
    }

    /// When there was last a sign of the caller's voice.
    pub fn voice_at(&self) -> Option<Millis> {
        self.voice_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(unnoticed: &mut Unnoticed, seconds: u64, from: Millis) {
        (0..seconds).for_each(|second| unnoticed.loud(Over::Silence, from + second * 1_000));
    }

    #[test]
    fn a_deaf_session_is_replaced_once_and_then_a_person_takes_over() {
        let mut unnoticed = Unnoticed::default();
        spoken(&mut unnoticed, 30, 1_000);
        assert_eq!(unnoticed.remedy(10_999), None);
        assert_eq!(unnoticed.remedy(11_000), Some(Remedy::Replace));
        assert_eq!(unnoticed.remedy(99_000), None);
        spoken(&mut unnoticed, 3, 20_000);
        assert_eq!(unnoticed.remedy(30_000), Some(Remedy::GiveUp));
    }

    #[test]
    fn a_short_noise_makes_the_agent_speak_and_what_was_noticed_is_forgotten() {
        let mut unnoticed = Unnoticed::default();
        spoken(&mut unnoticed, 2, 0);
        assert_eq!(unnoticed.remedy(10_000), Some(Remedy::Speak));
        spoken(&mut unnoticed, 5, 20_000);
        unnoticed.noticed(26_000);
        assert_eq!((unnoticed.deadline(), unnoticed.voice_at()), (None, Some(26_000)));
        unnoticed.loud(Over::Caller, 27_000);
        assert_eq!((unnoticed.deadline(), unnoticed.voice_at()), (None, Some(27_000)));
    }

    #[test]
    fn loudness_over_the_agent_makes_it_speak_again_once() {
        let mut unnoticed = Unnoticed::default();
        unnoticed.agent_speaks(1_000);
        unnoticed.loud(Over::Agent, 1_500);
        unnoticed.agent_speaks(3_000);
        unnoticed.loud(Over::Silence, 3_500); // the end of an echo
        assert_eq!((unnoticed.deadline(), unnoticed.remedy(13_000)), (Some(13_000), Some(Remedy::Speak)));
        unnoticed.agent_speaks(15_000);
        unnoticed.loud(Over::Agent, 15_500);
        assert_eq!(unnoticed.deadline(), None, "it may be an echo each time");
    }
}
