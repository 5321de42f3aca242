//! Requests that are sent when they are due, whether or not the ones before are answered: a slow answer delays nobody
//! else, and each is counted from when it was due, so that what one stall does to all who come after it is in the
//! figures.

use std::rc::Rc;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::schedule::Schedule;
use super::tally::Tally;

/// Sends all requests of `schedule`, made by `send` from their numbers, and returns when the last one is answered.
pub async fn send_all<F>(schedule: Schedule, tally: &Rc<Tally>, send: impl Fn(u32) -> F)
where
    F: Future<Output = Result<(), String>> + 'static,
{
    let started = Instant::now();
    let mut under_way = Vec::new();
    for index in 0..schedule.count {
        let due = started + schedule.due(index);
        sleep_until(due).await;
        tally.lagged(due.elapsed());
        let (request, tally) = (send(index), tally.clone());
        under_way.push(actix_rt::spawn(async move {
            let result = request.await;
            tally.answered(due.elapsed(), result);
        }));
    }
    join_all(under_way).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[actix_rt::test]
    async fn a_slow_answer_delays_nobody_else_and_all_are_counted_from_when_they_were_due() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 10, within: Duration::from_millis(100), at_once: 1 };
        let started = Instant::now();
        send_all(schedule, &tally, |_| async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(())
        })
        .await;
        assert!(started.elapsed() < Duration::from_secs(3), "they waited for each other");
        assert_eq!(tally.done(), 10);
        assert!(tally.response_ms().p50.is_some_and(|p50| p50 >= 490.0));
    }

    #[actix_rt::test]
    async fn what_comes_late_because_of_us_is_our_lag() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 2, within: Duration::from_millis(100), at_once: 1 };
        send_all(schedule, &tally, |index| async move {
            if index == 0 {
                std::thread::sleep(Duration::from_millis(300)); // nobody gets anything done
            }
            Err("500".to_owned())
        })
        .await;
        assert_eq!(tally.errors_by("500"), 2);
        assert!(tally.lag_ms().p99.is_some_and(|p99| p99 >= 200.0), "{:?}", tally.lag_ms());
    }
}
