//! What a process does beside the calls, or instead of them: it processes the webhooks that are stored, and
//! does the jobs that its settings let it do.

use actors::db::{Db, Operations};
use actors::jobs::{DeadLetterReport, Job, Jobs, Prices, Prune, Reconcile, Retention, Retentions};
use actors::metrics::{ActorMetrics, MetricSet as _, Metrics, Registrar};
use actors::wire::twilio::rest::TwilioApi;
use anyhow::Context as _;

use crate::app::StartError;
use crate::serve::{FINISH_DEADLINE, check_schema};
use crate::settings::WorkerSettings;
use crate::signals::Signals;

/// Starts the runner of the jobs, on the current arbiter. Without `twilio` nothing is asked of it.
///
/// # Errors
/// `metrics` has those of the jobs already.
pub fn start(
    db: Operations,
    instance: &str,
    twilio: Option<TwilioApi>,
    keep: Retentions,
    counts: ActorMetrics,
    metrics: &dyn Registrar,
) -> prometheus::Result<Jobs> {
    let mut jobs: Vec<Box<dyn Job>> = vec![Box::new(DeadLetterReport { db: db.clone() })];
    if let Some(twilio) = &twilio {
        jobs.push(Box::new(Reconcile { db: db.clone(), twilio: twilio.clone() }));
        jobs.push(Box::new(Prices { db: db.clone(), twilio: twilio.clone() }));
    }
    jobs.push(Box::new(Prune { db: db.clone(), keep }));
    if keep.is_personal() {
        jobs.push(Box::new(Retention { db: db.clone(), twilio, keep }));
    }
    Jobs::start(jobs, db, instance, counts, metrics)
}

/// Does what there is to do beside the calls, and answers none, until a signal.
pub async fn run(settings: WorkerSettings) -> Result<(), StartError> {
    let mut signals = Signals::new()?;
    let (metrics, calls) =
        (prometheus::Registry::new(), Metrics::build().context("the metrics of the calls")?);
    let db = Db::start_counted(settings.db.clone(), calls.clone(), &metrics)?;
    check_schema(&db).await?;
    db.process_webhooks();
    let twilio = settings.twilio.api().context("the address of Twilio's REST API")?;
    let (instance, counts) = (&settings.instance_id, calls.of_actor("jobs"));
    let jobs = start(db.operations(), instance, twilio, settings.retention, counts, &metrics)
        .context("the metrics of the jobs")?;
    tracing::info!(instance = settings.instance_id, "working");
    signals.next().await;
    jobs.stop().await;
    let unwritten = db.finish(FINISH_DEADLINE).await;
    tracing::info!(unwritten, "stopped");
    Ok(())
}
