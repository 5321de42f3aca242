//! When the agent file is read, and what of it is news. Pure.
//!
//! Editors truncate a file before they write it, and an empty file is a valid one. So a change counts when
//! two polls in a row have found the same file. SIGHUP says that the file is whole: it is read at once, and
//! only a fault has to stand for two polls.

use crate::settings::{Agent, Faults};

/// Device, inode, size, time of the last write and time of the last change of a file, if there is one.
pub(super) type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

type Content = Result<Agent, Faults>;

/// See the module.
pub(super) struct Watch {
    /// What the file said last.
    known: Content,
    /// What the last poll found.
    last: Option<Stamp>,
    /// What the last two polls found, if they found the same.
    quiet: Option<Stamp>,
    /// The last quiet file that was read.
    read: Option<Stamp>,
    /// SIGHUP came, and has not been answered.
    is_asked: bool,
}

impl Watch {
    pub(super) fn new(known: Agent) -> Self {
        Self { known: Ok(known), last: None, quiet: None, read: None, is_asked: false }
    }

    /// A poll has found this. True: the file is to be read.
    pub(super) fn poll(&mut self, now: Stamp) -> bool {
        self.quiet = (self.last == Some(now)).then_some(now);
        self.last = Some(now);
        self.quiet.is_some() && (self.is_asked || self.read != self.quiet)
    }

    /// SIGHUP came. True: the file is to be read.
    pub(super) fn ask(&mut self) -> bool {
        self.is_asked = true;
        true
    }

    /// The file was read between two looks. Answers the news, and whether SIGHUP asked for them. What could
    /// not be read is read again at the next poll.
    pub(super) fn heard(
        &mut self,
        (before, after): (Stamp, Stamp),
        content: Content,
        is_read: bool,
    ) -> Option<(Content, bool)> {
        let is_quiet = self.quiet == Some(before);
        if before != after || content.is_err() && !is_quiet {
            return None;
        }
        if is_quiet && is_read {
            self.read = Some(before);
        }
        let is_asked = std::mem::take(&mut self.is_asked);
        if !is_asked && content == self.known {
            return None;
        }
        self.known.clone_from(&content);
        Some((content, is_asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_at(seconds: i64) -> Stamp {
        Some((1, 7, 100, (seconds, 0), (seconds, 0)))
    }

    fn content(text: &str) -> Content {
        Agent::read("agent.toml", Ok(text.as_bytes().to_vec()))
    }

    fn watch() -> Watch {
        Watch::new(Agent::default())
    }

    /// The polls at which the file is read, where each reading finds `text`; and how many of them are news.
    fn read_at(watch: &mut Watch, polls: &[Stamp], text: &str) -> (Vec<bool>, usize) {
        let mut news = 0;
        let read = polls.iter().map(|&stamp| {
            let is_due = watch.poll(stamp);
            if is_due {
                news += watch.heard((stamp, stamp), content(text), true).iter().count();
            }
            is_due
        });
        (read.collect(), news)
    }

    #[test]
    fn a_file_is_read_once_when_two_polls_found_the_same() {
        let polls = [1, 1, 1, 2, 3, 3, 3].map(written_at);
        let (read, news) = read_at(&mut watch(), &polls, "voise = 1");
        assert_eq!(read, [false, true, false, false, false, true, false]);
        assert_eq!(news, 1, "the same faults are told once");
    }

    #[test]
    fn a_file_that_is_gone_or_another_one_of_the_same_time_and_size_has_changed() {
        let other = Some((1, 8, 100, (1, 0), (1, 0)));
        let polls = [written_at(1), written_at(1), other, other, None, None, None];
        let (read, _) = read_at(&mut watch(), &polls, "");
        assert_eq!(read, [false, true, false, true, false, true, false]);
    }

    #[test]
    fn a_file_that_is_gone_or_half_written_at_one_poll_is_not_read() {
        let mut watch = watch();
        read_at(&mut watch, &[written_at(1), written_at(1)], "");
        let (read, news) = read_at(&mut watch, &[None, written_at(2), written_at(3), None], "voise = 1");
        assert_eq!((read, news), (vec![false; 4], 0));
    }

    #[test]
    fn a_file_that_is_written_while_it_is_read_is_read_again() {
        let (mut watch, at) = (watch(), written_at);
        assert!(!watch.poll(at(1)) && watch.poll(at(1)));
        assert_eq!(watch.heard((at(1), at(2)), content("name = \"A\""), true), None);
        assert!(!watch.poll(at(2)) && watch.poll(at(2)));
        assert!(watch.heard((at(2), at(2)), content("name = \"B\""), true).is_some());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_read_at_each_poll_until_it_can_be_and_its_fault_is_told_once() {
        let mut watch = watch();
        let failed = || Agent::read("agent.toml", Err(std::io::ErrorKind::PermissionDenied.into()));
        watch.poll(written_at(1));
        let mut told = 0;
        for _ in 0..3 {
            assert!(watch.poll(written_at(1)));
            told += watch.heard((written_at(1), written_at(1)), failed(), false).iter().count();
        }
        assert_eq!(told, 1);
        assert!(watch.poll(written_at(1)));
        assert!(watch.heard((written_at(1), written_at(1)), content(""), true).is_some());
        assert!(!watch.poll(written_at(1)));
    }

    #[test]
    fn sighup_has_a_good_file_used_at_once_and_it_is_read_again_when_it_is_quiet() {
        let mut watch = watch();
        let news = content("name = \"A\"");
        assert!(watch.ask());
        assert_eq!(watch.heard((written_at(2), written_at(2)), news.clone(), true), Some((news, true)));
        let (read, news) = read_at(&mut watch, &[written_at(2), written_at(2)], "name = \"A\"");
        assert_eq!((read, news), (vec![false, true], 0));
    }

    #[test]
    fn a_fault_that_sighup_finds_is_told_when_it_stands_for_two_polls() {
        let mut watch = watch();
        let faults = content("voise = 1");
        assert!(watch.ask());
        let both = (written_at(2), written_at(2));
        assert_eq!(watch.heard(both, faults.clone(), true), None);
        assert!(!watch.poll(written_at(2)));
        assert!(watch.poll(written_at(2)));
        assert_eq!(watch.heard(both, faults.clone(), true), Some((faults.clone(), true)));
        assert!(watch.ask(), "the file has been the same for long");
        assert_eq!(watch.heard(both, faults.clone(), true), Some((faults, true)));
    }
}
