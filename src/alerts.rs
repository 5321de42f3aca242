//! The alerts of a process that serves: what they are judged by, and who is told.

use actix_web::web::{self, Data};
use actors::alerts::{self, AlertSettings, Alerts, Source, Way};
use actors::wire::twilio::rest::BadBaseUrl;
use futures_util::FutureExt as _;

use crate::app::App;
use crate::http::health;

/// Starts the actor on the current arbiter.
///
/// # Errors
/// The REST API of Twilio has no usable address.
pub fn start(app: &Data<App>) -> Result<Alerts, BadBaseUrl> {
    let settings = &app.settings;
    let public_host = settings.http.public_url.as_ref().and_then(|url| url.host_str());
    // Instances behind one address have their incidents together.
    let group = public_host.unwrap_or(&settings.instance_id);
    let ways = Way::all(&settings.alerts, &settings.twilio, group)?;
    if ways.is_empty() {
        tracing::warn!("alerts reach nobody: set URGENT_NOTIFICATION_NUMBER or ALERT_WEBHOOK_URL");
    }
    let page = settings.http.public_url.as_ref().map(|url| url.as_str().to_owned());
    Ok(Alerts::start(
        &AlertSettings { page, ..settings.alerts.clone() },
        ways,
        source(app.clone()),
        app.db.accounts().alerts(),
        &settings.instance_id,
        app.alerts.clone(),
        app.urgent.clone(),
        app.alert_metrics.clone(),
        app.voice.pump.metrics.of_actor("alerts"),
    ))
}

/// Reads the metrics on a thread of its own, as a scrape does: no call waits for it.
fn source(app: Data<App>) -> Source {
    Box::new(move || {
        let state = health::state(&app);
        app.health_metrics.show(&state.causes, &state.warnings);
        let metrics = app.metrics.clone();
        let read = web::block(move || alerts::reading::sample(&metrics.gather()));
        async move { read.await.ok() }.boxed_local()
    })
}
