//! A private PostgreSQL cluster, made from the system's binaries: for `demo`, and for tests.
//!
//! It listens on a unix socket in a short temporary folder and nowhere else, and stops with the program: also
//! when the program is killed, because the kernel then tells the server to shut down. Started as root, it
//! runs as `postgres` or `nobody`, since PostgreSQL refuses to be root.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

/// The superuser of the cluster.
const SUPERUSER: &str = "switchboard";
/// Recovery after a crash included.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// A clean stop takes some milliseconds; after this the server is killed, and recovers at its next start.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How often the server is looked at while it starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where Debian and its kin put the binaries: in `<version>/bin` below it.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The path of a unix socket has 107 bytes at most; the temporary folder gets the half of them.
const LONGEST_TEMP_DIR: usize = 50;

/// How the folders of the sockets are called.
const SOCKET_DIR: &str = "switchboard-pg-";
/// An empty one of this age is not of a server that is starting.
const SWEEP_AFTER: Duration = Duration::from_secs(120);

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum PrivatePostgresError {
    #[error("PostgreSQL is not installed: `apt-get install postgresql`, or set DATABASE_URL")]
    NotInstalled,
    #[error("the private database in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as")]
    NoUser,
    #[error("PostgreSQL runs as `{user}`, who may not enter {}", .folder.display())]
    NoWay { user: String, folder: PathBuf },
    #[error("PostgreSQL did not start: {0}")]
    Failed(String),
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

/// A running cluster; dropping it stops it.
pub struct PrivatePostgres {
    url: String,
    keeper: Keeper,
}

impl PrivatePostgres {
    /// Starts the cluster in `data_dir`, making it first if there is none. Blocks: the first time for about a
    /// second, then for less.
    pub fn start(data_dir: &Path) -> Result<Self, PrivatePostgresError> {
        let data_dir = std::path::absolute(data_dir).map_err(at(data_dir))?;
        let (url, keeper) = Keeper::start(move || Server::start(&data_dir))?;
        Ok(Self { url, keeper })
    }

    /// Where it is: `postgres://…`, by unix socket.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and waits until it has stopped; the same as dropping it.
    pub fn stop(self) {
        drop(self.keeper);
    }
}

/// Where this program keeps its data: `$XDG_DATA_HOME/switchboard`, else `~/.local/share/switchboard`; as
/// root `/var/lib/switchboard`, because the user that runs PostgreSQL may not enter root's home.
pub fn data_home() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/lib/switchboard");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    base.unwrap_or_else(std::env::temp_dir).join("switchboard")
}

