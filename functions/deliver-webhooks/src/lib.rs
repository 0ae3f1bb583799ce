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
use tokio::time::sleep;
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

/// Tells of these jobs.
pub async fn handle(app: &App, receivers: &Receivers, event: Deliveries) -> Result<Output> {
    let started = Instant::now();
    let at_once = event.jobs.len().max(1);
    let told = stream::iter(event.jobs).map(|job_id| async move {
        let told = tell(app, receivers, job_id, event.at, started).await;
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

/// Tries once, and after a short pause once more. How the delivery stands then; None where there was nothing to do.
async fn tell(
    app: &App,
    receivers: &Receivers,
    job_id: Uuid,
    called_at: Timestamp,
    started: Instant,
) -> Result<Option<DeliveryState>> {
    loop {
        let (delivery, job) = app.jobs.delivery_and_job(job_id).await?;
        let Some(delivery) = delivery.filter(|delivery| delivery.state == DeliveryState::Pending) else {
            return Ok(None);
        };
        let now = called_at.plus(started.elapsed());
        let (change, pause) = match job.filter(|job| delivery.is_of(job)) {
            None => (delivery.give_up("The job was deleted, or tried again, before its end was told", now)?, None),
            Some(job) => {
                let begun = Instant::now();
                let tried = attempt(app, receivers, &delivery, job).await?;
                let ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
                delivery.tried(Try { at: now, ms, ..tried }, called_at.plus(started.elapsed()))?
            }
        };
        let Some(after) = app.jobs.change_delivery(&delivery, change).await? else { continue };
        if after.state == DeliveryState::Delivered {
            app.metrics.longest(Metric::WebhookDelay, after.ended_at, called_at.plus(started.elapsed()));
        }
        match pause {
            Some(pause) if pause <= SHORT_PAUSE => sleep(Duration::from_secs(pause.unsigned_abs())).await,
            _ => return Ok(Some(after.state)),
        }
    }
}

/// What the receiver says to it.
async fn attempt(app: &App, receivers: &Receivers, delivery: &Delivery, mut job: Job) -> Result<Try> {
    let refused =
        |why: &str| Try { at: delivery.ended_at, status: None, ms: 0, body: None, error: Some(why.to_owned()) };
    // What was taken when the job was created may be refused now: the operator's networks are fewer.
    let webhook = match job.webhook.as_deref().map(|url| Webhook::parse(url, receivers.reach())) {
        Some(Ok(webhook)) => webhook,
        Some(Err(why)) => return Ok(refused(why)),
        None => return Ok(refused("The job has no webhook")),
    };
    let is_short =
        |job: &Job| job.stored_apart(PayloadKind::Result).is_some_and(|result| result.size <= LONGEST_RESULT as u64);
    let wanted: &[PayloadKind] =
        if is_short(&job) { &[PayloadKind::Result, PayloadKind::Files] } else { &[PayloadKind::Files] };
    if let Some(gone) = app.payloads()?.load(&mut job, wanted).await? {
        return Err(Error::from(gone));
    }
    let secret = app.registry.webhook_secret(job.user_id).await?;
    let body = webhook_event(job)?;
    let (webhook_id, sent_at) = (delivery.webhook_id(), Timestamp::system());
    let signature = secret.sign(&webhook_id, sent_at, &body, sent_at);
    let message = Message { webhook_id, sent_at, signature, body };
    Ok(receivers.send(&webhook, message).await)
}
