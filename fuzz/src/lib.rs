//! Fuzz targets: hostile bytes against the parsers of `actors` and `switchboard`. See `README.md` beside this
//! crate.

/// Runs one of [`actors::fuzzing::TARGETS`] or [`switchboard::fuzzing::TARGETS`].
///
/// # Panics
/// The bytes break a promise of the target, or there is no target of this name.
pub fn run(name: &str, data: &[u8]) {
    let mut targets = actors::fuzzing::TARGETS.iter().chain(switchboard::fuzzing::TARGETS);
    targets.find(|(known, _)| *known == name).expect("the target exists").1(data);
}
