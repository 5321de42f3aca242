//! A connection of its own to the database, past the pool, which may be used up: to `DIRECT_DATABASE_URL` if
//! it is set, past a pooler as well.

use std::time::Duration;

use actors::db::Accounts;
use actors::secret::Secret;
use tokio::time::timeout;

use crate::settings::Settings;

/// A connection that is not open by then is no help.
const OPEN_WITHIN: Duration = Duration::from_secs(4);

/// Where it leads.
pub fn url(settings: &Settings) -> Secret {
    settings.direct_database_url.clone().unwrap_or_else(|| settings.db.url.clone())
}

/// Opens it. The caller bounds how many are open at once.
///
/// # Errors
/// There is none within 4 s: the cause.
pub async fn open(url: &Secret) -> Result<Accounts, String> {
    let opened = timeout(OPEN_WITHIN, Accounts::connect(url.expose())).await;
    let connected = opened.map_err(|_| format!("no connection within {OPEN_WITHIN:?}"))?;
    connected.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
