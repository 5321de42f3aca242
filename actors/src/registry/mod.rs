//! CallRegistry: the concurrency ceiling, the slots, who is on the line.

pub mod picture;
