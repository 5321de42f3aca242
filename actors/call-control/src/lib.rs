//! What is decided about a call: pure, so without I/O, without a clock and without `async`. What time it is
//! comes in as a value, and what is to be done goes out as one; `actors` carries it out.

pub mod alerts;
pub mod backoff;
pub mod call_flow;
pub mod ceiling;
pub mod conversation;
pub mod intensity;
pub mod journal;
pub mod machine;
pub mod policy;
pub mod realtime;
pub mod recorder;
pub mod scan;
pub mod secret;
pub mod twilio;

pub use machine::Millis;
