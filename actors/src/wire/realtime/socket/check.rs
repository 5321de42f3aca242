//! What must hold of the way up after each frame that waits.

use super::{Inner, RING_FRAMES, RING_MS};
use crate::wire::twilio::frames::payload_ms;

impl Inner {
    /// Panics where one of these does not hold:
    /// - The ring is counted as long as its frames are, and is no longer than it may be, in frames or in
    ///   time.
    /// - Nothing waits in front of a socket that takes it.
    /// - The gate is open only in front of a socket.
    pub(super) fn check(&self) {
        let (counted, frames) = (self.ring_ms, self.ring.len());
        let ms = self.ring.iter().map(|frame| payload_ms(frame)).sum::<u64>();
        assert_eq!(counted, ms, "the ring is counted as {counted} ms, and holds {ms}");
        assert!(ms <= RING_MS && frames <= RING_FRAMES, "the ring holds {ms} ms in {frames} frames");
        assert!(frames == 0 || !self.open || self.stalled, "{frames} frames wait for nothing");
        assert!(!self.open || self.socket.is_some(), "the gate is open, and there is no socket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of 20 ms.
    fn frame() -> Box<[u8]> {
        super::super::silent_frame().into()
    }

    fn waiting(frames: usize) -> Inner {
        let mut inner = Inner::default();
        (0..frames).for_each(|_| inner.pass(&frame()));
        inner.check();
        inner
    }

    #[test]
    #[should_panic(expected = "the ring is counted as 40 ms, and holds 60")]
    fn a_ring_that_is_counted_shorter_than_it_is_is_noticed() {
        let mut inner = waiting(2);
        inner.ring.push_back(frame());
        inner.check();
    }

    #[test]
    #[should_panic(expected = "the ring holds 5020 ms in 251 frames")]
    fn a_ring_that_is_too_long_is_noticed() {
        let mut inner = waiting(250);
        inner.ring.push_back(frame());
        inner.ring_ms += 20;
        inner.check();
    }

    #[test]
    #[should_panic(expected = "2 frames wait for nothing")]
    fn frames_that_wait_behind_an_open_gate_are_noticed() {
        let mut inner = waiting(2);
        inner.open = true;
        inner.check();
    }

    #[test]
    fn what_is_said_after_the_socket_is_lost_waits_though_the_gate_was_to_open() {
        let uplink = super::super::Uplink::default();
        uplink.open();
        uplink.audio(0, &frame());
        assert_eq!(uplink.lock().ring.len(), 1);
    }
}
