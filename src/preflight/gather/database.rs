//! Looks at the database, on connections of its own.

use actors::db::{Address, Inspection, inspect};
use actors::secret::Secret;
use chrono::Utc;
use tokio::time::timeout;

use super::late;
use crate::preflight::DEADLINE;
use crate::preflight::facts::{Asked, Direct};

/// What was found, and by how many milliseconds the database's clock is ahead of ours.
pub async fn look(url: &str) -> Asked<(Inspection, i64)> {
    let asked = timeout(DEADLINE, inspect(url)).await.map_err(|_| late())?;
    let found = asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    // The answer took a part of a second, which is nothing among the 30 s that count.
    let ahead_ms = (found.now - Utc::now()).num_milliseconds();
    Ok((found, ahead_ms))
}

/// Where the direct connection leads; none without one.
pub async fn direct(url: Option<&Secret>) -> Option<Direct> {
    let url = url?.expose();
    let address = Address::of(url).map_err(|error| error.to_string());
    let is_transaction_pooler = look(url).await.map(|(found, _)| found.is_transaction_pooler);
    Some(Direct { address, is_transaction_pooler })
}
