//! One decision in Redis: a script, so that it is atomic and takes one round trip.
//!
//! It decides as [`SlidingWindow`](crate::rate_limit::window::SlidingWindow) does, with the same slots. Its clock
//! is that of the Redis server.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd};
use sha1::{Digest as _, Sha1};

use crate::rate_limit::window::{SLOTS, slot_micros};
use crate::rate_limit::{Decision, Quota};

/// Decides; the line before it sets the clock.
const BODY: &str = include_str!("decision.lua");
const SERVER_CLOCK: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";

static DECISION: LazyLock<Script> = LazyLock::new(|| Script::new(SERVER_CLOCK));

/// A script, and the name that Redis has for it.
pub(super) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new(clock: &str) -> Self {
        let text = format!("{clock}{BODY}");
        let hash = format!("{:x}", Sha1::digest(&text));
        Self { text, hash }
    }
}

/// Asks Redis for a decision on one more request of the client with this key.
///
/// # Errors
/// The connection failed, or Redis does not run the script.
pub(super) async fn decide(
    connection: &mut MultiplexedConnection,
    key: &str,
    quota: Quota,
) -> RedisResult<Decision> {
    run(connection, &DECISION, key, quota, None).await
}

async fn run(
    connection: &mut MultiplexedConnection,
    script: &Script,
    key: &str,
    quota: Quota,
    now_micros: Option<u64>,
) -> RedisResult<Decision> {
    let command = |name: &str, script: &str| {
        let mut command = cmd(name);
        command.arg(script).arg(1).arg(key).arg(slot_micros(quota.window)).arg(quota.requests);
        command.arg(expires_after(quota)).arg(now_micros);
        command
    };
    let known = command("EVALSHA", &script.hash).query_async(connection).await;
    let answer = match known {
        Err(error) if is_unknown(&error) => command("EVAL", &script.text).query_async(connection).await?,
        answer => answer?,
    };
    let (allowed, remaining, more_in_micros): (u8, u32, u64) = answer;
    Ok(Decision { is_allowed: allowed == 1, remaining, more_in: Duration::from_micros(more_in_micros) })
}

/// Redis has been restarted, or its scripts were flushed.
fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// In milliseconds: when the last slot is out of view, whatever the clock did meanwhile.
fn expires_after(quota: Quota) -> u64 {
    (slot_micros(quota.window) * (SLOTS as u64 + 1)).div_ceil(1_000)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The same body, under a clock of the test.
    static AT_A_TIME: LazyLock<Script> = LazyLock::new(|| Script::new("local now = tonumber(ARGV[4])\n"));

    /// A decision at this time since 1970.
    pub(in crate::rate_limit::redis) async fn decide_at(
        connection: &mut MultiplexedConnection,
        key: &str,
        quota: Quota,
        now: Duration,
    ) -> RedisResult<Decision> {
        run(connection, &AT_A_TIME, key, quota, Some(now.as_micros() as u64)).await
    }

    #[test]
    fn a_key_expires_when_its_last_request_is_out_of_view() {
        let quota = |seconds| Quota { requests: 1, window: Duration::from_secs(seconds) };
        assert_eq!(expires_after(quota(60)), 64_000);
        assert_eq!(expires_after(quota(1)), 1_067);
    }

    #[test]
    fn the_script_declares_its_key_and_asks_for_the_time_of_the_server() {
        assert!(DECISION.text.contains("redis.call('TIME')") && !DECISION.text.contains("ARGV[4]"));
        let keys = DECISION.text.matches("redis.call(").count() - DECISION.text.matches("('TIME'").count();
        assert_eq!(DECISION.text.matches("', KEYS[1]").count(), keys, "every command names the declared key");
    }
}
