//! The load tests: what the program is given to bear, what is measured meanwhile, and how it stands against the
//! thresholds.

pub mod compare;
mod figure;
pub mod page;
pub mod result;
