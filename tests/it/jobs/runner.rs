//! The runner: who runs what, and when.

use std::cell::{Cell, RefCell};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use actors::db::{Db, JobOrder, JobRow};
use actors::jobs::{Job, JobError, Jobs, Progress};
use actors::metrics::{MetricSet as _, Metrics};
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, pending};
use prometheus::Registry;

use super::db;
use crate::support::eventually;
use crate::support::outage::Outage;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::TestDatabase;

const HOUR: Duration = Duration::from_secs(3_600);

/// What a test sees of a job, whoever runs it.
#[derive(Default)]
struct Seen {
    runs: Cell<u32>,
    now: Cell<u32>,
    most_at_once: Cell<u32>,
    who: RefCell<Vec<&'static str>>,
}

#[derive(Clone, Copy)]
enum Manner {
    Works,
    Fails,
    Panics,
    Hangs,
}

struct Sample {
    name: &'static str,
    instance: &'static str,
    manner: Manner,
    seen: Rc<Seen>,
}

impl Job for Sample {
    fn name(&self) -> &'static str {
        self.name
    }

    fn every(&self) -> Duration {
        HOUR
    }

    fn run(&self) -> LocalBoxFuture<'_, Result<Progress, JobError>> {
        async {
            let seen = &self.seen;
            seen.now.update(|now| now + 1);
            seen.most_at_once.update(|most| most.max(seen.now.get()));
            seen.who.borrow_mut().push(self.instance);
            match self.manner {
                Manner::Works => tokio::time::sleep(Duration::from_millis(50)).await,
                Manner::Fails => {}
                Manner::Panics => {
                    seen.now.update(|now| now - 1);
                    seen.runs.update(|runs| runs + 1);
                    panic!("on purpose");
                }
                Manner::Hangs => pending().await,
            }
            seen.now.update(|now| now - 1);
            seen.runs.update(|runs| runs + 1);
            match self.manner {
                Manner::Fails => Err(actors::db::DbError::Refused("on purpose".to_owned()).into()),
                _ => Ok(Progress::Done),
            }
        }
        .boxed_local()
    }
}

/// A runner of these jobs.
fn runs(db: &Db, instance: &'static str, samples: &[(&'static str, Manner, &Rc<Seen>)]) -> (Jobs, Registry) {
    let metrics = Registry::new();
    let jobs = samples.iter().map(|(name, manner, seen)| {
        Box::new(Sample { name, instance, manner: *manner, seen: Rc::clone(seen) }) as Box<dyn Job>
    });
    let counts = Metrics::build().unwrap().of_actor("jobs");
    (Jobs::start(jobs.collect(), db.operations(), instance, counts, &metrics).unwrap(), metrics)
}

async fn row(db: &Db, name: &str) -> JobRow {
    db.operations().jobs().await.unwrap().into_iter().find(|job| job.name == name).expect("declared")
}

fn count(metrics: &Registry, job: &str, result: &str) -> f64 {
    let families = metrics.gather();
    let Some(runs) = families.iter().find(|family| family.name() == "switchboard_job_runs_total") else {
        return 0.0;
    };
    let wanted = |metric: &&prometheus::proto::Metric| {
        metric.get_label().iter().all(|label| [job, result].contains(&label.value()))
    };
    runs.get_metric().iter().filter(wanted).map(|metric| metric.get_counter().get_value()).sum()
}

