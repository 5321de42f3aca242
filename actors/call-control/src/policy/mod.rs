//! What can be chosen about an agent, who may do what, and from where on a figure is bad.

pub mod access;
pub mod destinations;
pub mod music;
pub mod persona;
pub mod sentences;
pub mod thresholds;
pub mod tools;
pub mod urgent;
