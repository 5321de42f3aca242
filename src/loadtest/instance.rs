//! A private instance to be put under load: a database that is made for it, the simulated Realtime service on
//! a thread of ours, and `serve` as a process of its own, so that what is measured of it is its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use actors::secret::Secret;
use anyhow::{Context as _, ensure};
use rand::distr::{Alphanumeric, SampleString as _};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::target::Target;
use crate::child::{start, stop};
use crate::private_postgres::PrivatePostgres;
use crate::sim::phone::Reach;
use crate::sim::realtime;

/// What of the environment the process gets: everything else is for another one, whose database or account
/// this test must not reach.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LOG_FORMAT"];
/// More than a load test sends.
const NO_LIMIT: &str = "1000000/1m";

/// How it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// The ceiling of concurrent calls.
    pub ceiling: u16,
    /// The rate limits are those of production; otherwise as good as none.
    pub rate_limits: bool,
}

/// See the module. Dropped, it is killed; [`Instance::stop`] sees it end well.
pub struct Instance {
    pub target: Target,
    serve: Child,
    _realtime: Realtime,
    folder: TempDir,
    _postgres: PrivatePostgres,
    _cluster: TempDir,
}

impl Instance {
    pub async fn start(setup: Setup) -> anyhow::Result<Self> {
        let folder = |name| tempfile::Builder::new().prefix(name).tempdir().context("no temporary folder");
        let (cluster, folder) = (folder("switchboard-loadtest-db-")?, folder("switchboard-loadtest-")?);
        let postgres = PrivatePostgres::start(cluster.path())?;
        actors::db::migrate::migrate(postgres.url()).await?;

        let realtime = Realtime::start().await.context("the simulated Realtime service")?;
        let address = realtime.address;
        let token = Alphanumeric.sample_string(&mut rand::rng(), 32);
        let (serve, origin) = start("serve", &log(folder.path()), |command| {
            command.arg("serve").env_clear();
            command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
            command
                .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()))
                .env("BIND_ADDR", "127.0.0.1")
                .env("PORT", "0")
                .env("API_AUTH", "off")
                .env("DATABASE_URL", postgres.url())
                .env("SPOOL_DIR", folder.path().join("spool"))
                .env("PHRASES_DIR", folder.path().join("phrases"))
                .env("MAX_CONCURRENT_CALLS", setup.ceiling.to_string())
                .env("OPENAI_API_KEY", "loadtest")
                .env("OPENAI_REALTIME_URL", format!("ws://{address}/v1/realtime"))
                .env("TWILIO_AUTH_TOKEN", &token);
            if !setup.rate_limits {
                command.env("RATE_LIMIT_API", NO_LIMIT).env("RATE_LIMIT_WEBHOOK", NO_LIMIT);
            }
        })
        .await?;
        let report = Url::parse(&format!("http://{address}"))?;
        let target =
            Target::new(Url::parse(&origin)?, Reach::default(), Some(report), Some(Secret::new(token)));
        Ok(Self { target, serve, _realtime: realtime, folder, _postgres: postgres, _cluster: cluster })
    }

    /// Ends it.
    ///
    /// # Errors
    /// It did not end well; its log is named, and kept.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let ended_well = stop(&mut self.serve).await?;
        if !ended_well {
            self.folder.disable_cleanup(true);
        }
        ensure!(ended_well, "see {}", log(self.folder.path()).display());
        Ok(())
    }
}

/// The simulated service, on a thread of its own beside that of the callers.
struct Realtime {
    address: SocketAddr,
    _server: realtime::Server,
    runtime: Option<Runtime>,
}

impl Realtime {
    async fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let started = runtime.spawn(realtime::start(realtime::Options::default())).await;
        match started.context("it panicked").flatten() {
            Ok(server) => Ok(Self { address: server.addr(), _server: server, runtime: Some(runtime) }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }
}

impl Drop for Realtime {
    /// A runtime must not be waited for within another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("serve.log")
}
