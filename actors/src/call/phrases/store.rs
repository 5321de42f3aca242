//! Rendered phrases on disk: one file each, named by what went into it, so that another wording, voice, model
//! or service finds nothing. A file is the μ-law followed by its SHA-256; one that is not whole is as good as
//! none.

use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

/// A phrase is a short sentence: less is no speech, more is something else.
pub const LENGTH_BYTES: std::ops::RangeInclusive<usize> = 200 * 8..=5_000 * 8;

const DIGEST_BYTES: usize = 32;

/// The phrases of one voice of one model of one service.
#[derive(Debug, Clone)]
pub struct PhraseStore {
    folder: PathBuf,
    /// What every file's name is made of besides the text.
    voice: [String; 3],
}

impl PhraseStore {
    /// `host` is the service's: what a simulated one has rendered is not what the real one would.
    pub fn new(folder: PathBuf, host: &str, model: &str, voice: &str) -> Self {
        Self { folder, voice: [host, model, voice].map(str::to_owned) }
    }

    /// The μ-law of `text`, if it is there and whole.
    pub fn load(&self, text: &str) -> Option<Vec<u8>> {
        let mut mulaw = fs::read(self.path(text)).ok()?;
        let digest = mulaw.split_off(mulaw.len().checked_sub(DIGEST_BYTES)?);
        (LENGTH_BYTES.contains(&mulaw.len()) && Sha256::digest(&mulaw)[..] == digest).then_some(mulaw)
    }

    /// Keeps `mulaw`. The file appears whole or not at all, whoever else writes the same one.
    pub fn save(&self, text: &str, mulaw: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(text);
        let unfinished = path.with_extension(format!("{:016x}.tmp", rand::random::<u64>()));
        let whole = [mulaw, &Sha256::digest(mulaw)].concat();
        let kept = fs::write(&unfinished, whole).and_then(|()| fs::rename(&unfinished, path));
        kept.inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }

    fn path(&self, text: &str) -> PathBuf {
        let mut name = Sha256::new();
        for part in self.voice.iter().map(String::as_str).chain([text]) {
            name.update((part.len() as u64).to_be_bytes());
            name.update(part);
        }
        self.folder.join(format!("{:x}.ulaw", name.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULAW: [u8; 4_000] = [0x55; 4_000];

    fn store(folder: &tempfile::TempDir) -> PhraseStore {
        PhraseStore::new(folder.path().join("phrases"), "localhost", "m", "marin")
    }

    #[test]
    fn what_was_kept_is_found_again_by_text_voice_model_and_service() {
        let folder = tempfile::tempdir().unwrap();
        store(&folder).save("One moment.", &MULAW).unwrap();
        assert_eq!(store(&folder).load("One moment."), Some(MULAW.to_vec()));
        assert_eq!(store(&folder).load("Another moment."), None);
        for (host, model, voice) in
            [("elsewhere", "m", "marin"), ("localhost", "n", "marin"), ("localhost", "m", "cedar")]
        {
            let other = PhraseStore { voice: [host, model, voice].map(str::to_owned), ..store(&folder) };
            assert_eq!(other.load("One moment."), None);
        }
    }

    #[test]
    fn a_file_that_is_not_whole_is_as_good_as_none_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.save("text", &MULAW).unwrap();
        let whole = fs::read(store.path("text")).unwrap();
        let mut altered = whole.clone();
        altered[7] ^= 1;
        for broken in [&[][..], &whole[..20], &whole[..3_000], &altered] {
            fs::write(store.path("text"), broken).unwrap();
            assert_eq!(store.load("text"), None);
        }
        store.save("text", &MULAW).unwrap();
        assert!(store.load("text").is_some());
        assert_eq!(fs::read_dir(folder.path().join("phrases")).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn what_is_too_short_to_be_speech_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        store(&folder).save("text", &[]).unwrap();
        assert_eq!(store(&folder).load("text"), None);
    }
}
