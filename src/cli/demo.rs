//! `switchboard demo`: the whole thing on one machine, with nothing to configure. A private database, the
//! simulated Realtime service, the runtime and simulated callers, each a process of its own, so that what is
//! measured of the runtime is the runtime's alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, bail};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::process::Child;

use super::{FAILED, FINE, INTERNAL};
use crate::child::{asked_to_stop, start, stop, switchboard};
use crate::private_postgres::{PrivatePostgres, data_home};

/// The ceiling of the design, so that the default demo fills the house.
const USUAL_CEILING: u32 = 20;
/// Status callbacks a minute that the runtime takes for each call of its ceiling: for the usual one, as many
/// as usual.
const CALLBACKS_PER_CALL: u32 = 25;
/// Within that time a caller hears an answer, a filler or a person, whatever the service does.
const LONGEST_SILENCE_SECONDS: &str = "40";
/// Who takes a call over.
const PERSON: &str = "+14155550123";

/// What the service does wrong where that is asked for. Each is something that a conversation gets over.
const FAULTS: &[&str] = &[
    "errors=10",
    "no-sound=10",
    "never-done=10",
    "already-active=20",
    "ignores-cancel=20",
    "repeat=response.done",
    "benign-errors",
    "close=25000",
];

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
    /// Use this database instead of a private one: it is migrated, and simulated calls are written to it
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Let the simulated Realtime service refuse, stall, repeat and lose its thread
    #[arg(long)]
    faults: bool,
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
    let (_postgres, database_url) = match &arguments.database_url {
        Some(url) => (None, url.clone()),
        None => {
            let postgres = PrivatePostgres::start(&home.join("postgres"))?;
            let url = postgres.url().to_owned();
            (Some(postgres), url)
        }
    };
    actors::db::migrate::migrate(&database_url).await?;

    let token = Alphanumeric.sample_string(&mut rand::rng(), 32);
    let demo = Demo { arguments, home, token };
    let (mut realtime, realtime_origin) = demo.starts_the_service().await?;
    let serve_log = demo.home.join("demo-serve.log");
    let (mut serve, origin) = demo.starts_the_runtime(&serve_log, &database_url, &realtime_origin).await?;
    println!("dashboard: {origin}/");
    println!("log:       {}", serve_log.display());
    if cfg!(debug_assertions) {
        println!("build:     unoptimised; a released program takes less time for each frame");
    }
    println!("{} calls of about {} s begin", arguments.calls, arguments.seconds);
    std::io::stdout().flush()?;

    let called = demo.calls(&origin, &realtime_origin).await?;
    if arguments.keep {
        println!("still running; Ctrl-C ends it. To call it again, from another terminal:");
        println!("{}", call_again(&demo.token, &origin, &realtime_origin));
        std::io::stdout().flush()?;
        asked_to_stop().await?;
    }
    let served = stop(&mut serve).await?;
    stop(&mut realtime).await?;
    if !served {
        bail!("the runtime did not end well: see {}", serve_log.display());
    }
    Ok(if called.success() { FINE } else { FAILED })
}

/// What the processes of the demo have in common.
struct Demo<'a> {
    arguments: &'a Arguments,
    /// Where their files are.
    home: PathBuf,
    /// With which the callers sign what they send.
    token: String,
}

