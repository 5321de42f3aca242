//! Who answers the telephone: pure data.

use std::sync::Arc;

use super::destinations::Destination;
use super::tools::Toolbox;
use super::urgent::UrgentPhrases;
use crate::conversation::phrases::PhraseTexts;

/// The agent as the caller meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    /// What the agent calls itself.
    pub name: String,
    /// Who it is and what it is for, in the words of whoever runs it; without the [house
    /// rules](Self::instructions).
    pub instructions: String,
    /// What it says first, as near to verbatim as the model keeps it.
    pub greeting: String,
    /// A voice of the Realtime service (reference: openai-realtime.md section 2).
    pub voice: String,
    /// The language of the conversation, as an ISO 639-1 code.
    pub language: String,
    /// The number a caller in an emergency is told to dial.
    pub emergency_number: String,
    /// What it says while the service is away.
    pub phrases: PhraseTexts,
    /// The people it can give a caller to, in the order in which they are rung; without the person on duty.
    pub destinations: Vec<Destination>,
    /// What it can do besides talk.
    pub toolbox: Arc<Toolbox>,
    /// What a caller says that is urgent whatever it makes of it.
    pub urgent: Arc<UrgentPhrases>,
}

impl Persona {
    /// The greeting of an agent of that name that was given none.
    pub fn english_greeting(name: &str, emergency_number: &str) -> String {
        format!(
            "Hello, this is {name}, an automated assistant. \
             If this is an emergency, please hang up and dial {emergency_number}. How can I help you today?"
        )
    }

    /// The session's instructions: the persona's own, and what holds for every persona.
    pub fn instructions(&self) -> String {
        let Self { name, instructions, language, emergency_number, .. } = self;
        format!(
            "{instructions}\n\n\
             Your name is {name}. Speak the language with the code `{language}` unless the caller speaks another.\n\
             You are an automated assistant. Say so when you greet the caller and whenever you are asked; never claim to be a person.\n\
             If the caller describes an emergency, tell them at once to hang up and dial {emergency_number}.\n\
             This is a telephone call: answer in one or two short spoken sentences, without lists, markup or emoji."
        )
    }
}

impl Default for Persona {
    fn default() -> Self {
        Self {
            name: "Robin".into(),
            instructions: "You answer the telephone for a small clinic. You are friendly, calm and brief. \
                           Find out why the caller rings and help as far as you can. \
                           You give no medical advice and promise nothing that you cannot do yourself."
                .into(),
            greeting: Self::english_greeting("Robin", "911"),
            voice: "marin".into(),
            language: "en".into(),
            emergency_number: "911".into(),
            destinations: Vec::new(),
            phrases: PhraseTexts::english("911"),
            toolbox: Arc::default(),
            urgent: Arc::new(UrgentPhrases::of_language("en")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_persona_is_told_to_own_up_and_to_name_the_emergency_number() {
        let persona = Persona {
            instructions: "Sell bread.".into(),
            emergency_number: "112".into(),
            ..Persona::default()
        };
        let instructions = persona.instructions();
        assert!(instructions.starts_with("Sell bread."));
        assert!(instructions.contains("You are an automated assistant"));
        assert!(instructions.contains("hang up and dial 112"));
    }

    #[test]
    fn the_built_in_greeting_owns_up_and_names_the_emergency_number() {
        let persona = Persona::default();
        assert!(persona.greeting.contains("automated assistant"));
        assert!(persona.greeting.contains(&format!("hang up and dial {}", persona.emergency_number)));
    }
}
