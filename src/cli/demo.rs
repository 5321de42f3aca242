//! `switchboard demo`: the whole thing on one machine, with nothing to configure. A private database, the simulated
//! Realtime service, the runtime and simulated callers, each a process of its own, so that what is measured of the
//! runtime is the runtime's alone.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::{FAILED, FINE, INTERNAL};
use crate::private_postgres::{PrivatePostgres, data_home};
use crate::settings::environment;

/// From a program's start to the line that says where it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
/// From asking a program to stop to its end.
const STOPS_WITHIN: Duration = Duration::from_secs(40);
/// The ceiling of the design, so that the default demo fills the house.
const USUAL_CEILING: u32 = 20;
/// Status callbacks a minute that the runtime takes for each call of its ceiling: for the usual one, as many as usual.
const CALLBACKS_PER_CALL: u32 = 25;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Callers at once
    #[arg(long, default_value_t = 20)]
    calls: u32,
    /// How long each of them stays on the line
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Where the runtime listens; 0 is any free port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Leave everything running when the callers have hung up
    #[arg(long)]
    keep: bool,
    /// Write the result to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return INTERNAL;
        }
    };
    match runtime.block_on(demo(&arguments)) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("the demo failed: {error:#}");
            FAILED
        }
    }
}

async fn demo(arguments: &Arguments) -> anyhow::Result<u8> {
    let home = data_home();
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let (_postgres, database_url) = match environment("DATABASE_URL") {
        Some(url) => (None, url),
        None => {
            let postgres = PrivatePostgres::start(&home.join("postgres"))?;
            let url = postgres.url().to_owned();
            (Some(postgres), url)
        }
    };
    actors::db::migrate::migrate(&database_url).await?;

    let realtime_log = home.join("demo-realtime.log");
    let (mut realtime, realtime_origin) = start("sim realtime", &realtime_log, |command| {
        command.args(["sim", "realtime", "--listen", "127.0.0.1:0"]);
    })
    .await?;
    let serve_log = home.join("demo-serve.log");
    let token = Alphanumeric.sample_string(&mut rand::rng(), 32);
    let (mut serve, origin) = start("serve", &serve_log, |command| {
        let ceiling = USUAL_CEILING.max(arguments.calls);
        command
            .arg("serve")
            .env_remove("PUBLIC_URL")
            .env("BIND_ADDR", "127.0.0.1")
            .env("PORT", arguments.port.to_string())
            .env("API_AUTH", "off")
            .env("DATABASE_URL", &database_url)
            .env("PHRASES_DIR", home.join("demo-phrases"))
            .env("MAX_CONCURRENT_CALLS", ceiling.to_string())
            .env("RATE_LIMIT_WEBHOOK", format!("{}/1m", CALLBACKS_PER_CALL * ceiling))
            .env("OPENAI_API_KEY", "demo")
            .env("OPENAI_REALTIME_URL", format!("{}/v1/realtime", realtime_origin.replacen("http", "ws", 1)))
            .env("TWILIO_AUTH_TOKEN", &token);
    })
    .await?;
    println!("dashboard: {origin}/");
    println!("log:       {}", serve_log.display());
    std::io::stdout().flush()?;

    let mut phone = switchboard()?;
    phone.args(["sim", "phone", "--url", &origin, "--realtime", &realtime_origin]);
    phone.args(["--calls", &arguments.calls.to_string(), "--seconds", &arguments.seconds.to_string()]);
    phone.args(arguments.json.iter().flat_map(|file| ["--json".as_ref(), file.as_os_str()]));
    phone.env("TWILIO_AUTH_TOKEN", &token);
    let mut phone = phone.spawn().context("cannot start the callers")?;
    let called = tokio::select! {
        status = phone.wait() => status?,
        _ = asked_to_stop() => {
            stop(&mut phone).await?;
            bail!("interrupted");
        }
    };
    if arguments.keep {
        println!("still running; Ctrl-C ends it");
        asked_to_stop().await?;
    }
    let served = stop(&mut serve).await?;
    stop(&mut realtime).await?;
    if !served {
        bail!("the runtime did not end well: see {}", serve_log.display());
    }
    Ok(if called.success() { FINE } else { FAILED })
}

/// Returns at SIGINT or SIGTERM: either ends what we started with us.
async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// This program, ended with us.
fn switchboard() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.kill_on_drop(true).stdin(Stdio::null());
    Ok(command)
}

/// Starts one of our programs and waits for the line that says where it listens; answers its origin.
async fn start(
    name: &str,
    log: &PathBuf,
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
async fn stop(child: &mut Child) -> anyhow::Result<bool> {
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