impl Demo<'_> {
    /// Starts the simulated Realtime service; answers its origin as well.
    async fn starts_the_service(&self) -> anyhow::Result<(Child, String)> {
        start("sim realtime", &self.home.join("demo-realtime.log"), |command| {
            command.args(["sim", "realtime", "--listen", "127.0.0.1:0"]);
            let faults = if self.arguments.faults { FAULTS } else { &[] };
            command.args(faults.iter().flat_map(|fault| ["--fault", fault]));
        })
        .await
    }

    /// Starts the runtime; answers its origin as well.
    async fn starts_the_runtime(
        &self,
        log: &Path,
        database_url: &str,
        realtime_origin: &str,
    ) -> anyhow::Result<(Child, String)> {
        let Arguments { calls, port, faults, .. } = *self.arguments;
        let ceiling = USUAL_CEILING.max(calls);
        start("serve", log, |command| {
            command
                .arg("serve")
                .env_clear()
                .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(concerns_the_machine)))
                .env("BIND_ADDR", "127.0.0.1")
                .env("PORT", port.to_string())
                .env("API_AUTH", "off")
                .env("DATABASE_URL", database_url)
                .env("PHRASES_DIR", self.home.join("demo-phrases"))
                .env("MAX_CONCURRENT_CALLS", ceiling.to_string())
                .env("RATE_LIMIT_WEBHOOK", format!("{}/1m", CALLBACKS_PER_CALL * ceiling))
                .env("OPENAI_API_KEY", "demo")
                .env(
                    "OPENAI_REALTIME_URL",
                    format!("{}/v1/realtime", realtime_origin.replacen("http", "ws", 1)),
                )
                .env("TWILIO_AUTH_TOKEN", &self.token)
                .envs(faults.then_some(("HUMAN_FALLBACK_NUMBER", PERSON)));
        })
        .await
    }

    /// Makes all the calls; answers how their program ended.
    async fn calls(&self, origin: &str, realtime_origin: &str) -> anyhow::Result<ExitStatus> {
        let Arguments { calls, seconds, faults, ref json, .. } = *self.arguments;
        let mut phone = switchboard()?;
        phone.args(["sim", "phone", "--url", origin, "--realtime", realtime_origin]);
        phone.args(["--calls", &calls.to_string(), "--seconds", &seconds.to_string()]);
        if faults {
            phone.args(["--person-counts", "--patience", LONGEST_SILENCE_SECONDS]);
        }
        phone.args(json.iter().flat_map(|file| ["--json".as_ref(), file.as_os_str()]));
        phone.env("TWILIO_AUTH_TOKEN", &self.token);
        let mut phone = phone.spawn().context("cannot start the callers")?;
        tokio::select! {
            status = phone.wait() => Ok(status?),
            _ = asked_to_stop() => {
                stop(&mut phone).await?;
                bail!("interrupted");
            }
        }
    }
}

/// Whether the runtime of the demo inherits this variable. The settings of a real installation, such as its
/// database or its accounts, must not reach it.
fn concerns_the_machine(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "TMPDIR" | "LANG" | "TZ" | "RUST_LOG" | "RUST_BACKTRACE" | "LOG_FORMAT")
        || name.starts_with("XDG_")
}

/// The command that calls the demo's runtime again, ready to paste.
fn call_again(token: &str, origin: &str, realtime_origin: &str) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "switchboard".into(), |path| path.display().to_string());
    format!(
        "TWILIO_AUTH_TOKEN={token} {program} sim phone --url {origin} --realtime {realtime_origin} --calls 1 --seconds 20"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::sim::realtime::Fault;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_real_installation_in_the_environment_does_not_reach_the_demo() {
        for name in [
            "DATABASE_URL",
            "SUPABASE_URL",
            "DIRECT_DATABASE_URL",
            "REDIS_URL",
            "PUBLIC_URL",
            "TWILIO_ACCOUNT_SID",
            "OPENAI_API_KEY",
            "HUMAN_FALLBACK_NUMBER",
            "AGENT_FILE",
            "SPOOL_DIR",
            "INSTANCE_ID",
            "LISTEN_FDS",
        ] {
            assert!(!concerns_the_machine(name), "{name}");
        }
        assert!(["PATH", "HOME", "XDG_DATA_HOME", "RUST_LOG"].into_iter().all(concerns_the_machine));
        assert_eq!(Command::parse_from(["demo"]).arguments.database_url, None, "unless a flag names it");
    }

    #[test]
    fn the_faults_are_faults_that_the_service_knows() {
        for fault in FAULTS {
            fault.parse::<Fault>().unwrap();
        }
    }

    #[test]
    fn the_command_that_calls_again_has_the_token_and_both_addresses() {
        let command = call_again("t0ken", "http://127.0.0.1:8080", "http://127.0.0.1:9100");
        assert!(command.starts_with("TWILIO_AUTH_TOKEN=t0ken "), "{command}");
        assert!(
            command.contains("--url http://127.0.0.1:8080 --realtime http://127.0.0.1:9100"),
            "{command}"
        );
    }
}
