//! `switchboard migrate`.

pub fn run() -> u8 {
    super::FAILED
}
