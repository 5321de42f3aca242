//! `sim phone`: the simulated telephone network.

#[derive(Debug, Clone, clap::Args)]
pub struct Options {}

pub fn run(_: Options) -> u8 {
    crate::cli::FAILED
}
