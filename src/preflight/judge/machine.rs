//! This machine and what the settings open on it.

use crate::descriptors;
use crate::preflight::Line;
use crate::preflight::facts::{Disk, Facts, Said};

/// What the spool may take at most.
const SPOOL_BYTES: u64 = 256 << 20;

pub(super) fn settings(said: &Said) -> Line {
    let name = "settings";
    match said.remarks.as_slice() {
        [] => Line::pass(name, "every setting is known and has an effect"),
        remarks => Line::warn(name, remarks.join("; "), "correct the names, or unset them"),
    }
}

pub(super) fn api_auth(said: &Said) -> Line {
    let name = "api-auth";
    if said.api_is_open {
        let seen = "API_AUTH is off: whoever sits at this machine reads calls and transcripts";
        return Line::fail(name, seen, "unset API_AUTH");
    }
    Line::pass(name, "people log in, and programs show a token")
}

pub(super) fn lines(facts: &Facts) -> [Line; 3] {
    [flight_recorder(&facts.said), file_descriptors(facts), disk(facts)]
}

fn flight_recorder(said: &Said) -> Line {
    let name = "flight-recorder";
    if said.keeps_words {
        let seen = "FLIGHT_RECORDER is full: what callers and the agent say is kept in files of this machine";
        return Line::warn(name, seen, "set FLIGHT_RECORDER=redacted as soon as the fault is found");
    }
    Line::pass(name, "no file keeps what callers say")
}

fn file_descriptors(facts: &Facts) -> Line {
    let (name, allowed) = ("file-descriptors", facts.descriptors);
    let needed = descriptors::needed(facts.said.calls, facts.said.pool_max);
    if allowed < needed {
        let seen = format!(
            "whoever runs this check is allowed {allowed}, and {needed} are needed for {} calls",
            facts.said.calls
        );
        return Line::fail(name, seen, format!("raise the hard limit: `LimitNOFILE={needed}` for systemd"));
    }
    Line::pass(name, format!("{needed} are needed, and whoever runs this check is allowed {allowed}"))
}

fn disk(facts: &Facts) -> Line {
    let name = "spool";
    let Disk { folder, is_writable, free_bytes } = match &facts.disk {
        Ok(disk) => disk,
        Err(why) => return Line::fail(name, why.as_str(), "set SPOOL_DIR to a folder on a local disk"),
    };
    let free = format!("{} MiB are free in {folder}", free_bytes >> 20);
    if !is_writable {
        let seen = format!("whoever runs this check may not write in {folder}");
        Line::fail(name, seen, "run the check as the program's user, or give that user the folder")
    } else if *free_bytes < SPOOL_BYTES {
        Line::fail(name, format!("{free}, and the spool may take 256"), "free some space, or move SPOOL_DIR")
    } else if *free_bytes < 2 * SPOOL_BYTES {
        Line::warn(name, format!("{free}, and the spool may take 256"), "free some space, or move SPOOL_DIR")
    } else if facts.is_root {
        let unknown = "root may write; whether the program's user may is not known";
        Line::pass(name, format!("{free}; {unknown}"))
    } else {
        Line::pass(name, free)
    }
}
