//! The phrases an agent can say though the service cannot: `book` has the ones at hand and sees to the rest, `store` keeps them on
//! disk.

pub mod book;
pub mod store;

pub use call_control::conversation::phrases::{Phrase, PhraseTexts, Phrases, Recording};
