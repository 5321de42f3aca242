//! Reads a recording and takes its inputs again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use call_control::recorder::BadRecording;
pub use call_control::recorder::{End, Played, Player, Step};
use flate2::read::GzDecoder;

/// What a compressed file begins with. A recording may be plain text as well.
const GZIP: [u8; 2] = [0x1F, 0x8B];
/// A message of the service, and what is done about it, takes less.
const LONGEST_LINE: u64 = 64 << 20;

/// Why a recording cannot be taken again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Bad(#[from] BadRecording),
}

/// Takes the inputs again, one by one; `seen` is told what came of each and may stop. A file that was cut off
/// ends with its last whole line.
///
/// # Errors
/// The file cannot be read, or is no recording.
pub fn replay(
    path: &Path,
    mut seen: impl FnMut(&Player, &Step<'_>) -> ControlFlow<()>,
) -> Result<Player, ReplayError> {
    let mut lines = Lines::open(path)?;
    let mut line = String::new();
    lines.next(&mut line)?;
    let mut player = Player::open(&line)?;
    while lines.next(&mut line)? {
        if let Played::Step(step) = player.take(&line)?
            && (seen(&player, &step).is_break() || step.panic.is_some() && !step.is_lost)
        {
            break;
        }
    }
    Ok(player)
}

/// The lines of a file.
struct Lines(BufReader<Box<dyn Read>>);

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let is_compressed = file.fill_buf()?.starts_with(&GZIP);
        let read: Box<dyn Read> = if is_compressed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self(BufReader::new(read)))
    }

    /// Reads a line without its break. False if there is no whole one any more.
    fn next(&mut self, line: &mut String) -> io::Result<bool> {
        let mut bytes = std::mem::take(line).into_bytes();
        bytes.clear();
        match (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false), // cut off
            Err(error) => return Err(error),
        }
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            let is_too_long = bytes.len() as u64 >= LONGEST_LINE;
            let error = || io::Error::new(io::ErrorKind::InvalidData, "a line is too long for a recording");
            return if is_too_long { Err(error()) } else { Ok(false) };
        }
        *line = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is neither text nor compressed"))?;
        Ok(true)
    }
}
