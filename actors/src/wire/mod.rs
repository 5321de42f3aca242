//! The two protocols: Twilio's and the Realtime service's.

pub mod https;
pub mod realtime;
pub mod scan;
pub mod twilio;
