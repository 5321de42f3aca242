//! What can be chosen about an agent.

pub mod persona;
