//! Whether progress is drawn in place or told in lines.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

/// Whether a line on stderr can be drawn over. Elsewhere a plain line now and then says that the program is
/// alive.
pub fn draws_over_lines() -> bool {
    can_draw(std::io::stderr().is_terminal(), std::env::var_os("TERM").as_deref())
}

/// A bar on a terminal of no or an unknown kind would never be shown.
fn can_draw(is_terminal: bool, term: Option<&OsStr>) -> bool {
    is_terminal && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_on_a_terminal_of_a_known_kind_alone() {
        let draws = |is_terminal, term: Option<&str>| can_draw(is_terminal, term.map(OsStr::new));
        assert!(draws(true, Some("xterm-256color")));
        assert!(!draws(false, Some("xterm-256color")));
        for term in [None, Some(""), Some("dumb")] {
            assert!(!draws(true, term), "{term:?}");
        }
    }
}
