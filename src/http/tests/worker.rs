use std::future::pending;

use futures_util::future::join_all;

use super::*;

fn worker() -> ApiWorker {
    ApiWorker::start(&prometheus::Registry::new()).unwrap()
}

fn status(error: &ApiError) -> u16 {
    actix_web::ResponseError::status_code(error).as_u16()
}

#[tokio::test]
async fn work_runs_on_the_workers_own_thread() {
    let name = worker().run(Kind::Query, async || thread::current().name().map(str::to_owned)).await;
    assert_eq!(name.unwrap().as_deref(), Some(THREAD));
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_own_request_and_the_worker_goes_on() {
    let worker = worker();
    let panicked = worker.run(Kind::Query, async || -> u32 { panic!("on purpose") });
    let beside = worker.run(Kind::Query, async || {
        tokio::task::yield_now().await;
        "fine"
    });
    let (panicked, beside) = futures_util::future::join(panicked, beside).await;
    assert_eq!(status(&panicked.unwrap_err()), 500);
    assert_eq!(beside.unwrap(), "fine");
}

#[tokio::test]
async fn work_beyond_the_limit_is_refused_and_room_comes_back() {
    let worker = worker();
    let (open, gate) = tokio::sync::watch::channel(false);
    let held = (0..Kind::Query.limit()).map(|_| {
        let mut gate = gate.clone();
        worker.run(Kind::Query, async move || gate.wait_for(|open| *open).await.is_ok())
    });
    let beyond = async {
        let refused = worker.run(Kind::Query, async || {}).await.unwrap_err();
        assert_eq!(status(&refused), 503);
        worker.run(Kind::Picture, async || {}).await.unwrap(); // has room of its own
        open.send_replace(true);
    };
    let (answers, ()) = futures_util::future::join(join_all(held), beyond).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap()));
    assert_eq!(worker.metrics.refused.get(), 1);
    worker.run(Kind::Query, async || {}).await.unwrap();
}

#[tokio::test]
async fn work_without_an_answer_in_time_is_given_up() {
    let worker = ApiWorker { answered_within: Duration::from_millis(1), ..worker() };
    let (held, dropped) = oneshot::channel::<()>();
    let late = worker.run(Kind::Query, async move || {
        let _held = held;
        pending::<()>().await;
    });
    assert_eq!(status(&late.await.unwrap_err()), 503);
    assert!(dropped.await.is_err(), "the work has ended, too");
}

#[tokio::test]
async fn work_whose_client_has_left_is_dropped() {
    let worker = worker();
    let ((begun, begins), (held, dropped)) = (oneshot::channel(), oneshot::channel::<()>());
    let mut asked = Box::pin(worker.run(Kind::Export, async move || {
        let _held = held;
        begun.send(()).unwrap();
        pending::<()>().await;
    }));
    tokio::select! {
        _ = &mut asked => panic!("it has no answer"),
        begun = begins => begun.unwrap(),
    }
    drop(asked);
    assert!(dropped.await.is_err());
}

/// The parts that come, and whether the answer came to its end.
async fn read(mut parts: Parts) -> (String, bool) {
    let mut read = String::new();
    loop {
        match parts.next().await {
            Ok(Some(part)) => read.push_str(str::from_utf8(&part).unwrap()),
            end => return (read, end.is_ok()),
        }
    }
}

#[tokio::test]
async fn a_streamed_answer_has_an_end_only_if_the_work_came_to_its_own() {
    let worker = worker();
    let whole = worker.stream(Kind::Export, async |out| {
        out.send("a".into()).await?;
        out.send("b".into()).await
    });
    assert_eq!(read(whole.await.unwrap()).await, ("ab".to_owned(), true));
    let empty = worker.stream(Kind::Export, async |_| Ok(()));
    assert_eq!(read(empty.await.unwrap()).await, (String::new(), true));
    let failed = worker.stream(Kind::Export, async |out| {
        out.send("a".into()).await?;
        Err(ApiError::Unavailable)
    });
    assert_eq!(read(failed.await.unwrap()).await, ("a".to_owned(), false));
    let panicked = worker.stream(Kind::Export, async |out| {
        out.send("a".into()).await?;
        panic!("on purpose")
    });
    assert_eq!(read(panicked.await.unwrap()).await, ("a".to_owned(), false));
    let at_once = worker.stream(Kind::Export, async |_| Err(ApiError::NotFound)).await;
    assert_eq!(at_once.map(|_| ()).map_err(|error| status(&error)), Err(404));
}

#[tokio::test]
async fn an_export_makes_no_more_parts_than_are_read() {
    let worker = worker();
    let (counted, count) = tokio::sync::watch::channel(0);
    let parts = worker.stream(Kind::Export, async move |out| {
        let mut made = 0;
        loop {
            made += 1;
            counted.send_replace(made);
            out.send("part".into()).await?;
        }
    });
    let parts = parts.await.unwrap();
    // The worker's thread has had its turn when other work has been answered.
    for _ in 0..10 {
        worker.run(Kind::Query, async || {}).await.unwrap();
    }
    let made = *count.borrow();
    assert!(made <= 3, "{made}: one was taken, one waits, and there is no room for the third");
    drop(parts);
}
