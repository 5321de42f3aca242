//! Going down: first no new calls, then no calls at all. The registry is asked again where it does not answer: an error
//! is never taken for an answer, because a live call may stand behind it. The deadlines are for whoever calls.

use std::time::Duration;

use actors::registry::{Registry, RegistryDown};
use tokio::time::{sleep, timeout};

/// How often a draining process looks whether the last call is over, and asks a registry that has not answered.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A call that has not ended by then is told once more: it may have panicked at the news.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Refuses new calls, and waits until those on the line are over.
pub async fn wait_for_the_last_call(registry: &Registry) {
    answered("new calls are not refused yet", async || registry.drain().await).await;
    last_call_is_over(registry).await;
}

/// Hands over the calls that are left, and waits until their callers are gone.
pub async fn hand_over(registry: &Registry) {
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

    use super::*;

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
