//! Asks the endpoints of tools, on a thread of its own: a handshake or a long answer costs no caller a
//! frame.
//!
//! The thread begins with the first tool. It takes [`MAX_AT_WORK`] jobs at once and [`MAX_WAITING`] more;
//! further ones are handed back. A job has the deadline of its endpoint. A call that is gone when its answer
//! comes does not get it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use call_control::conversation::tool_result::{ToolDone, ToolOutcome};
use call_control::policy::tools::Endpoint;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use super::ToolEnded;
use crate::ask::ask;
use crate::call::CallActor;
use crate::wire::endpoint;
use crate::wire::twilio::sid::CallSid;

/// Requests at once, of all calls.
const MAX_AT_WORK: usize = 64;
const MAX_WAITING: usize = 64;
/// A call takes its answer within this time, however full its mailbox is.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// A tool to be asked for a call.
pub(in crate::call) struct Job {
    pub(in crate::call) call: WeakAddr<CallActor>,
    pub(in crate::call) call_sid: CallSid,
    pub(in crate::call) number: u32,
    pub(in crate::call) call_id: String,
    pub(in crate::call) endpoint: Box<Endpoint>,
    pub(in crate::call) arguments: Value,
}

/// See the module. Dropped, it ends its thread.
#[derive(Default)]
pub struct ToolRunner(OnceLock<Running>);

struct Running {
    arbiter: Arbiter,
    jobs: mpsc::Sender<Job>,
}

impl ToolRunner {
    /// Never waits. Hands a job back for which there is no room.
    pub(in crate::call) fn run(&self, job: Job) -> Result<(), Job> {
        self.0.get_or_init(Running::start).jobs.try_send(job).map_err(|refused| refused.into_inner())
    }
}

impl Running {
    fn start() -> Self {
        let (jobs, taken) = mpsc::channel(MAX_WAITING);
        let arbiter = Arbiter::new();
        arbiter.spawn(work(taken));
        Self { arbiter, jobs }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

async fn work(mut jobs: mpsc::Receiver<Job>) {
    let places = Arc::new(Semaphore::new(MAX_AT_WORK));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Some(job) = jobs.recv().await else { return };
        actix_rt::spawn(async move {
            do_job(job).await;
            drop(place);
        });
    }
}

async fn do_job(Job { call, call_sid, number, call_id, endpoint, arguments }: Job) {
    let result = endpoint::ask(&endpoint, call_sid, &arguments).await;
    if result.is_err() {
        let (host, outcome) = (endpoint.url.host_str(), ToolOutcome::of(&result).as_str());
        tracing::warn!(call.sid = %call_sid, host, outcome, "a tool gave no answer");
    }
    let Some(call) = call.upgrade() else { return };
    if ask(&call, ToolEnded(ToolDone { number, call_id, result }), TAKEN_WITHIN).await.is_none() {
        tracing::debug!(call.sid = %call_sid, "a call ended before its tool's answer");
    }
}
