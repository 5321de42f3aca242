//! Our own programs as processes beside us: started, told to stop, never left behind.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// From a program's start to the line that says where it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
/// From asking a program to stop to its end.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// Returns at SIGINT or SIGTERM: either ends what we started with us.
pub async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// This program, ended with us.
pub fn switchboard() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}

/// Starts one of our programs and waits for the line that says where it listens; answers its origin.
pub async fn start(
    name: &str,
    log: &Path,
    configure: impl FnOnce(&mut Command),
) -> anyhow::Result<(Child, String)> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = switchboard()?;
    command.stdout(Stdio::piped()).stderr(file);
    configure(&mut command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    let stdout = child.stdout.take().context("the program has no standard output")?;
    let line = timeout(LISTENS_WITHIN, BufReader::new(stdout).lines().next_line()).await;
    let origin = match line {
        Ok(Ok(Some(line))) => line.split_once("listening on ").map(|(_, origin)| origin.to_owned()),
        _ => None,
    };
    match origin {
        Some(origin) => Ok((child, origin)),
        None => {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("`{name}` did not start: {}", said.trim())
        }
    }
}

/// Asks a program to stop; true if it then ended well.
pub async fn stop(child: &mut Child) -> anyhow::Result<bool> {
    if let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    match timeout(STOPS_WITHIN, child.wait()).await {
        Ok(status) => Ok(status?.success()),
        Err(_) => {
            child.kill().await?;
            Ok(false)
        }
    }
}
