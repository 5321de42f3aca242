//! The recorded phrases that a caller hears while the service is away. `book` holds the recordings and has
//! the missing ones made. `store` keeps them on disk.

pub mod book;
pub mod store;

pub use call_control::conversation::phrases::{Phrase, PhraseTexts, Phrases, Recording};