#[actix_rt::test]
async fn two_runners_share_the_jobs_and_each_run_happens_once() {
    let database = TestDatabase::create().await;
    let pooler = PgBouncer::before(&database);
    let (here, there) = (db(&pooler.url, "here"), db(&pooler.url, "there"));
    let seen: Vec<Rc<Seen>> = (0..8).map(|_| Rc::default()).collect();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let samples: Vec<_> =
        names.into_iter().zip(&seen).map(|(name, seen)| (name, Manner::Works, seen)).collect();
    let (first, _) = runs(&here, "here", &samples);
    let (second, _) = runs(&there, "there", &samples);

    for round in 1..=3 {
        eventually("each job ran once more", async || seen.iter().all(|seen| seen.runs.get() == round)).await;
        eventually("all of it is written", async || {
            here.operations()
                .jobs()
                .await
                .unwrap()
                .iter()
                .all(|job| job.leased_by.is_none() && job.runs == i64::from(round))
        })
        .await;
        for name in names {
            here.operations().order_job(name, JobOrder::RunNow).await.unwrap().unwrap();
        }
    }
    eventually("the last round ran", async || seen.iter().all(|seen| seen.runs.get() == 4)).await;
    assert!(seen.iter().all(|seen| seen.most_at_once.get() == 1), "nothing ran twice at once");
    let who: Vec<_> = seen.iter().flat_map(|seen| seen.who.borrow().clone()).collect();
    assert_eq!(who.len(), 32);
    assert!(who.contains(&"here") && who.contains(&"there"), "{who:?}");
    first.stop().await;
    second.stop().await;
    let jobs = here.operations().jobs().await.unwrap();
    assert!(jobs.iter().all(|job| job.failures == 0 && job.last_result.as_deref() == Some("ok")), "{jobs:?}");
}

#[actix_rt::test]
async fn a_paused_job_does_not_run_until_it_is_resumed() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    let ops = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        let output = command
            .args(["ops", "jobs"])
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &database.url)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (paused, other) = (Rc::<Seen>::default(), Rc::<Seen>::default());
    let samples = [("paused", Manner::Works, &paused), ("other", Manner::Works, &other)];
    let (runner, _) = runs(&db, "here", &samples);
    eventually("both ran", async || paused.runs.get() == 1 && other.runs.get() == 1).await;

    let (status, told) = ops(&["--pause", "paused"]);
    let told: Vec<_> = told.lines().last().unwrap().split_whitespace().take(3).collect();
    assert_eq!((status, told), (0, vec!["paused", "paused", "3600s"]));
    assert_eq!(ops(&["--run", "paused"]).0, 1, "it is told that this has to wait");
    assert_eq!(ops(&["--run", "other"]).0, 0);
    eventually("the other one ran", async || other.runs.get() == 2).await;
    assert_eq!(paused.runs.get(), 1);
    assert_eq!(ops(&["--resume", "paused"]).0, 0);
    eventually("it runs", async || paused.runs.get() == 2).await;

    assert_eq!(ops(&["--pause", "nothing"]).0, 64);
    assert_eq!(ops(&["--pause", "other", "--resume", "other"]).0, 64);
    eventually("all of it is in the table", async || {
        let (status, told) = ops(&[]);
        assert_eq!((status, told.lines().count()), (0, 3), "{told}");
        told.matches(" ok ").count() == 2
    })
    .await;
    runner.stop().await;
}

#[actix_rt::test]
async fn what_goes_wrong_stands_in_the_row_and_in_the_metric_and_the_runner_goes_on() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    let seen: [Rc<Seen>; 3] = Default::default();
    let samples = [
        ("1-fails", Manner::Fails, &seen[0]),
        ("2-panics", Manner::Panics, &seen[1]),
        ("3-works", Manner::Works, &seen[2]),
    ];
    let (runner, metrics) = runs(&db, "here", &samples);
    eventually("all ran", async || {
        db.operations().jobs().await.unwrap().iter().filter(|job| job.last_result.is_some()).count() == 3
    })
    .await;
    let told = database
        .query(
            "SELECT name, last_result, last_error, runs, failures, leased_by,
                extract(epoch FROM next_run_at - now())::int BETWEEN 200 AND 400
            FROM jobs ORDER BY name",
        )
        .await;
    assert_eq!(
        told,
        [
            "1-fails|failed|the database: the database refused the query: on purpose|1|1|∅|t",
            "2-panics|panicked|on purpose|1|1|∅|t",
            "3-works|ok|∅|1|0|∅|f",
        ]
    );
    assert_eq!(count(&metrics, "1-fails", "failed"), 1.0);
    assert_eq!(count(&metrics, "2-panics", "panicked"), 1.0);
    assert_eq!(count(&metrics, "3-works", "ok"), 1.0);
    db.operations().order_job("2-panics", JobOrder::RunNow).await.unwrap();
    eventually("it panics again", async || count(&metrics, "2-panics", "panicked") == 2.0).await;
    runner.stop().await;
}

