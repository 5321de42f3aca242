//! The server's graceful stop, as the connections of a worker wait for it.
//!
//! A connection looks after the stop each time that anything comes for it, with every frame of a call. The
//! server's own signal takes a lock for each look; this one looks into the worker's own memory.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Whether the server stops, and whom of this worker to wake when it does.
#[derive(Default)]
pub(super) struct Stop {
    has_come: Cell<bool>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
    next: Cell<u64>,
}

impl Stop {
    /// A worker has one, whatever the number of its sockets; `signal` ends when the server stops.
    pub(super) fn of_this_worker(signal: impl Future<Output = ()> + 'static) -> Rc<Self> {
        thread_local!(static STOP: OnceCell<Rc<Stop>> = const { OnceCell::new() });
        let new = || {
            let stop = Rc::<Self>::default();
            let comes = stop.clone();
            actix_rt::spawn(async move {
                signal.await;
                comes.come();
            });
            stop
        };
        STOP.with(|stop| stop.get_or_init(new).clone())
    }

    fn come(&self) {
        self.has_come.set(true);
        let waiting = self.waiting.take();
        waiting.into_values().for_each(Waker::wake);
    }

    /// Ends when the stop comes, or has come.
    pub(super) fn awaited(self: &Rc<Self>) -> Awaited {
        let number = self.next.replace(self.next.get() + 1);
        Awaited { stop: self.clone(), number, waker: None }
    }
}

/// The stop, as one connection waits for it.
pub(super) struct Awaited {
    stop: Rc<Stop>,
    number: u64,
    /// The one that is woken.
    waker: Option<Waker>,
}

impl Future for Awaited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.stop.has_come.get() {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
            self.stop.waiting.borrow_mut().insert(self.number, context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.stop.waiting.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn whoever_waits_is_woken_once_and_whoever_has_left_is_forgotten() {
        let stop = Rc::<Stop>::default();
        let (mut first, second) = (stop.awaited(), stop.awaited());
        let mut context = Context::from_waker(Waker::noop());
        let (another, mut other) = (noop_waker(), stop.awaited());
        assert!(first.poll_unpin(&mut context).is_pending() && other.poll_unpin(&mut context).is_pending());
        assert_eq!(stop.waiting.borrow().len(), 2, "one that was not polled waits for nothing");
        assert!(other.poll_unpin(&mut Context::from_waker(&another)).is_pending());
        drop((other, second));
        assert_eq!(stop.waiting.borrow().len(), 1);
        stop.come();
        assert!(stop.waiting.borrow().is_empty());
        assert!(first.poll_unpin(&mut context).is_ready() && stop.awaited().now_or_never().is_some());
    }
}
