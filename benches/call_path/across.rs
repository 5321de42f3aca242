//! The program with a second HTTP worker, so that a call's stream is accepted on another thread than its
//! actor's.
//!
//! Connections go to the workers in turn, and the load makes two for each call, one call after the other: the
//! first worker has all webhooks, and with them the calls' actors; the second one has all streams. It is
//! built with the benches, and can be told to panic.

use anyhow::anyhow;
use switchboard::settings::{Settings, environment};
use switchboard::{logging, serve};

const WORKERS: usize = 2;

/// Serves until it is killed, as `switchboard serve` does.
pub fn run() -> anyhow::Result<()> {
    let settings = Settings::read(environment).map_err(|faults| anyhow!("{faults}"))?;
    logging::start(&settings.log);
    actix_rt::System::new().block_on(serve::run_on(settings, WORKERS))?;
    Ok(())
}
