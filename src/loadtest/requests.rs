//! Requests that are sent when they are due, whether or not the ones before are answered: a slow answer
//! delays nobody else, and each is counted from when it was due, so that what one stall does to all who come
//! after it is in the figures.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::schedule::Schedule;
use super::tally::Tally;
use super::target::Fault;

/// So many requests may be unanswered: each has a descriptor, and of the 1,024 that a process has where
/// nobody gives it more, some are left for everything else.
pub const MOST_UNANSWERED: u32 = 900;
/// How long another request waits for one of them to be answered. Then it is not sent; the wait is this
/// program's lag.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// Sends all requests of `schedule`, made by `send` from their numbers, and returns when the last one is
/// answered; or, where the first answers are [refusals](Tally::is_refused), when these are.
pub async fn send_all<F>(schedule: Schedule, tally: &Rc<Tally>, send: impl Fn(u32) -> F)
where
    F: Future<Output = Result<(), Fault>> + 'static,
{
    send_within(MOST_UNANSWERED, schedule, tally, send).await;
}

async fn send_within<F>(most: u32, schedule: Schedule, tally: &Rc<Tally>, send: impl Fn(u32) -> F)
where
    F: Future<Output = Result<(), Fault>> + 'static,
{
    let (started, room) = (Instant::now(), Arc::new(Semaphore::new(most as usize)));
    for index in 0..schedule.count {
        let due = started + schedule.due(index);
        sleep_until(due).await;
        if tally.is_refused() {
            break;
        }
        let place = timeout_at(due + ROOM_WITHIN, room.clone().acquire_owned()).await;
        tally.lagged(due.elapsed());
        let Ok(place) = place else {
            tally.failed(format!("not sent: {most} were unanswered"));
            continue;
        };
        let (request, tally) = (send(index), tally.clone());
        actix_rt::spawn(async move {
            let result = request.await;
            tally.answered(due.elapsed(), result);
            drop(place);
        });
    }
    // All places are free when all requests are answered; nobody closes the semaphore.
    let _ = room.acquire_many(most).await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::Barrier;
    use tokio::time::timeout;

    use super::*;

    #[actix_rt::test]
    async fn a_slow_answer_delays_nobody_else_and_all_are_counted_from_when_they_were_due() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 10, within: Duration::from_millis(100), at_once: 1 };
        let all_are_sent = Rc::new(Barrier::new(10)); // none is answered before
        let sent = send_all(schedule, &tally, |_| {
            let all_are_sent = all_are_sent.clone();
            async move {
                all_are_sent.wait().await;
                Ok(())
            }
        });
        timeout(Duration::from_secs(20), sent).await.expect("they wait for each other");
        assert_eq!(tally.done(), 10);
        // They are due over 90 ms, so half of them wait for 45 ms at the least.
        assert!(tally.response_ms().p50.is_some_and(|p50| p50 >= 40.0));
    }

    #[actix_rt::test]
    async fn what_comes_late_because_of_us_is_our_lag() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 2, within: Duration::from_millis(100), at_once: 1 };
        send_all(schedule, &tally, |index| async move {
            if index == 0 {
                std::thread::sleep(Duration::from_millis(300)); // nobody gets anything done
            }
            Err(Fault::Theirs("500".to_owned()))
        })
        .await;
        assert_eq!(tally.errors_by("500"), 2);
        assert!(tally.lag_ms().p99.is_some_and(|p99| p99 >= 200.0), "{:?}", tally.lag_ms());
    }

    #[actix_rt::test]
    async fn nothing_more_is_sent_to_whom_refuses_from_the_first_on() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 10, within: Duration::from_secs(1), at_once: 1 };
        let answer = |status: &str| Err(Fault::Theirs(status.to_owned()));
        send_all(schedule, &tally, |_| std::future::ready(answer("403"))).await;
        assert_eq!((tally.done(), tally.is_refused()), (1, true));
        let tally = Rc::new(Tally::default());
        send_all(schedule, &tally, |index| {
            std::future::ready(if index == 0 { Ok(()) } else { answer("403") })
        })
        .await;
        assert_eq!((tally.done(), tally.is_refused()), (10, false), "that is the program's own affair");
    }

    #[actix_rt::test]
    async fn what_finds_no_room_is_not_sent_and_says_so() {
        let tally = Rc::new(Tally::default());
        let schedule = Schedule { count: 6, within: Duration::from_millis(100), at_once: 1 };
        send_within(4, schedule, &tally, |_| async {
            tokio::time::sleep(2 * ROOM_WITHIN).await;
            Ok(())
        })
        .await;
        assert_eq!((tally.done(), tally.errors_by("not sent: 4 were unanswered")), (6, 2));
        assert!(tally.lag_ms().p99.is_some_and(|p99| p99 >= 990.0), "{:?}", tally.lag_ms());
    }
}
