//! `switchboard demo`.

#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn run(_: Arguments) -> u8 {
    super::FAILED
}
