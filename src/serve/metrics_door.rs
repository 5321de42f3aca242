//! `METRICS_ADDR`: an address that answers `/metrics` and nothing else, on a thread of its own. It is open
//! from the start of the process to the end of the last call.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;

use crate::app::{App, StartError};
use crate::connections::{self, Bounds, Door};
use crate::{http, sockets};

/// Some Prometheus servers and people ask at a time. Of more connections, an idle one has to go.
const CONNECTIONS: usize = 16;
/// A scrape under way is not waited for at the end.
const FINISH_WITHIN: Duration = Duration::ZERO;

/// Opens it, if there is such an address.
pub(super) fn open(app: &Data<App>) -> Result<Option<ServerHandle>, StartError> {
    let Some(address) = app.settings.http.metrics_addr else { return Ok(None) };
    let cannot = |cause| StartError::BindMetrics { address, cause };
    let listener = sockets::bind(address).map_err(cannot)?;
    let door = Door {
        workers: 1,
        bounds: Bounds { keep_alive: app.settings.http.keep_alive, most: CONNECTIONS },
        most_with_calls: CONNECTIONS,
        ends: app.connection_ends.clone(),
        tls: None,
        finish_within: FINISH_WITHIN,
    };
    let data = app.clone();
    let routes = move || {
        data.tasks.count_worker();
        actix_web::App::new().app_data(data.clone()).configure(http::metrics_routes)
    };
    let server = connections::serve(vec![listener], &door, routes).map_err(cannot)?;
    let handle = server.handle();
    actix_rt::spawn(async move {
        if let Err(cause) = server.await {
            tracing::error!(%cause, "the metrics' address is closed");
        }
    });
    Ok(Some(handle))
}
