//! How many calls may be on the line, and which streams are theirs.

pub mod headroom;
pub mod slots;
