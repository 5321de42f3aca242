//! The agent file on disk: looked at every two seconds, and read when it has changed and nobody is writing
//! it.
//!
//! One look is under way at a time, so a disk that does not answer holds up one thread and nothing else.

use std::fs::{Metadata, metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use actix_rt::time::{Instant, sleep, sleep_until};

use super::watch::{Stamp, Watch};
use crate::settings::{Agent, Faults, read_agent_file};
use crate::signals::Reloads;

/// How often the file is looked at. SIGHUP is heeded no more often.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What there is to do about the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// What the file says now, if there is one.
    pub(super) agent: Option<Result<Agent, Faults>>,
    /// SIGHUP came.
    pub(super) is_asked: bool,
}

/// See the module.
pub(super) struct AgentFile {
    path: Option<String>,
    reloads: Reloads,
    watch: Watch,
    every: Duration,
    /// SIGHUP is heeded from then on.
    heeds_from: Instant,
}

impl AgentFile {
    /// `known` is what the file said at the start. What is no regular file, such as a pipe, can be read only
    /// once.
    pub(super) fn new(path: Option<String>, known: Agent, reloads: Reloads) -> Self {
        let is_watched = |path: &String| metadata(path).map_or(true, |found| found.is_file());
        Self {
            path: path.filter(is_watched),
            reloads,
            watch: Watch::new(known),
            every: LOOK_EVERY,
            heeds_from: Instant::now(),
        }
    }

    /// Waits until the file says something else, or SIGHUP came.
    pub(super) async fn news(&mut self) -> News {
        let news = self.next().await;
        if news.is_asked {
            self.heeds_from = Instant::now() + self.every;
        }
        news
    }

    async fn next(&mut self) -> News {
        let Some(path) = self.path.clone() else {
            self.asked().await;
            return News { agent: None, is_asked: true };
        };
        loop {
            let is_asked = tokio::select! {
                () = self.asked() => true,
                () = sleep(self.every) => false,
            };
            let before = stamp(&path).await;
            let is_due = if is_asked { self.watch.ask() } else { self.watch.poll(before) };
            if !is_due {
                continue;
            }
            let bytes = read(&path).await;
            let is_read = bytes.is_ok();
            let agent = Agent::read(&path, bytes);
            let after = stamp(&path).await;
            if let Some((agent, is_asked)) = self.watch.heard((before, after), agent, is_read) {
                return News { agent: Some(agent), is_asked };
            }
        }
    }

    async fn asked(&self) {
        sleep_until(self.heeds_from).await;
        self.reloads.next().await;
    }
}

async fn read(path: &str) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    let read = move || match metadata(&path)?.is_file() {
        true => read_agent_file(&path),
        false => Err(io::Error::other("it is no file")), // opening a pipe may take forever
    };
    spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

