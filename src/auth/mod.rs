//! What people and programs show to be let in: passwords and tokens.

pub mod password;
pub mod token;
