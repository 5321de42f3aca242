//! What hostile bytes must not do to the readers of this crate; those of the calls are in `actors::fuzzing`.
//! Each target takes any bytes and panics if a promise is broken.

pub use actors::fuzzing::Target;

/// The targets, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("forwarded_for", crate::http::limits::fuzz_forwarded_for),
    ("agent_file", crate::settings::fuzz_agent_file),
    ("log_question", crate::http::fuzz_log_question),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_stored_inputs_break_no_promise() {
        actors::fuzzing::play(TARGETS, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"));
    }

    #[test]
    fn each_target_has_a_program_and_a_corpus_and_none_is_left_over() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names = |folder: &str| {
            let entries = fs::read_dir(fuzz.join(folder)).unwrap();
            let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
            entries.map(|entry| name(&entry.unwrap().path())).collect::<BTreeSet<_>>()
        };
        let targets = actors::fuzzing::TARGETS.iter().chain(TARGETS);
        let targets: BTreeSet<_> = targets.map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), targets);
        assert_eq!(names("corpus"), targets);
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in targets {
            let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
            assert!(manifest.contains(&program), "{name} is not in Cargo.toml");
            let call = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(call.contains(&format!("run(\"{name}\", data)")), "{name} runs another target");
        }
    }
}
