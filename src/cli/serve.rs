//! `switchboard serve`.

pub fn run() -> u8 {
    super::FAILED
}
