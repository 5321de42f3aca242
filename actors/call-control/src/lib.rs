//! What is decided about a call: pure, so without I/O, without a clock and without `async`. What time it is comes in as a
//! value, and what is to be done goes out as one; `actors` carries it out.

pub mod ceiling;
pub mod conversation;
pub mod intensity;
pub mod policy;
pub mod realtime;
pub mod scan;
pub mod secret;
pub mod twilio;

/// Milliseconds since the Unix epoch, by a clock that only goes forward during a call.
pub type Millis = u64;
