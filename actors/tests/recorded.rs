//! Replays every recording in `recorded/`: a copy of a call's file is a test.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use actors::call::recorder::replay::{End, replay};

#[test]
fn the_same_comes_of_every_recorded_call() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut played = 0;
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("a file").path();
        let mut different = None;
        let player = replay(&path, |_, step| {
            if step.is_same() {
                return ControlFlow::Continue(());
            }
            different = Some(format!("{step:#?}"));
            ControlFlow::Break(())
        });
        let player = player.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(different.is_none(), "{}: {}", path.display(), different.unwrap_or_default());
        assert_eq!(player.end(), Some(&End::Complete), "{}", path.display());
        played += 1;
    }
    assert!(played >= 3, "{played} recordings");
}
