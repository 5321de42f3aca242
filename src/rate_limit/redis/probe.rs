//! Asks a Redis once whether it counts requests, for a check before the first call.

use std::time::Duration;

use super::link::connect;
use super::script;
use super::settings::RedisSettings;
use crate::rate_limit::Quota;

/// It writes, so that a replica or a full Redis is found out. It is gone a second later.
const QUOTA: Quota = Quota { requests: u32::MAX, window: Duration::from_secs(1) };
const KEY: &str = "switchboard:limit:{preflight}";

/// Connects and has one decision made. Has no deadline of its own: its caller has one.
///
/// # Errors
/// Why Redis does not decide; without the password.
pub async fn decides(settings: &RedisSettings) -> Result<(), String> {
    let (mut connection, driver) = connect(settings).await?;
    tokio::select! {
        decided = script::decide(&mut connection, KEY, QUOTA) => {
            decided.map(|_| ()).map_err(|error| error.to_string())
        }
        () = driver => Err("the connection was closed".to_owned()),
    }
}
