//! The simulated telephone network and the simulated Realtime service: programs of their own, speaking the
//! real protocols on real sockets, strict about what they accept. Loopback only.

pub mod arguments;
pub mod metrics_page;
pub mod phone;
pub mod realtime;
pub mod report;
pub mod speech;
pub mod tag;
