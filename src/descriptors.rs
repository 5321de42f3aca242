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
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many the program takes with so many calls and connections to the database.
pub fn needed(calls: usize, connections: u32) -> u64 {
    calls as u64 * OF_A_CALL + u64::from(connections) + OTHERS
}
