//! Going down: first no new calls, then no calls at all. The registry is asked again where it does not
//! answer: an error is never taken for an answer, because a live call may stand behind it. The deadlines are
//! for whoever calls.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use actors::registry::{Registry, RegistryDown};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::app::{App, StartError};
use crate::signals::Signals;

/// How long live calls may go on after the first signal.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// How long those who are handed over are answered: until they have met another instance, or are done with a
/// person or a voicemail box. With all other deadlines less than the 90 s that a service manager usually
/// waits.
pub(super) const HAND_OVER_DEADLINE: Duration = Duration::from_secs(45);
/// How often a draining process looks whether the last call is over, and asks a registry that has not
/// answered.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A call that has not ended by then is told once more: it may have panicked at the news.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Why a process goes down.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// A signal asked for it.
    Asked,
    /// A permanent actor has used up its restarts.
    WornOut(&'static str),
    /// The HTTP server has ended by itself.
    ServerEnded(String),
}

impl End {
    pub fn into_result(self) -> Result<(), StartError> {
        match self {
            Self::Asked => Ok(()),
            Self::WornOut(actor) => Err(StartError::WornOut(actor)),
            Self::ServerEnded(how) => {
                Err(StartError::Internal(anyhow::anyhow!("the HTTP server ended by itself: {how}")))
            }
        }
    }
}

type Serving = JoinHandle<std::io::Result<()>>;

/// Serves until there is a reason to end, and goes down in order; answers the reason, and whether the last
/// call was waited for. Without a server or an actor that works, the calls are handed over at once.
pub async fn serve(
    app: &App,
    mut serving: Serving,
    server: &ServerHandle,
    signals: &mut Signals,
) -> (End, bool) {
    let mut end = tokio::select! {
        () = signals.next() => End::Asked,
        failed = failure(app, &mut serving) => failed,
    };
    app.drains();
    tracing::info!(calls = app.registry.capacity().active, "draining");
    let drained = end == End::Asked
        && tokio::select! {
            biased;
            failed = failure(app, &mut serving) => {
                end = failed;
                false
            }
            ended = timeout(DRAIN_DEADLINE, wait_for_the_last_call(&app.registry)) => ended.is_ok(),
            () = signals.next() => false,
        };
    let graceful = drained
        || tokio::select! {
            _ = timeout(HAND_OVER_DEADLINE, hand_over(&app.registry)) => true,
            () = signals.next() => false,
        };
    tokio::select! {
        () = server.stop(graceful) => {}
        () = signals.next() => server.stop(false).await,
    }
    serving.abort();
    (end, drained)
}

/// Waits until the process cannot go on.
async fn failure(app: &App, serving: &mut Serving) -> End {
    tokio::select! {
        actor = app.worn_out() => End::WornOut(actor),
        ended = serving => End::ServerEnded(format!("{ended:?}")),
    }
}

/// Refuses new calls, and waits until those on the line are over.
async fn wait_for_the_last_call(registry: &Registry) {
    answered("new calls are not refused yet", async || registry.drain().await).await;
    last_call_is_over(registry).await;
}

/// Hands over the calls that are left, and waits until their callers are gone.
async fn hand_over(registry: &Registry) {
    loop {
        answered("the calls that are left are not handed over yet", async || registry.shut_down().await)
            .await;
        if timeout(TELL_AGAIN_AFTER, last_call_is_over(registry)).await.is_ok() {
            return;
        }
    }
}

/// Waits until no call is left, nor a caller for whom Twilio is about to ask what comes next.
async fn last_call_is_over(registry: &Registry) {
    while !answered("it is not known yet whether calls are left", async || registry.is_idle().await).await {
        sleep(ASK_EVERY).await;
    }
}

/// The registry's answer, whenever it comes; `missing` says what goes without it.
async fn answered<T>(missing: &str, ask: impl AsyncFn() -> Result<T, RegistryDown>) -> T {
    let mut asked = 0_u32;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if asked == 0 => tracing::warn!(%error, "{missing}"),
            Err(_) => {}
        }
        asked += 1;
        sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use actix_web::HttpServer;
    use actors::db::record::NextStep;
    use actors::registry::Answer;

    use super::*;
    use crate::http::tests::app;

    #[actix_rt::test]
    async fn a_server_that_ends_by_itself_takes_the_same_road_as_a_signal() {
        let app = app(&[]);
        let server = HttpServer::new(actix_web::App::new).workers(1).disable_signals();
        let server = server.bind("127.0.0.1:0").unwrap().run();
        let handle = server.handle();
        let serving = actix_rt::spawn(server);
        handle.stop(true).await;
        let (end, drained) = serve(&app, serving, &handle, &mut Signals::new().unwrap()).await;
        assert!(matches!(end, End::ServerEnded(_)) && !drained);
        assert!(end.into_result().is_err());
        assert!(app.is_draining());
        let call_sid = "CA00000000000000000000000000000001".parse().unwrap();
        let admission = app.registry.admit(call_sid, String::new(), String::new()).await;
        assert_eq!(admission, Ok(Answer::Next(NextStep::HandedOver)), "the calls were handed over");
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_asked_again_and_again() {
        let asked = Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Err(RegistryDown) } else { Ok("idle") }
        };
        assert_eq!(answered("an answer", ask).await, "idle");
        assert_eq!(asked.get(), 3);
    }
}
