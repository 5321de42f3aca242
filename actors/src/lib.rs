//! Everything in Switchboard that lives as long as a call does.
//!
//! ```text
//! App (crate `switchboard`)
//! ├── DbActor         permanent   writes what waits; queue, spool and pool are beside it
//! ├── CallRegistry    permanent   holds the slots, and in each the only address of its call
//! │   └── CallActor   one a call  carries out what the conversation decides
//! │       ├── pump             the caller's media stream: a task of the HTTP worker that accepted it
//! │       └── Realtime socket  beside the actor, which only reads it
//! ├── HTTP server                 the doors
//! ├── JobRunner       permanent   background jobs, one at a time
//! └── AlertActor      permanent   judges what the process knows of itself, and tells a person
//! ```
//!
//! **Start**, from top to bottom, none of them waiting for another machine: [`Db::start`](db::Db::start)
//! opens the spool and its runtime; [`Registry::start`](registry::Registry::start) is empty; then come the
//! doors, and when they are open [`Jobs::start`](jobs::Jobs::start). A call starts when the registry has
//! reserved its slot, on the worker that took the webhook.
//!
//! **A panic** is caught at the edge of the actor ([`supervise`]), logged and counted, and the actor starts
//! again with what was not part of it: the registry with its slots, the database's actor with queue and
//! spool, the runner of jobs with the table, a call from its [checkpoint](call_control::journal), on the same
//! sockets. The fourth panic of registry or database's actor within a minute, or its death, ends its
//! [`Lifeline`](supervise::Lifeline): the app hands the calls over and the process ends. The fourth of a call
//! within a minute gives its caller to a person; the runner of jobs always starts again. A call whose actor
//! is gone all the same is noticed by the registry, and its slot is free.
//!
//! **Stop**, in reverse but for the doors, which stay open for what the last callers need: the registry
//! drains, and admits nobody new; at the deadline it tells the calls that are left to hand themselves over. A
//! call that has ended tells the registry, which drops its address: the actor stops and closes both sockets,
//! and the pump ends. After the last call the doors close, the jobs stop, and what waits to be written is
//! written or stays in the spool. Registry and database's actor end with their last handle.

pub mod alerts;
mod ask;
pub mod call;
pub mod db;
#[cfg(feature = "fault-injection")]
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod health;
pub mod jobs;
pub mod metrics;
pub mod registry;
pub mod schemas;
pub mod supervise;
pub mod wire;

pub use call_control::policy::{access, thresholds};
pub use call_control::{backoff, secret};
