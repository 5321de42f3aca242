//! What a starting process does about calls that a process left behind: it asks Twilio about each, by its SID and never
//! by absence from a list, closes the rows of those that are over, and takes up those that are not. One that does not
//! come back by itself within 2 s is redirected by REST.

use std::time::Duration;

use actix_web::web::Data;
use actors::db::OpenCall;
use actors::registry::Admission;
use actors::wire::twilio::rest::{self, CallStatus, Instructions, TwilioApi};
use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::sleep;
use tracing::Instrument as _;

use crate::app::App;

/// Twilio asks what comes next by itself when it sees the old socket's end.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(2);
/// At once; Twilio limits the requests of an account.
const AT_ONCE: usize = 4;
/// The database may be away at the start: it is asked again for an hour or so, as long as calls may last.
const TRIES: u32 = 1_000;
const TRY_EVERY: Duration = Duration::from_secs(5);

/// Takes care of every call that was left behind.
pub async fn take_up(app: Data<App>, twilio: TwilioApi) {
    let calls = found(&app).await;
    let one = |call: OpenCall| {
        let span = tracing::info_span!("left behind", call.sid = %call.call_sid);
        one(&app, &twilio, call).instrument(span)
    };
    stream::iter(calls).for_each_concurrent(AT_ONCE, one).await;
}

async fn found(app: &App) -> Vec<OpenCall> {
    for attempt in 1..=TRIES {
        match app.db.left_behind(&app.settings.instance_id).await {
            Ok(calls) => return calls,
            Err(error) if attempt == 1 => {
                tracing::warn!(%error, "calls that were left behind cannot be found yet");
            }
            Err(_) => {}
        }
        sleep(TRY_EVERY.mul_f64(rand::random_range(0.5..1.0))).await;
    }
    tracing::error!("calls that were left behind were not found");
    Vec::new()
}

async fn one(app: &App, twilio: &TwilioApi, call: OpenCall) {
    let call_sid = call.call_sid;
    match twilio.call(call_sid).await {
        Ok(Some(at_twilio)) if at_twilio.status == CallStatus::InProgress => {}
        Ok(at_twilio) => return not_on_the_line(app, &call, at_twilio).await,
        Err(error) => {
            return tracing::error!(call.sid = %call_sid, %error, "it is not known whether a call goes on");
        }
    }
    match app.db.take_over(&call, &app.settings.instance_id).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tracing::error!(call.sid = %call_sid, %error, "a call could not be taken over"),
    }
    let past = app.past(call_sid, Some(call.epoch)).await;
    let after_stream = app.voice.after_stream_url(past.epoch);
    let (from, to) = (call.from.unwrap_or_default(), call.to.unwrap_or_default());
    match app.registry.take_up(call_sid, from, to, past).await {
        Ok(Admission::Admitted { .. }) => tracing::info!(call.sid = %call_sid, "a call is taken up"),
        other => return tracing::error!(call.sid = %call_sid, ?other, "a call found no slot"),
    }
    sleep(COMES_BACK_WITHIN).await;
    if app.registry.is_live(call_sid).await {
        return;
    }
    match twilio.redirect(call_sid, Instructions::Url(&after_stream)).await {
        Ok(Some(_)) => tracing::info!(call.sid = %call_sid, "a call is fetched back"),
        Ok(None) => drop(app.registry.call_over(call_sid).await), // the caller hung up meanwhile
        Err(error) => tracing::error!(call.sid = %call_sid, %error, "a call could not be fetched back"),
    }
}

/// The call is over at Twilio, and nobody wrote its end; or it rings: then it may be here already. Where Twilio does not
/// know it, it is asked again later. A question of Twilio's that was given up may have waited in the listening socket and
/// have taken a call that is over up for nobody.
async fn not_on_the_line(app: &App, call: &OpenCall, at_twilio: Option<rest::Call>) {
    let Some(at_twilio) = at_twilio.filter(|at_twilio| at_twilio.status.is_over()) else {
        return tracing::warn!(call.sid = %call.call_sid, "a call that was left behind is not on the line");
    };
    if let Err(error) = app.registry.call_over(call.call_sid).await {
        tracing::error!(call.sid = %call.call_sid, %error, "a slot may be held for a caller who is gone");
    }
    let ended_at = at_twilio.ended_at.unwrap_or_else(Utc::now);
    match app.db.close_lost(call.call_sid, call.epoch, ended_at).await {
        Ok(_) => tracing::info!(call.sid = %call.call_sid, "a call ended while nobody had it"),
        Err(error) => tracing::error!(call.sid = %call.call_sid, %error, "a call's end could not be written"),
    }
}
