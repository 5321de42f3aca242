//! The two protocols: Twilio's and the Realtime service's.

pub mod dial;
pub mod https;
pub mod realtime;
pub mod roots;
pub mod twilio;

pub use call_control::scan;
