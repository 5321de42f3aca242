//! `sim realtime`: the simulated Realtime service.

#[derive(Debug, Clone, clap::Args)]
pub struct Options {}

pub fn run(_: Options) -> u8 {
    crate::cli::FAILED
}
