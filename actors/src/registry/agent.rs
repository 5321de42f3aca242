//! A call that has an agent, as the registry knows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tracing::Span;
use tracing::field::Empty;

use super::handle::{AdmitCall, Registry};
use super::picture::LiveCall;
use crate::call::{CallActor, CallIdentity, CallSetup, LiveStatus, Shared};
use crate::wire::realtime::socket::Uplink;
use crate::wire::twilio::sid::CallSid;

/// A call's actor, and what the registry needs besides.
pub(super) struct Agent {
    /// Tells this actor from an earlier one of the same call.
    pub serial: u64,
    /// The only address: the actor ends with it.
    pub call: Addr<CallActor>,
    pub uplink: Arc<Uplink>,
    /// The call's, in which everything that is done for it stands.
    pub span: Span,
    pub began: Instant,
    status: Arc<Mutex<LiveStatus>>,
    from: String,
    to: String,
    started_at: DateTime<Utc>,
}

impl Agent {
    /// Starts the actor of a call, under a supervisor, on the arbiter that asked for it.
    pub fn start(
        identity: CallIdentity,
        call: AdmitCall,
        setup: &Arc<CallSetup>,
        registry: Registry,
    ) -> Self {
        let CallIdentity { call_sid, serial, first_epoch, started_at } = identity;
        let AdmitCall { from, to, past, home, .. } = call;
        let (setup, uplink) = (setup.clone(), Arc::new(Uplink::default()));
        let status = Arc::new(Mutex::new(LiveStatus::default()));
        let span = tracing::info_span!(
            parent: None, "call", call.sid = %call_sid, epoch = i64::from(first_epoch), outcome = Empty, reason = Empty
        );
        let shared =
            Shared { uplink: uplink.clone(), status: status.clone(), span: span.clone(), from: from.clone() };
        let call = Supervisor::start_in_arbiter(&home, move |_| {
            CallActor::new(identity, past, setup, Arc::new(registry), shared)
        });
        Self { serial, call, uplink, status, span, from, to, started_at, began: Instant::now() }
    }

    pub fn live_call(&self, call_sid: CallSid, instance: &str) -> LiveCall {
        let status = *self.status.lock().unwrap_or_else(PoisonError::into_inner);
        LiveCall {
            call_sid,
            instance: instance.to_owned(),
            from: self.from.clone(),
            to: self.to.clone(),
            state: status.summary.state,
            started_at: self.started_at,
            duration_seconds: self.began.elapsed().as_secs(),
            speaking: status.summary.speaking,
            turns: status.summary.turns,
            barge_ins: status.summary.barge_ins,
            first_audio_ms: status.summary.first_audio_ms,
            last_turn_ms: status.summary.last_turn_ms,
            restarts: status.restarts,
            reconnects: status.summary.reconnects,
        }
    }
}
