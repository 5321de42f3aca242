//! A process takes its `INSTANCE_ID` before it serves: calls that name it are fetched back by whoever has it.
//!
//! While the database is away the process serves without it, sends no heartbeat and fetches no call back.

use std::time::Duration;

use actors::backoff::jittered;
use tokio::time::sleep;

use crate::app::{App, StartError};
use crate::signals::Signals;

/// While the database is away it is asked again after this, with jitter.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// While another process has the name it is asked again after this, with jitter.
const TAKEN_EVERY: Duration = Duration::from_secs(30);

/// Takes the name and begins to send heartbeats. False: a signal came first. Without the database it goes on
/// without.
///
/// # Errors
/// Another live process has the name.
pub(crate) async fn at_start(app: &App, signals: &mut Signals) -> Result<bool, StartError> {
    let (db, instance) = (app.db.operations(), &app.settings.instance_id);
    let claimed = tokio::select! {
        claimed = db.claim(instance) => claimed,
        _ = signals.next() => return Ok(false),
    };
    match claimed {
        Ok(true) => db.beat(instance),
        Ok(false) => return Err(StartError::InstanceTaken(instance.clone())),
        Err(error) => tracing::warn!(%error, "starting without knowing whether INSTANCE_ID is free"),
    }
    Ok(true)
}

/// Returns when the process has its name, or is about to end.
pub(crate) async fn later(app: &App) {
    let (db, instance) = (app.db.operations(), &app.settings.instance_id);
    while !db.has_claimed() && !app.is_ending() {
        let pause = match db.claim(instance).await {
            Ok(true) => return db.beat(instance),
            Ok(false) => {
                tracing::error!(instance, "another live process has this INSTANCE_ID: give each its own");
                TAKEN_EVERY
            }
            Err(_) => TRY_EVERY, // logged where it is noticed
        };
        sleep(jittered(pause, rand::random())).await;
    }
}
