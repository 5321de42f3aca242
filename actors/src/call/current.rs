//! The persona that new calls have. It is replaced as a whole; a call keeps the one that it began with.

use std::sync::{Arc, PoisonError, RwLock};

use super::persona::Persona;
use super::phrases::Phrases;
use super::phrases::book::PhraseBook;

/// See the module.
#[derive(Debug, Default)]
pub struct CurrentPersona(RwLock<Arc<Persona>>);

impl CurrentPersona {
    pub fn now(&self) -> Arc<Persona> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The phrases of the old persona that are not the new one's must have left the book by then.
    pub fn replace(&self, persona: Persona) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(persona);
    }
}

impl From<Persona> for CurrentPersona {
    fn from(persona: Persona) -> Self {
        Self(RwLock::new(Arc::new(persona)))
    }
}

/// The persona, and recordings in its voice. If the persona is replaced between the two reads, both are read
/// again.
pub(super) fn agent(persona: &CurrentPersona, book: &PhraseBook) -> (Arc<Persona>, Arc<Phrases>) {
    loop {
        let (before, phrases) = (persona.now(), book.at_hand());
        if Arc::ptr_eq(&before, &persona.now()) {
            return (before, phrases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_keeps_the_persona_that_was_replaced_and_the_next_one_has_the_new() {
        let (current, book) = (CurrentPersona::default(), PhraseBook::default());
        let (running, _) = agent(&current, &book);
        current.replace(Persona { voice: "cedar".into(), ..Persona::default() });
        let (next, _) = agent(&current, &book);
        assert_eq!((&*running.voice, &*next.voice), ("marin", "cedar"));
    }
}
