//! File descriptors: how many this process may have open, and how many its calls take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The media stream, and the socket to the Realtime service.
const OF_A_CALL: u64 = 2;
/// Webhooks and readers of the API that come together, files, what the threads wait with.
const OTHERS: u64 = 64;

/// Lets this process, and those that it starts, have as many as the hard limit allows; answers how many.
pub fn raise() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, the answer says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    allowed()
}

/// How many this process may have.
pub fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Of the others, those that are no connections to us.
const OF_OURSELVES: u64 = 32;
/// Connections of strangers are never more, whatever is allowed.
const MOST_OF_STRANGERS: u64 = 4_096;

/// How many connections there may be where so many descriptors are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// That are no media streams: beyond so many, an idle one has to go for each that comes.
    pub strangers: usize,
    /// At all.
    pub connections: usize,
}

/// Leaves calls and the database theirs, and a quarter of the rest to connections that are not idle.
pub fn room(allowed: u64, calls: usize, connections: u32) -> Room {
    let kept = calls as u64 * OF_A_CALL + u64::from(connections) + OF_OURSELVES;
    let rest = allowed.saturating_sub(kept).clamp(OF_OURSELVES, MOST_OF_STRANGERS * 4 / 3);
    let count = |connections: u64| usize::try_from(connections).unwrap_or(usize::MAX);
    Room { strangers: count(rest * 3 / 4), connections: calls.saturating_add(count(rest)) }
}

/// How many the program takes with so many calls and connections to the database.
pub fn needed(calls: usize, connections: u32) -> u64 {
    calls as u64 * OF_A_CALL + u64::from(connections) + OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_calls_their_descriptors() {
        assert_eq!(room(256, 20, 20), Room { strangers: 123, connections: 184 });
        let least = needed(20, 20);
        assert_eq!(room(least, 20, 20), Room { strangers: 24, connections: 52 });
        assert_eq!(room(u64::MAX, 2_000, 20), Room { strangers: 4_095, connections: 7_461 });
        for allowed in [least, 256, 1_024, 65_536] {
            let room = room(allowed, 20, 20);
            let taken = room.connections as u64 + 20 + 20 + OF_OURSELVES;
            assert!(taken <= allowed, "{taken} of {allowed}, were all connections there at once");
        }
    }
}
