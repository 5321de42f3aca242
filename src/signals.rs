//! What signals mean to us. SIGTERM, SIGINT and SIGQUIT ask for the end. SIGHUP, SIGUSR1, SIGUSR2 and SIGALRM would end a
//! process that says nothing about them, with its calls: they are noted and change nothing.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::StartError;

type Named = (&'static str, Signal);

/// The signals that mean something to us.
pub(crate) struct Signals {
    ends: Vec<Named>,
    /// Dropped with the rest: tokio keeps its handlers, so that they end nothing later either.
    ignored: Vec<Named>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, StartError> {
        let ends = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
        ];
        let ignored = [
            ("SIGHUP", SignalKind::hangup()),
            ("SIGUSR1", SignalKind::user_defined1()),
            ("SIGUSR2", SignalKind::user_defined2()),
            ("SIGALRM", SignalKind::alarm()),
        ];
        Ok(Self { ends: of(&ends)?, ignored: of(&ignored)? })
    }

    /// Waits for the next signal that asks for the end.
    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            while let Some(name) = came(&mut self.ignored, context) {
                tracing::info!(signal = name, "a signal is ignored");
            }
            match came(&mut self.ends, context) {
                Some(name) => {
                    tracing::info!(signal = name, "asked to end");
                    Poll::Ready(())
                }
                None => Poll::Pending,
            }
        })
        .await;
    }
}

fn of(kinds: &[(&'static str, SignalKind)]) -> Result<Vec<Named>, StartError> {
    let listen =
        |&(name, kind)| Ok((name, signal(kind).map_err(|error| StartError::Internal(error.into()))?));
    kinds.iter().map(listen).collect()
}

/// Which of these signals has come; else whoever asks is woken by the next one.
fn came(signals: &mut [Named], context: &mut Context<'_>) -> Option<&'static str> {
    let came = |(name, signal): &mut Named| {
        matches!(signal.poll_recv(context), Poll::Ready(Some(()))).then_some(*name)
    };
    signals.iter_mut().find_map(came)
}