#[actix_rt::test]
async fn a_job_whose_process_is_gone_runs_again_when_the_lease_is_over() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    database
        .query(
            "INSERT INTO jobs (name, every_seconds, leased_by, lease_until, runs)
            VALUES ('held', 60, 'gone', now() + interval '3 s', 7), ('mine', 60, 'here', now() + interval '1 h', 1)",
        )
        .await;
    let (held, mine) = (Rc::<Seen>::default(), Rc::<Seen>::default());
    let begun = std::time::Instant::now();
    let (runner, _) = runs(&db, "here", &[("held", Manner::Works, &held), ("mine", Manner::Works, &mine)]);
    eventually("this instance's own is free at once", async || mine.runs.get() == 1).await;
    assert_eq!(held.runs.get(), 0, "{:?}", begun.elapsed());
    eventually("the other's is free later", async || {
        row(&db, "held").await.last_result.as_deref() == Some("ok")
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_millis(2_900), "{:?}", begun.elapsed());
    assert_eq!((row(&db, "held").await.failures, row(&db, "held").await.runs), (1, 8), "the lost run counts");
    runner.stop().await;
}

#[actix_rt::test]
async fn a_runner_that_stops_gives_its_job_back_at_once() {
    let database = TestDatabase::create().await;
    let (here, there) = (db(&database.url, "here"), db(&database.url, "there"));
    let (hangs, works) = (Rc::<Seen>::default(), Rc::<Seen>::default());
    let (runner, _) = runs(&here, "here", &[("job", Manner::Hangs, &hangs)]);
    eventually("it runs", async || hangs.now.get() == 1).await;
    let (other, _) = runs(&there, "there", &[("job", Manner::Works, &works)]);
    eventually("the other runner is there", async || row(&there, "job").await.leased_by.is_some()).await;
    assert_eq!(row(&there, "job").await.leased_by.as_deref(), Some("here"));
    assert_eq!(works.runs.get(), 0);
    runner.stop().await;
    let given_back = row(&there, "job").await;
    assert!(given_back.leased_by.as_deref() != Some("here") && given_back.failures == 0, "{given_back:?}");
    eventually("the other one runs it", async || works.runs.get() == 1).await;
    other.stop().await;
}

#[actix_rt::test]
async fn who_asks_for_a_run_while_one_is_under_way_gets_another() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    let lease = {
        db.operations().declare_jobs("here", &[("job", HOUR)]).await.unwrap();
        db.operations().lease_job(&["job"], "here", HOUR).await.unwrap().expect("due")
    };
    assert_eq!(db.operations().lease_job(&["job"], "there", HOUR).await.unwrap(), None, "it is taken");
    db.operations().order_job("job", JobOrder::RunNow).await.unwrap();
    let run = actors::db::JobRun {
        lease,
        instance: "here".to_owned(),
        result: actors::db::JobResult::Ok,
        error: None,
        took: Duration::ZERO,
        next_in: HOUR,
    };
    assert!(db.operations().job_ran(&run).await.unwrap());
    assert!(!db.operations().job_ran(&run).await.unwrap(), "the lease is given back");
    let again = db.operations().lease_job(&["job"], "there", HOUR).await.unwrap();
    assert_eq!(again.map(|lease| lease.runs), Some(2));
    assert!(!db.operations().job_ran(&run).await.unwrap(), "an older run says nothing of a newer one");
}

#[actix_rt::test]
async fn a_database_that_is_away_is_waited_for() {
    let outage = Outage::prepare().await.begin();
    let db = db(&outage.url, "here");
    let seen = Rc::<Seen>::default();
    let (runner, metrics) = runs(&db, "here", &[("job", Manner::Works, &seen)]);
    eventually("it was asked in vain", async || {
        matches!(db.status().health(), actors::db::DbHealth::Unavailable(_))
    })
    .await;
    let _back = outage.end();
    eventually("it runs", async || seen.runs.get() == 1).await;
    eventually("it is counted", async || count(&metrics, "job", "ok") == 1.0).await;
    runner.stop().await;
}