async fn stamp(path: &str) -> Stamp {
    let path = path.to_owned();
    let found = spawn_blocking(move || metadata(path)).await.ok()?.ok();
    found.filter(Metadata::is_file).map(|file| {
        let written = (file.mtime(), file.mtime_nsec());
        let changed = (file.ctime(), file.ctime_nsec());
        (file.dev(), file.ino(), file.size(), written, changed)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, remove_file, rename, write};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with_agent(text: &str) -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            write(folder.at("agent.toml"), text).unwrap();
            folder
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Its file, watched without long pauses, and the way to send SIGHUP.
        fn watched(&self) -> (AgentFile, Reloads) {
            let path = self.at("agent.toml").to_str().unwrap().to_owned();
            let known = Agent::read(&path, read_agent_file(&path)).unwrap();
            let reloads = Reloads::default();
            let file = AgentFile::new(Some(path), known, reloads.clone());
            (AgentFile { every: Duration::from_millis(1), ..file }, reloads)
        }
    }

    async fn voice(file: &mut AgentFile) -> String {
        file.news().await.agent.unwrap().unwrap().persona.voice
    }

    /// The place and the text of each fault.
    async fn faults(file: &mut AgentFile) -> String {
        file.news().await.agent.unwrap().unwrap_err().to_string()
    }

    #[actix_rt::test]
    async fn a_file_that_takes_the_place_of_another_is_told() {
        let folder = Folder::with_agent("voice = \"marin\"");
        let (mut file, _reloads) = folder.watched();
        write(folder.at("new"), "voice = \"cedar\"").unwrap();
        rename(folder.at("new"), folder.at("agent.toml")).unwrap();
        assert_eq!(voice(&mut file).await, "cedar");
    }

    #[actix_rt::test]
    async fn a_symlink_that_is_switched_is_told_as_the_file_that_it_leads_to() {
        let folder = Folder::with_agent("");
        remove_file(folder.at("agent.toml")).unwrap();
        for (version, voice) in [("..1", "marin"), ("..2", "cedar")] {
            create_dir(folder.at(version)).unwrap();
            write(folder.at(version).join("agent.toml"), format!("voice = \"{voice}\"")).unwrap();
        }
        symlink("..1", folder.at("..data")).unwrap();
        symlink("..data/agent.toml", folder.at("agent.toml")).unwrap();
        let (mut file, _reloads) = folder.watched();
        symlink("..2", folder.at("..new")).unwrap();
        rename(folder.at("..new"), folder.at("..data")).unwrap();
        assert_eq!(voice(&mut file).await, "cedar");
    }

    #[actix_rt::test]
    async fn each_fault_is_told_with_its_line_and_a_mended_file_is_told_again() {
        let folder = Folder::with_agent("voice = \"marin\"");
        let (mut file, _reloads) = folder.watched();
        write(folder.at("agent.toml"), "voise = \"cedar\"\n\nname = 5\n").unwrap();
        let told = faults(&mut file).await;
        for part in ["2 settings are wrong", "agent.toml:1 has the unknown key `voise`", "agent.toml:3 "] {
            assert!(told.contains(part), "{told}");
        }
        write(folder.at("agent.toml"), "voice = \"marin\"").unwrap();
        assert_eq!(voice(&mut file).await, "marin");
    }

    #[actix_rt::test]
    async fn a_file_that_is_gone_or_no_text_or_grows_beyond_its_limit_is_a_fault() {
        let folder = Folder::with_agent("voice = \"marin\"");
        let (mut file, _reloads) = folder.watched();
        remove_file(folder.at("agent.toml")).unwrap();
        assert!(faults(&mut file).await.contains("cannot be read: No such file"));
        write(folder.at("agent.toml"), b"voice = \"marin\"\nname = \"J\xF6rg\"").unwrap();
        assert!(faults(&mut file).await.contains("agent.toml:2 is not UTF-8"));
        write(folder.at("agent.toml"), "é".repeat(Agent::MAX_BYTES)).unwrap();
        assert!(faults(&mut file).await.contains("is larger than 1 MiB"));
        remove_file(folder.at("agent.toml")).unwrap();
        create_dir(folder.at("agent.toml")).unwrap();
        assert!(faults(&mut file).await.contains("it is no file"));
    }

    #[actix_rt::test]
    async fn sighup_has_a_file_told_that_says_the_same_and_a_fault_again() {
        let folder = Folder::with_agent("voice = \"marin\"");
        let (mut file, reloads) = folder.watched();
        reloads.ask();
        let news = file.news().await;
        assert!(news.is_asked && news.agent.unwrap().is_ok());
        write(folder.at("agent.toml"), "voise = \"cedar\"").unwrap();
        let told = faults(&mut file).await;
        reloads.ask();
        assert_eq!(faults(&mut file).await, told);
    }

    #[actix_rt::test]
    async fn without_a_file_sighup_has_the_agent_tried_again() {
        let reloads = Reloads::default();
        let mut file = AgentFile::new(None, Agent::default(), reloads.clone());
        reloads.ask();
        assert_eq!(file.news().await, News { agent: None, is_asked: true });
    }

    #[actix_rt::test]
    async fn what_is_no_regular_file_at_the_start_is_not_read_again() {
        let reloads = Reloads::default();
        let mut file = AgentFile::new(Some("/dev/null".into()), Agent::default(), reloads.clone());
        reloads.ask();
        assert_eq!(file.news().await, News { agent: None, is_asked: true });
    }
}
