//! When the files of the certificate are loaded again. Pure.
//!
//! The files are written one after the other. So a change counts when two looks in a row have found the
//! same, and a fault is told only then.

use super::pair::{Content, PairFault};

/// What a look has found.
pub(super) type Found = Result<Content, PairFault>;

/// See the module.
pub(super) struct Watch {
    /// What was loaded, or was told as a fault, last.
    known: Found,
    /// What the last look found.
    last: Option<Found>,
}

impl Watch {
    /// `known` was loaded at the start.
    pub(super) fn new(known: Content) -> Self {
        Self { known: Ok(known), last: None }
    }

    /// A look has found this. Answers what is to be loaded, or told. `is_asked`: SIGHUP came, which says
    /// that the files are whole.
    pub(super) fn look(&mut self, found: Found, is_asked: bool) -> Option<Found> {
        let is_quiet = self.last.as_ref() == Some(&found);
        self.last = Some(found.clone());
        let is_news = found != self.known;
        if !(is_news && is_quiet || is_asked && found.is_ok()) {
            return None;
        }
        self.known.clone_from(&found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::tests::files;
    use super::*;

    /// What looks find: the number of a pair, or a fault.
    fn found(number: usize) -> Found {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        std::fs::write(&files.certificate, number.to_string()).unwrap();
        std::fs::write(&files.key, "any").unwrap();
        files.read()
    }

    fn gone() -> Found {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path()).read().map_err(|fault| PairFault { wrong: "is gone".to_owned(), ..fault })
    }

    fn looks(watch: &mut Watch, found: &[Found]) -> Vec<bool> {
        found.iter().map(|found| watch.look(found.clone(), false).is_some()).collect()
    }

    #[test]
    fn a_pair_is_loaded_once_when_two_looks_found_the_same() {
        let mut watch = Watch::new(found(1).unwrap());
        let seen = [1, 1, 2, 3, 3, 3, 1].map(found);
        assert_eq!(looks(&mut watch, &seen), [false, false, false, false, true, false, false]);
        assert_eq!(looks(&mut watch, &[found(1)]), [true], "the old one is back");
    }

    #[test]
    fn files_that_are_gone_for_one_look_are_no_news_and_for_two_they_are_told_once() {
        let mut watch = Watch::new(found(1).unwrap());
        assert_eq!(looks(&mut watch, &[gone(), found(1), found(1)]), [false; 3]);
        assert_eq!(looks(&mut watch, &[gone(), gone(), gone()]), [false, true, false]);
        assert_eq!(looks(&mut watch, &[found(1), found(1)]), [false, true]);
    }

    #[test]
    fn sighup_has_readable_files_loaded_at_once_also_the_same_ones() {
        let mut watch = Watch::new(found(1).unwrap());
        assert!(watch.look(found(2), true).is_some());
        assert!(watch.look(found(2), true).is_some());
        assert!(watch.look(gone(), true).is_none());
        assert!(watch.look(found(2), false).is_none());
    }
}
