//! The call's side of its Realtime socket: opening it, reading it, and what the service says.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};

use super::conversation::Input;
use super::{CallActor, Millis};
use crate::health::Outcome;
use crate::metrics::{Counted, Metrics};
use crate::supervise::fault_point;
use crate::wire::realtime::events::{self, ServerEvent};
use crate::wire::realtime::requests::CONFIGURE_ID;
use crate::wire::realtime::socket::{self, ConnectError, Received, Uplink};

impl CallActor {
    /// Reads the Realtime socket until it ends or another one takes its place.
    pub(super) fn read(&self, session: u32, ctx: &mut Context<Self>) {
        ctx.add_stream(received(self.uplink.clone(), session));
    }

    fn connected(&mut self, result: Result<u32, ConnectError>, ctx: &mut Context<Self>) {
        let label = if result.is_ok() { "connected" } else { "failed" };
        self.setup.metrics.realtime_connects.with_label_values(&[label]).inc();
        match &result {
            Ok(_) => self.setup.metrics.realtime.note(Outcome::Connected),
            Err(error) => self.setup.metrics.realtime.note_unconnected(error),
        }
        match result {
            Ok(session) if self.ended.is_some() => {
                tracing::debug!(session, "connected after the call's end");
                self.uplink.close();
            }
            Ok(session) => {
                self.session_span = tracing::info_span!(
                    parent: &self.span, "realtime session", session = i64::from(session)
                );
                self.socket_lives = Some(Counted::one_of(&self.setup.metrics.realtime_sockets));
                self.read(session, ctx);
            }
            Err(error) => {
                let fatal = matches!(error, ConnectError::Refused { .. });
                let wait = error.wait().map(|wait| wait.as_millis() as Millis);
                self.take(&Input::ServiceLost { fatal, cause: &error.to_string(), wait }, ctx);
            }
        }
    }

    fn service_said(&mut self, message: &Bytes, ctx: &mut Context<Self>) {
        let mut moves_the_session = true; // as far as can be known of what cannot be read
        let done = self.guarded(ctx, |call, began, ctx| {
            fault_point!("call-parse");
            match events::parse(message) {
                Ok(event) => {
                    moves_the_session = event.moves_the_session();
                    note(&event, &call.setup.metrics);
                    if let ServerEvent::ResponseDone(response) = &event {
                        call.setup.metrics.count_response(&response.status);
                    }
                    call.learn_of_the_account(&event);
                    if matches!(event, ServerEvent::SessionDiffers { .. }) {
                        call.setup.metrics.realtime_errors.with_label_values(&["other-session"]).inc();
                    }
                    call.step(&Input::Service(event), began, ctx);
                }
                Err(error) => {
                    call.setup.metrics.realtime_errors.with_label_values(&["malformed"]).inc();
                    tracing::warn!(
                        parent: &call.span, call.sid = %call.identity.call_sid, %error,
                        "a malformed event of the Realtime service"
                    );
                }
            }
        });
        self.out_of_step |= !done && moves_the_session;
    }
}

impl CallActor {
    /// Keeps what the event says of the account, which other calls use, too.
    fn learn_of_the_account(&self, event: &ServerEvent) {
        let metrics = &self.setup.metrics;
        match event {
            ServerEvent::RateLimits(told) => {
                metrics.token_limit.set(told.limit as i64);
                metrics.tokens_remaining.set(told.remaining as i64);
                metrics.account.limit_told(*told);
            }
            ServerEvent::ResponseDone(response) => {
                if let Some(usage) = response.usage.as_ref().filter(|_| response.status == "completed") {
                    metrics.account.response_took(usage);
                }
            }
            _ => {}
        }
    }
}

/// Keeps what the event says of the service's health. An error that harms nothing says nothing.
fn note(event: &ServerEvent, metrics: &Metrics) {
    let log = &metrics.realtime;
    match event {
        ServerEvent::ResponseDone(response) if response.status == "failed" => {
            let error = response.status_details.as_ref().and_then(|details| details.error.as_ref());
            let error = error.cloned().unwrap_or_default();
            metrics.count_error_code(error.code());
            log.note_error(&error, error.is_fatal());
        }
        ServerEvent::ResponseDone(response) if response.status != "cancelled" => log.note(Outcome::Answered),
        ServerEvent::Error(error) => {
            metrics.count_error_code(error.code());
            let is_of_session = error.event_id.as_deref() == Some(CONFIGURE_ID);
            if error.is_fatal() || is_of_session {
                log.note_error(error, true);
            }
        }
        _ => {}
    }
}

/// Opens a socket after a while.
pub(super) fn connect_later(after: Millis, ctx: &mut Context<CallActor>) {
    ctx.run_later(Duration::from_millis(after), |call, ctx| {
        let (setup, uplink, call_sid) = (call.setup.clone(), call.uplink.clone(), call.identity.call_sid);
        let span =
            tracing::info_span!(parent: &call.span, "realtime connect", otel.status_description = Empty);
        let connect = async move {
            let connected = socket::connect(&setup.endpoint).await;
            if let Err(cause) = &connected {
                // An outage is a warning for all calls together.
                tracing::info!(call.sid = %call_sid, %cause, "no connection to the Realtime service");
                Span::current().record("otel.status_description", display(cause));
            }
            connected.map(|socket| uplink.attach(socket))
        };
        ctx.spawn(
            connect.instrument(span).into_actor(call).map(|result, call, ctx| call.connected(result, ctx)),
        );
    });
}

fn received(uplink: Arc<Uplink>, session: u32) -> impl Stream<Item = Received> {
    stream::unfold(uplink, move |uplink| async move {
        let received = poll_fn(|cx| uplink.poll_received(session, cx)).await?;
        Some((received, uplink))
    })
}

impl StreamHandler<Received> for CallActor {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        match received {
            Received::Event(message) if self.ended.is_some() => self.afterword(&message, ctx),
            Received::Event(message) => self.service_said(&message, ctx),
            Received::Pong => self.take(&Input::Pong, ctx),
            Received::Closed { fatal, cause } => {
                tracing::warn!(
                    parent: &self.session_span, call.sid = %self.identity.call_sid, cause,
                    "the Realtime socket was lost"
                );
                self.session_span = Span::none();
                self.socket_lives = None;
                self.take(&Input::ServiceLost { fatal, cause: &cause, wait: None }, ctx);
                self.stop_lingering(true, ctx);
            }
        }
    }

    /// The end of one socket is not the end of the call.
    fn finished(&mut self, _: &mut Self::Context) {}
}
