//! What a process does about calls that another one left behind, when it starts and then every 30 s: it asks
//! Twilio about each, by its SID and never by absence from a list, closes the rows of those that are over,
//! and takes up those that are not. One that does not come back by itself within 2 s is redirected by REST.
//! What fails is tried again the next time.
//!
//! One look proves nothing of another instance: after an outage of the database no heartbeat is fresh, and a
//! call of a living instance would be taken from it. Two looks do. Only calls that name this instance are
//! seen to at the first one.

use std::collections::HashSet;
use std::time::Duration;

use actix_web::web::Data;
use actors::backoff::jittered;
use actors::db::OpenCall;
use actors::registry::Answer;
use actors::wire::twilio::rest::{self, CallStatus, Instructions, TwilioApi};
use actors::wire::twilio::sid::CallSid;
use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::sleep;
use tracing::Instrument as _;

use crate::app::App;
use crate::resume;

/// Twilio asks what comes next by itself when it sees the old socket's end.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(2);
/// At once; Twilio limits the requests of an account.
const AT_ONCE: usize = 4;
/// At the start the database may be away: it is asked again soon.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// The second look; with its jitter it comes after 7 s at the earliest. A living instance sends a heartbeat
/// every 5 s.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(14);
/// Another instance may go at any time. An instance that is not heard of for 15 s is gone.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Takes care of every call that is left behind, until the process goes down.
pub async fn take_up(app: Data<App>, twilio: TwilioApi) {
    let instance = &app.settings.instance_id;
    let mut seen: Option<HashSet<OpenCall>> = None;
    while !app.is_ending() {
        if app.is_draining() {
            sleep(TRY_EVERY).await; // an operator wants no more calls here, for now
            continue;
        }
        let pause = match app.db.operations().left_behind(instance).await {
            Ok(found) => {
                let pause = if seen.is_none() { LOOK_AGAIN_AFTER } else { LOOK_EVERY };
                if let Ok(picture) = app.registry.picture().await {
                    let here = picture.calls.iter().map(|call| call.call_sid).collect();
                    all(&app, &twilio, due(&found, instance, seen.as_ref(), &here)).await;
                    seen = Some(found.into_iter().collect());
                }
                pause
            }
            Err(error) => {
                tracing::warn!(%error, "calls that were left behind cannot be found yet");
                if seen.is_none() { TRY_EVERY } else { LOOK_EVERY }
            }
        };
        sleep(jittered(pause, rand::random())).await;
    }
}

/// Whom to ask about: at the first look those that name this instance; later those that nobody has taken
/// since the look before, and that are not here. The time between two looks is for an instance that comes
/// back with its database, and for ends that wait to be written.
fn due(
    found: &[OpenCall],
    instance: &str,
    seen: Option<&HashSet<OpenCall>>,
    here: &HashSet<CallSid>,
) -> Vec<OpenCall> {
    let is_due = |call: &&OpenCall| match seen {
        None => call.instance == instance,
        Some(seen) => seen.contains(*call) && !here.contains(&call.call_sid),
    };
    found.iter().filter(is_due).cloned().collect()
}

