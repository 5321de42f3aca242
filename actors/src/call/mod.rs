//! One live call.

pub mod end;
pub mod persona;
