//! What a panic becomes: caught at the edge of an actor, logged and counted, and a restart from the last
//! checkpoint, as long as the intensity allows.
//!
//! `actix::Supervisor` restarts after `ctx.stop()`, never after a panic, so everything an actor does runs
//! inside [`caught`]. A permanent actor that uses up its restarts is still restarted, because the calls are
//! handed over with its help; but its [`Lifeline`] ends, and with it the process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use call_control::Millis;
pub use call_control::intensity::Intensity;
use tokio::sync::watch;

pub(crate) use self::worker::{Work, Worker};

mod worker;

/// What a permanent actor may have: more restarts than that, within that time, are the end of the process.
const PERMANENT: (usize, Millis) = (3, 60_000);

/// Where a test may order a panic (`fault.rs`); nothing at all in a build without the feature
/// `fault-injection`.
macro_rules! fault_point {
    ($place:literal) => {
        #[cfg(feature = "fault-injection")]
        $crate::fault::strike($place);
    };
    ($call_sid:expr, $input:expr) => {
        #[cfg(feature = "fault-injection")]
        $crate::fault::strike_call($call_sid, $input);
    };
}
pub(crate) use fault_point;

/// Runs `work`; a panic in it is caught and told as a text.
///
/// The state that `work` was changing must be thrown away by whoever gets the error.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// What a panic said.
pub fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// The life of a permanent actor, which holds it: it ends with the actor's restarts, or with the actor.
pub struct Life {
    actor: &'static str,
    restarts: Intensity,
    began: Instant,
    alive: Option<watch::Sender<()>>,
    line: Lifeline,
}

/// What others see of a [`Life`].
#[derive(Clone)]
pub struct Lifeline(watch::Receiver<()>);

impl Life {
    pub fn begin(actor: &'static str) -> Self {
        let (alive, seen) = watch::channel(());
        let restarts = Intensity::new(PERMANENT.0, PERMANENT.1);
        Self { actor, restarts, began: Instant::now(), alive: Some(alive), line: Lifeline(seen) }
    }

    pub fn line(&self) -> Lifeline {
        self.line.clone()
    }

    /// The actor panicked, and is to be started again.
    pub fn panicked(&mut self, panic: &str) {
        tracing::error!(actor = self.actor, panic, "an actor panicked");
        let now = self.began.elapsed().as_millis() as Millis;
        if !self.restarts.allows(now) && self.alive.take().is_some() {
            tracing::error!(actor = self.actor, "a permanent actor has used up its restarts");
        }
    }
}

impl Lifeline {
    pub fn has_ended(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits for the end.
    pub async fn ended(&self) {
        let mut alive = self.0.clone();
        while alive.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(caught(|| panic!("frame {}", 7)), Err::<(), _>("frame 7".to_owned()));
        assert_eq!(caught(|| 1), Ok(1));
    }

    #[tokio::test]
    async fn a_life_ends_with_the_fourth_panic_or_with_its_actor() {
        let mut life = Life::begin("test");
        let line = life.line();
        (0..3).for_each(|_| life.panicked("on purpose"));
        assert!(!line.has_ended());
        life.panicked("on purpose");
        assert!(line.has_ended());
        line.ended().await;
        let life = Life::begin("test");
        let line = life.line();
        drop(life);
        line.ended().await;
    }
}
