//! What signals mean to us. SIGTERM, SIGINT and SIGQUIT ask for the end. SIGHUP asks us to read the agent
//! file again; the reader of the certificate listens for it by itself. SIGUSR1, SIGUSR2 and SIGALRM would end
//! a process that does not handle them, with its calls: they are logged and change nothing. So is SIGHUP
//! while nobody has asked for [`Signals::reloads`].

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::app::StartError;

type Named = (&'static str, Signal);

/// The signals that mean something to us.
pub(crate) struct Signals {
    ends: Vec<Named>,
    hang_ups: Vec<Named>,
    /// Where SIGHUP is passed on to.
    reloads: Option<Reloads>,
    /// Dropped with the rest: tokio keeps its handlers, so that they end nothing later either.
    ignored: Vec<Named>,
}

/// SIGHUP, for the reader of the agent file. Several that come while it is busy count as one.
#[derive(Clone, Default)]
pub(crate) struct Reloads(Arc<Notify>);

impl Reloads {
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }

    pub(crate) fn ask(&self) {
        self.0.notify_one();
    }
}

impl Signals {
    pub(crate) fn new() -> Result<Self, StartError> {
        let ends = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
        ];
        let ignored = [
            ("SIGUSR1", SignalKind::user_defined1()),
            ("SIGUSR2", SignalKind::user_defined2()),
            ("SIGALRM", SignalKind::alarm()),
        ];
        let hang_ups = of(&[("SIGHUP", SignalKind::hangup())])?;
        Ok(Self { ends: of(&ends)?, hang_ups, reloads: None, ignored: of(&ignored)? })
    }

    /// From now on SIGHUP is passed on to what this returns, while somebody waits for [`next`](Self::next).
    pub(crate) fn reloads(&mut self) -> Reloads {
        self.reloads.get_or_insert_default().clone()
    }

    /// Waits for the next signal that asks for the end.
    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            while let Some(name) = came(&mut self.ignored, context) {
                tracing::info!(signal = name, "a signal is ignored");
            }
            while let Some(name) = came(&mut self.hang_ups, context) {
                match &self.reloads {
                    Some(reloads) => {
                        tracing::info!(signal = name, "asked to read the files again");
                        reloads.ask();
                    }
                    None => tracing::info!(signal = name, "a signal is ignored"),
                }
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
