//! A process that serves, from its socket to its end: run, drain, stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use actix_web::web;
use actors::db::{Db, SchemaState};
use actors::wire::twilio::rest::TwilioApi;
use anyhow::Context as _;

use crate::app::{App, StartError};
use crate::connections::{self, Bounds, Door};
use crate::descriptors::{self, Room};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{agent, alerts, auth, background, claim, http, left_behind, sockets, tls};

mod drain;
mod metrics_door;

/// HTTP workers. With one, a call's sockets and its actor share a thread; with more, its stream is mostly
/// accepted on another one, and its frames cross over, for about a sixth more CPU a call
/// (`benches/call_path`).
const WORKERS: usize = 1;
/// How long requests under way, and then unwritten records, are waited for at the very end.
pub(crate) const FINISH_DEADLINE: Duration = Duration::from_secs(5);
/// How long the last recordings of the flight recorder are waited for.
const RECORDER_DEADLINE: Duration = Duration::from_secs(1);
/// How long a process takes to stop at most: for the files in deploy/. The last second is that of `leave`.
#[cfg(test)]
pub(crate) const LONGEST_STOP: Duration = Duration::from_secs(
    drain::DRAIN_DEADLINE.as_secs()
        + drain::HAND_OVER_DEADLINE.as_secs()
        + 2 * FINISH_DEADLINE.as_secs()
        + actors::jobs::STOP_DEADLINE.as_secs()
        + RECORDER_DEADLINE.as_secs()
        + 1,
);

/// Serves until a signal, or until a permanent actor has failed too often, which is like the second signal:
/// the first SIGTERM or SIGINT drains, a second one hands the live calls over without waiting for their end,
/// a third one stops at once.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    run_on(settings, WORKERS).await
}

/// The same with so many HTTP workers, for the bench that compares.
pub async fn run_on(settings: Settings, workers: usize) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let calls = settings.registry.max_concurrent_calls;
    let (needed, allowed) = (descriptors::needed(calls, settings.db.pool_max), descriptors::raise());
    if needed > allowed {
        return Err(StartError::Descriptors { calls, needed, allowed });
    }
    let listeners = sockets::listen(settings.http.bind)?;
    sockets::check(&listeners, |address| settings.forbids(address))?;
    let address = match listeners.first() {
        Some(listener) => listener.local_addr().map_err(StartError::Inherited)?,
        None => settings.http.bind,
    };
    let scheme = settings.scheme();
    let app = web::Data::new(App::start(settings, address)?);
    check_schema(&app.db).await?;
    if !claim::at_start(&app, &mut signals).await? {
        return Ok(());
    }

    let data = app.clone();
    let routes = move || {
        data.tasks.count_worker(); // each has a runtime of its own
        actix_web::App::new().app_data(data.clone()).configure(http::routes)
    };
    let door = door(&app, workers, descriptors::room(allowed, calls, app.settings.db.pool_max));
    let server =
        connections::serve(listeners, &door, routes).map_err(|cause| StartError::Bind { address, cause })?;
    let handle = server.handle();
    let metrics_door = metrics_door::open(&app)?;
    let serving = actix_rt::spawn(server);
    thread::spawn(move || announce(scheme, address)); // whoever started us may not read it
    if let (Some(shown), Some(settings)) = (&app.tls, &app.settings.tls) {
        actix_rt::spawn(tls::look_after(shown.clone(), settings.clone()));
    }
    actix_rt::spawn(agent::look_after(app.clone(), signals.reloads()));
    actix_rt::spawn(http::health::tell(app.clone()));
    actix_rt::spawn(auth::first_user::watch(app.clone()));
    let twilio = app.settings.twilio.api().context("the address of Twilio's REST API")?;
    let (instance, keep) = (&app.settings.instance_id, app.settings.retention);
    let (db, counts) = (app.db.operations(), app.voice.pump.metrics.of_actor("jobs"));
    let jobs = background::start(db, instance, twilio.clone(), keep, counts, &app.metrics)
        .context("the metrics of the jobs")?;
    let alerts = alerts::start(&app).context("the way to Twilio for alerts")?;
    actix_rt::spawn(look_after(app.clone(), twilio));

    let (end, drained) = drain::serve(&app, serving, &handle, &mut signals).await;
    tokio::join!(jobs.stop(), alerts.stop());
    if let Some(door) = metrics_door {
        door.stop(false).await;
    }
    let unwritten = app.db.finish(FINISH_DEADLINE).await;
    if app.recorder.as_ref().is_some_and(|recorder| !recorder.close(RECORDER_DEADLINE)) {
        tracing::warn!("the last recordings of the flight recorder are not whole");
    }
    let operations = app.db.operations();
    if operations.has_claimed()
        && let Err(error) = operations.leave(&app.settings.instance_id).await
    {
        tracing::warn!(%error, "others do not know yet that this instance has ended");
    }
    tracing::info!(drained, unwritten, "stopped");
    end.into_result()
}

/// Once the process has its name for itself, it takes care of the calls that were left behind under it.
async fn look_after(app: web::Data<App>, twilio: Option<TwilioApi>) {
    claim::later(&app).await;
    if let Some(twilio) = twilio {
        left_behind::take_up(app, twilio).await;
    }
}

fn door(app: &App, workers: usize, room: Room) -> Door {
    Door {
        workers,
        bounds: Bounds { keep_alive: app.settings.http.keep_alive, most: room.strangers / workers },
        most_with_calls: room.connections / workers,
        ends: app.connection_ends.clone(),
        tls: app.tls.clone().map(tls::acceptor),
        finish_within: FINISH_DEADLINE,
    }
}

/// A schema too old would fail every write: better not to start. A database that is away is no reason not to.
pub(crate) async fn check_schema(db: &Db) -> Result<(), StartError> {
    match db.check_schema().await {
        Ok(SchemaState::Older { missing }) => return Err(StartError::SchemaOlder { missing }),
        Ok(SchemaState::Hidden { role }) => return Err(StartError::NotTheOwner { role }),
        Ok(SchemaState::Newer) => tracing::warn!("the database's schema is newer than this program"),
        Ok(SchemaState::Fits | SchemaState::Unknown) => {}
        Err(error) => tracing::warn!(%error, "starting without the database"),
    }
    Ok(())
}

/// The first line on standard output, for people and for programs that start us.
fn announce(scheme: &str, address: SocketAddr) {
    let mut stdout = std::io::stdout();
    let said =
        writeln!(stdout, "switchboard listening on {scheme}://{address}").and_then(|()| stdout.flush());
    if let Err(error) = said {
        tracing::warn!(%error, "standard output is closed");
    }
}
