//! What people and programs show to be let in: passwords and tokens.

pub(crate) mod first_user;
pub mod password;
pub mod token;
