//! One live call.

pub mod end;
