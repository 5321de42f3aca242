//! What must hold of the playback buffer after each step. Checked in every build.

use super::{MAX_BUFFERED_BYTES, MAX_MARKS, Playback};

impl Playback {
    /// Panics where one of these does not hold:
    /// - No more is played than came, and no more waits than there is room for.
    /// - Every mark that came was echoed or is out, and those that are out are within what came.
    /// - No more marks are out than there may be.
    pub(super) fn check(&self) {
        let (played, came) = (self.played, self.appended);
        assert!(played <= came, "{played} bytes were played and {came} came");
        assert!(came - played <= MAX_BUFFERED_BYTES, "{} bytes wait", came - played);
        let out = self.marks.len() as u64;
        let (marked, echoed) = (self.marked, self.echoed);
        assert_eq!(marked, echoed + out, "{marked} marks came, {echoed} were echoed and {out} are out");
        let last = self.marks.back().map_or(0, |(position, _)| *position);
        assert!(last <= came, "a mark is out at {last}, and {came} bytes came");
        assert!(self.marks.len() <= MAX_MARKS, "{out} marks are out");
    }

    /// Panics where a mark that came before this one is still out: they are echoed in order.
    pub(super) fn check_order(&self) {
        assert!(self.marks.is_empty(), "a mark overtakes {} others", self.marks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playing() -> Playback {
        let mut playback = Playback::default();
        playback.append(320).unwrap();
        playback.mark("a".into()).unwrap();
        playback.play();
        playback
    }

    #[test]
    #[should_panic(expected = "321 bytes were played and 320 came")]
    fn more_played_than_came_is_noticed() {
        let mut playback = playing();
        playback.played = 321;
        playback.check();
    }

    #[test]
    #[should_panic(expected = "1 marks came, 0 were echoed and 0 are out")]
    fn a_mark_that_is_lost_is_noticed() {
        let mut playback = playing();
        playback.marks.clear();
        playback.check();
    }

    #[test]
    #[should_panic(expected = "a mark overtakes 1 others")]
    fn a_mark_that_is_echoed_before_an_earlier_one_is_noticed() {
        let mut playback = playing();
        playback.play();
        let _ = playback.mark("b".into());
    }
}
