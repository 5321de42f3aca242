//! Fuzz targets: hostile bytes against the parsers of `actors`. See `README.md` beside this crate.

/// Runs one of [`actors::fuzzing::TARGETS`].
///
/// # Panics
/// The bytes break a promise of the target, or there is no target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = actors::fuzzing::TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("the target exists").1(data);
}
