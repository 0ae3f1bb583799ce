//! Delivers webhooks: tells receivers that jobs are over. Called with up to a hundred jobs, which it tells of at the same time: a slow receiver
//! makes the call longer and keeps nobody waiting.

mod receiver;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use receiver::Message;
pub use receiver::Receivers;
use serde::Serialize;
use shared::{
    App, Error, Result,
    deliveries::Deliveries,
    http::{LONGEST_RESULT, webhook_event},
    metrics::Metric,
    model::{Delivery, DeliveryState, Job, PayloadKind, SHORT_PAUSE, Try},
    time::Timestamp,
    webhook::Webhook,
};
use tokio::{sync::Semaphore, time::sleep};
use uuid::Uuid;

/// What a call did.
#[derive(Debug, Default, Serialize)]
pub struct Output {
    /// Receivers that have taken what they were told.
    delivered: u32,
    /// Deliveries that were given up.
    failed: u32,
    /// Those that the reaper tries again.
    later: u32,
    /// Those that somebody else is at, or was.
    unchanged: u32,
}

/// Jobs whose results and lists of files are in memory at the same time, apart from what is sent.
const LOADED: usize = 4;
/// Bytes of the longest list of files that is told.
const LONGEST_LIST: u64 = 256 << 10;

/// Tells of these jobs.
pub async fn handle(app: &App, receivers: &Receivers, event: Deliveries) -> Result<Output> {
    let started = Instant::now();
    // It may have waited in Lambda's queue.
    let called_at = event.at.max(Timestamp::system());
    let at_once = event.jobs.len().max(1);
    let loading = &Semaphore::new(LOADED);
    let told = stream::iter(event.jobs).map(|job_id| async move {
        let told = tell(app, receivers, loading, job_id, called_at, started).await;
        told.unwrap_or_else(|error| {
            // It is due for the reaper.
            tracing::error!(job.id = %job_id, cause = ?error.cause(), "a webhook could not be delivered");
            Some(DeliveryState::Pending)
        })
    });
    let mut output = Output::default();
    for state in told.buffer_unordered(at_once).collect::<Vec<_>>().await {
        *match state {
            Some(DeliveryState::Delivered) => &mut output.delivered,
            Some(DeliveryState::Failed) => &mut output.failed,
            Some(DeliveryState::Pending) => &mut output.later,
            None => &mut output.unchanged,
        } += 1;
    }
    app.metrics.add(Metric::WebhooksDelivered, output.delivered.into());
    app.metrics.add(Metric::WebhooksFailed, output.failed.into());
    Ok(output)
}

/// Tries once, and after a short pause once more. How the delivery stands then; None where there was nothing to do, or somebody else was faster.
async fn tell(
    app: &App,
    receivers: &Receivers,
    loading: &Semaphore,
    job_id: Uuid,
    called_at: Timestamp,
    started: Instant,
) -> Result<Option<DeliveryState>> {
    let now = || called_at.plus(started.elapsed());
    let mut mine = None;
    loop {
        let (delivery, job) = app.jobs.delivery_and_job(job_id).await?;
        let Some(delivery) = delivery.filter(|delivery| delivery.state == DeliveryState::Pending) else {
            return Ok(None);
        };
        if delivery.is_paused(now()) || mine.is_some_and(|revision| revision != delivery.revision()) {
            return Ok(None);
        }
        let (change, pause) = match job.filter(|job| delivery.is_of(job)) {
            None => (delivery.give_up("The job was deleted, or tried again, before its end was told", now())?, None),
            Some(job) => {
                let begun = Instant::now();
                let tried = attempt(app, receivers, loading, &delivery, job, now()).await?;
                let ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
                delivery.tried(Try { ms, ..tried }, now())?
            }
        };
        let is_first = !delivery.log.iter().any(Try::is_success);
        let Some(after) = app.jobs.change_delivery(&delivery, change).await? else { return Ok(None) };
        if after.state == DeliveryState::Delivered && is_first {
            app.metrics.longest(Metric::WebhookDelay, after.ended_at, now());
        }
        mine = Some(after.revision());
        match pause {
            Some(pause) if pause <= SHORT_PAUSE => sleep(Duration::from_secs(pause.unsigned_abs())).await,
            _ => return Ok(Some(after.state)),
        }
    }
}

/// What the receiver says to it.
async fn attempt(
    app: &App,
    receivers: &Receivers,
    loading: &Semaphore,
    delivery: &Delivery,
    job: Job,
    at: Timestamp,
) -> Result<Try> {
    let refused = |why: &str| Try { at, status: None, ms: 0, body: None, error: Some(why.to_owned()) };
    // What was taken when the job was created may be refused now: the operator's networks are fewer.
    let webhook = match job.webhook.as_deref().map(|url| Webhook::parse(url, receivers.reach())) {
        Some(Ok(webhook)) => webhook,
        Some(Err(why)) => return Ok(refused(why)),
        None => return Ok(refused("The job has no webhook")),
    };
    let secret = app.registry.webhook_secret(job.user_id).await?;
    let body = {
        let _one_of_few = loading.acquire().await.map_err(|error| Error::internal("deliver webhooks", error))?;
        webhook_event(loaded(app, job).await?)?
    };
    let (webhook_id, sent_at) = (delivery.webhook_id(), Timestamp::system());
    let signature = secret.sign(&webhook_id, sent_at, &body, sent_at);
    let message = Message { webhook_id, sent_at, signature, body };
    Ok(Try { at, ..receivers.send(&webhook, message).await })
}

/// The job with what is told of it. What is too long, or gone from the bucket, is not.
async fn loaded(app: &App, mut job: Job) -> Result<Job> {
    for (kind, longest) in [
        (PayloadKind::Result, LONGEST_RESULT as u64),
        (PayloadKind::Files, LONGEST_LIST),
        (PayloadKind::Inputs, LONGEST_LIST),
    ] {
        let size = job.stored_apart(kind).map_or(0, |stored| stored.size);
        let is_there = size <= longest && app.payloads()?.load(&mut job, &[kind]).await?.is_none();
        if !is_there && kind == PayloadKind::Inputs {
            job.inputs = None;
        }
    }
    Ok(job)
}