async fn all(app: &App, twilio: &TwilioApi, calls: Vec<OpenCall>) {
    let one = |call: OpenCall| {
        let span = tracing::info_span!("left behind", call.sid = %call.call_sid);
        one(app, twilio, call).instrument(span)
    };
    stream::iter(calls).for_each_concurrent(AT_ONCE, one).await;
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
    match app.db.operations().take_over(&call, &app.settings.instance_id).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return tracing::error!(call.sid = %call_sid, %error, "a call could not be taken over"),
    }
    let past = resume::past(&app.db, call_sid, Some(call.epoch)).await;
    let after_stream = app.voice.documents.after_stream_by_rest(past.epoch);
    let (from, to) = (call.from.unwrap_or_default(), call.to.unwrap_or_default());
    match app.registry.take_up(call_sid, from, to, past).await {
        Ok(Answer::Connect { .. }) => {
            tracing::info!(call.sid = %call_sid, "a call is taken up");
            sleep(COMES_BACK_WITHIN).await;
        }
        // It hears so at once: whoever had it is gone, and Twilio may not have noticed.
        Ok(Answer::Next(next)) => {
            tracing::warn!(call.sid = %call_sid, next = next.as_str(), "a call found no slot");
        }
        other => return tracing::error!(call.sid = %call_sid, ?other, "a call found no slot"),
    }
    if app.registry.is_live(call_sid).await {
        return;
    }
    match twilio.redirect(call_sid, Instructions::Url(&after_stream)).await {
        Ok(Some(_)) => tracing::info!(call.sid = %call_sid, "a call is fetched back"),
        Ok(None) => drop(app.registry.call_over(call_sid).await), // the caller hung up meanwhile
        Err(error) => tracing::error!(call.sid = %call_sid, %error, "a call could not be fetched back"),
    }
}

/// The call is over at Twilio, and nobody wrote its end; or it rings: then it may be here already. Where
/// Twilio does not know it, it is asked again later. A question of Twilio's that was given up may have waited
/// in the listening socket and have taken a call that is over up for nobody.
async fn not_on_the_line(app: &App, call: &OpenCall, at_twilio: Option<rest::Call>) {
    let Some(at_twilio) = at_twilio.filter(|at_twilio| at_twilio.status.is_over()) else {
        return tracing::warn!(call.sid = %call.call_sid, "a call that was left behind is not on the line");
    };
    if let Err(error) = app.registry.call_over(call.call_sid).await {
        tracing::error!(call.sid = %call.call_sid, %error, "a slot may be held for a caller who is gone");
    }
    let ended_at = at_twilio.ended_at.unwrap_or_else(Utc::now);
    match app.db.operations().close_lost(call.call_sid, call.epoch, ended_at).await {
        Ok(_) => tracing::info!(call.sid = %call.call_sid, "a call ended while nobody had it"),
        Err(error) => tracing::error!(call.sid = %call.call_sid, %error, "a call's end could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u8, instance: &str) -> OpenCall {
        OpenCall {
            call_sid: format!("CA{number:032x}").parse().unwrap(),
            epoch: 1,
            from: None,
            to: None,
            started_at: chrono::DateTime::UNIX_EPOCH,
            instance: instance.to_owned(),
        }
    }

    #[test]
    fn a_starting_process_asks_at_once_about_its_own_calls_and_about_those_of_others_at_its_second_look() {
        let (found, nobody) = ([call(1, "silent"), call(2, "own")], HashSet::new());
        assert_eq!(
            due(&found, "own", None, &nobody),
            [call(2, "own")],
            "no heartbeat is fresh after an outage"
        );
        let seen = HashSet::from(found.clone());
        assert_eq!(due(&found[..1], "own", Some(&seen), &nobody), [call(1, "silent")], "it stays silent");
        assert_eq!(due(&[], "own", Some(&seen), &nobody), [], "it is heard of again");
    }

    #[test]
    fn a_call_that_nobody_has_at_two_looks_is_asked_about_later_too() {
        let found = [call(1, "gone"), call(2, "own"), call(3, "own")];
        let here = HashSet::from([found[2].call_sid]);
        let nothing = HashSet::new();
        assert_eq!(due(&found, "own", Some(&nothing), &here), [], "an instance may be about to come back");
        let seen: HashSet<_> = found.iter().cloned().collect();
        assert_eq!(
            due(&found, "own", Some(&seen), &here),
            found[..2],
            "not about one that is on the line here"
        );
        assert_eq!(due(&found, "own", Some(&seen), &here), found[..2], "what failed is tried again");
        let taken = [call(1, "other")];
        assert_eq!(due(&taken, "own", Some(&seen), &here), [], "another has taken it meanwhile");
    }
}
