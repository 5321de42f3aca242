//! With which status a command exits.

/// Everything is fine.
pub const FINE: u8 = 0;
/// A warning, or the command failed.
pub const FAILED: u8 = 1;
/// Wrong arguments or settings.
pub const USAGE: u8 = 64;
/// A fault of our own.
pub const INTERNAL: u8 = 70;
