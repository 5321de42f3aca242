//! What must hold of the ear after each step. Checked in every build.

use super::Ear;
use crate::sim::tag::FRAME_BYTES;

impl Ear {
    /// Panics where one of these does not hold:
    /// - As much has arrived as was put into the buffer.
    /// - Frames wait in the order in which they arrived, and none beyond what arrived.
    /// - What waits for the rest of its frame is less than a frame.
    pub(in crate::sim::phone) fn check_whole(&self, appended: u64) {
        let arrived = self.position;
        assert_eq!(arrived, appended, "{arrived} bytes arrived, and {appended} are in the buffer");
        let last = self.waiting.back().map_or(0, |(end, _)| *end);
        assert!(last <= arrived, "a frame waits that ends at {last}, and {arrived} bytes arrived");
        let first = self.waiting.front().map_or(0, |(end, _)| *end);
        assert!(first <= last, "frames wait out of order");
        assert!(self.partial.len() < FRAME_BYTES, "{} bytes wait for their frame", self.partial.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::phone::network::histogram;

    fn ear() -> Ear {
        let mut ear = Ear::default();
        ear.arrives(&[0xFF; 2 * FRAME_BYTES + 10], 0, &mut histogram());
        ear.check_whole(330);
        ear
    }

    #[test]
    #[should_panic(expected = "330 bytes arrived, and 170 are in the buffer")]
    fn audio_that_only_the_ear_knows_is_noticed() {
        ear().check_whole(170);
    }

    #[test]
    #[should_panic(expected = "a frame waits that ends at 320, and 100 bytes arrived")]
    fn a_frame_that_has_not_arrived_is_noticed() {
        let mut ear = ear();
        ear.position = 100;
        ear.check_whole(100);
    }
}