/// The thread that started the server, and lives as long as it: the kernel's word at our death is given when
/// the thread that asked for it ends.
struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(
        server: impl FnOnce() -> Result<Server, PrivatePostgresError> + Send + 'static,
    ) -> Result<(String, Self), PrivatePostgresError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, url) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || match server() {
                Ok(server) => {
                    let _ = started.send(Ok(server.url()));
                    let _ = stopped.recv(); // the sender's end is the sign
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(|error| PrivatePostgresError::Failed(error.to_string()))?;
        let keeper = Self { stop: Some(stop), thread: Some(thread) };
        let url =
            url.recv().map_err(|_| PrivatePostgresError::Failed("its thread panicked".to_owned()))??;
        Ok((url, keeper))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The server's process and what it needs.
struct Server {
    process: Child,
    socket_dir: TempDir,
    /// Keeps others from this cluster.
    _lock: File,
}

impl Server {
    fn start(dir: &Path) -> Result<Self, PrivatePostgresError> {
        let owner = Owner::to_run_as()?;
        let data = dir.join("data");
        let made_by = fs::read_to_string(data.join("PG_VERSION")).ok();
        let binaries =
            binaries(made_by.as_deref().map(str::trim)).ok_or(PrivatePostgresError::NotInstalled)?;

        fs::create_dir_all(dir).map_err(at(dir))?;
        owner.may_enter(dir)?;
        owner.take(dir)?;
        let lock = File::create(dir.join("lock")).map_err(at(dir))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => PrivatePostgresError::InUse(dir.to_owned()),
            TryLockError::Error(error) => PrivatePostgresError::Io(dir.to_owned(), error),
        })?;

        if made_by.is_none() {
            make_cluster(&binaries, &owner, dir)?;
        }
        let temp_dir = short_temp_dir();
        sweep(&temp_dir);
        let socket_dir =
            tempfile::Builder::new().prefix(SOCKET_DIR).tempdir_in(&temp_dir).map_err(at(&temp_dir))?;
        owner.take(socket_dir.path())?;

        let deadline = Instant::now() + START_DEADLINE;
        wait_for_the_one_before(&data, deadline)?;
        let log = dir.join("postgres.log");
        let process = spawn(&binaries, &owner, dir, socket_dir.path(), &log)?;
        let mut server = Self { process, socket_dir, _lock: lock };
        server.wait_until_ready(&data, &log, deadline)?;
        Ok(server)
    }

    fn url(&self) -> String {
        let socket_dir = self.socket_dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://{SUPERUSER}@{socket_dir}/postgres?sslmode=disable")
    }

    /// Waits for the word `ready` in `postmaster.pid`, as `pg_ctl` does.
    fn wait_until_ready(
        &mut self,
        data: &Path,
        log: &Path,
        deadline: Instant,
    ) -> Result<(), PrivatePostgresError> {
        let failed = |what: String| {
            let log = fs::read_to_string(log).unwrap_or_default();
            PrivatePostgresError::Failed(format!("{what}: {}", log.trim()))
        };
        loop {
            if let Some(status) = self.process.try_wait().map_err(at(data))? {
                return Err(failed(status.to_string()));
            }
            let (pid, ready) = postmaster(data).unwrap_or_default();
            if ready && pid == self.process.id() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(failed(format!("not ready within {START_DEADLINE:?}")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    /// A fast shutdown: clients are disconnected, nothing is lost.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let deadline = Instant::now() + STOP_DEADLINE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.process.kill(); // without effect on one that has stopped
        let _ = self.process.wait();
    }
}

/// As whom PostgreSQL runs: as we do, or, if that is root, as somebody else.
struct Owner(Option<Account>);

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Owner {
    fn to_run_as() -> Result<Self, PrivatePostgresError> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(at(Path::new("/etc/passwd")))?;
        let account = |wanted: &str| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| *name == wanted)?.to_owned();
                let uid = fields.nth(1)?.parse().ok()?;
                Some(Account { name, uid, gid: fields.next()?.parse().ok()? })
            })
        };
        let account =
            account("postgres").or_else(|| account("nobody")).ok_or(PrivatePostgresError::NoUser)?;
        Ok(Self(Some(account)))
    }

    /// Whether the way to the folder is open.
    fn may_enter(&self, dir: &Path) -> Result<(), PrivatePostgresError> {
        let Some(account) = &self.0 else { return Ok(()) };
        for folder in dir.ancestors().skip(1) {
            if fs::metadata(folder).map_err(at(folder))?.permissions().mode() & 0o001 == 0 {
                return Err(PrivatePostgresError::NoWay {
                    user: account.name.clone(),
                    folder: folder.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Makes the folder theirs alone.
    fn take(&self, dir: &Path) -> Result<(), PrivatePostgresError> {
        if let Some(account) = &self.0 {
            chown(dir, Some(account.uid), Some(account.gid)).map_err(at(dir))?;
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(at(dir))
    }

    fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null()).env_remove("PGDATA");
        if let Some(account) = &self.0 {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

/// The folder of the binaries: of the version that made the cluster, if it is known, else of the newest.
fn binaries(made_by: Option<&str>) -> Option<PathBuf> {
    let complete = |dir: &PathBuf| dir.join("initdb").exists() && dir.join("postgres").exists();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, dir)| complete(dir))
        .collect();
    versions.sort();
    let matching = made_by.and_then(|version| version.parse().ok());
    let matching = versions.iter().find(|(version, _)| Some(*version) == matching).cloned();
    let installed = matching.or_else(|| versions.pop()).map(|(_, dir)| dir);
    installed.or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(complete))
}

/// Makes the cluster beside its place and moves it there when it is whole, so that half of one is never taken
/// for one.
fn make_cluster(binaries: &Path, owner: &Owner, dir: &Path) -> Result<(), PrivatePostgresError> {
    let unfinished = dir.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
    }
    let output = owner
        .command(&binaries.join("initdb"), dir)
        .args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
        .arg(&unfinished)
        .output()
        .map_err(at(binaries))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(PrivatePostgresError::Failed(format!("initdb: {}", said.trim())));
    }
    fs::rename(&unfinished, dir.join("data")).map_err(at(dir))
}

fn spawn(
    binaries: &Path,
    owner: &Owner,
    dir: &Path,
    socket_dir: &Path,
    log: &Path,
) -> Result<Child, PrivatePostgresError> {
    let output = File::create(log).map_err(at(log))?;
    let mut command = owner.command(&binaries.join("postgres"), dir);
    command
        .arg("-D")
        .arg(dir.join("data"))
        .args(["-c", "listen_addresses=", "-c"])
        .arg(format!("unix_socket_directories={}", socket_dir.display()))
        .process_group(0) // an interrupt from the terminal is for us: the server stops when we say so
        .stdout(output.try_clone().map_err(at(log))?)
        .stderr(output);
    // SAFETY: between fork and exec the closure makes one system call, `prctl`, and touches no memory.
    #[allow(unsafe_code)]
    unsafe {
        // When we die, the server shuts down fast.
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::INT))?));
    }
    command.spawn().map_err(at(binaries))
}

/// A server whose program was killed may still be shutting down; it holds the cluster until it is done.
fn wait_for_the_one_before(data: &Path, deadline: Instant) -> Result<(), PrivatePostgresError> {
    let is_running = |pid: u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
    };
    while postmaster(data).is_some_and(|(pid, _)| is_running(pid)) {
        if Instant::now() > deadline {
            return Err(PrivatePostgresError::InUse(data.to_owned()));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// What `postmaster.pid` says: the server's process, and whether it takes connections.
fn postmaster(data: &Path) -> Option<(u32, bool)> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok()?;
    Some((pid, text.lines().any(|line| line.trim() == "ready")))
}

fn short_temp_dir() -> PathBuf {
    let dir = std::env::temp_dir();
    if dir.as_os_str().len() <= LONGEST_TEMP_DIR { dir } else { PathBuf::from("/tmp") }
}

/// Removes the folders of servers whose program was killed: their sockets are gone, so they are empty.
fn sweep(temp_dir: &Path) {
    for entry in fs::read_dir(temp_dir).into_iter().flatten().flatten() {
        let is_old =
            || entry.metadata().ok()?.modified().ok()?.elapsed().ok().filter(|age| *age > SWEEP_AFTER);
        if entry.file_name().as_encoded_bytes().starts_with(SOCKET_DIR.as_bytes()) && is_old().is_some() {
            let _ = fs::remove_dir(entry.path()); // fails for one in use, which is not empty
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> PrivatePostgresError {
    let path = path.to_owned();
    move |error| PrivatePostgresError::Io(path.clone(), error)
}
