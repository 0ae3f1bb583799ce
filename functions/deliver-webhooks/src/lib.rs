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
    http::webhook_event,
    metrics::Metric,
    model::{Delivery, DeliveryState, Job, PayloadKind, SHORT_PAUSE, Try},
    payloads::Gone,
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

/// Jobs whose results and lists are in memory at the same time, apart from what is sent.
const LOADED: usize = 4;
/// Bytes of the longest result, list of files or list of inputs that is told.
const LONGEST: u64 = 256 << 10;
/// Why an end is not told.
const DELETED: &str = "The job was deleted, or tried again, before its end was told";

/// Tells of these jobs.
pub async fn handle(app: &App, receivers: &Receivers, event: Deliveries) -> Result<Output> {
    let run = Run {
        app,
        receivers,
        loading: Semaphore::new(LOADED),
        // It may have waited in Lambda's queue.
        called_at: event.at.max(Timestamp::system()),
        started: Instant::now(),
    };
    let at_once = event.jobs.len().max(1);
    let told = stream::iter(event.jobs).map(|job_id| run.tell(job_id));
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

/// One call of the function.
struct Run<'a> {
    app: &'a App,
    receivers: &'a Receivers,
    loading: Semaphore,
    called_at: Timestamp,
    started: Instant,
}

impl Run<'_> {
    fn now(&self) -> Timestamp {
        self.called_at.plus(self.started.elapsed())
    }

    /// How the delivery stands after it; None where there was nothing to do, or somebody else was faster.
    async fn tell(&self, job_id: Uuid) -> Option<DeliveryState> {
        self.try_twice(job_id).await.unwrap_or_else(|error| {
            // It is due for the reaper.
            tracing::error!(job.id = %job_id, cause = ?error.cause(), "a webhook could not be delivered");
            Some(DeliveryState::Pending)
        })
    }

    /// Tries once, and after a short pause once more.
    async fn try_twice(&self, job_id: Uuid) -> Result<Option<DeliveryState>> {
        let mut mine = None;
        loop {
            let (delivery, job) = self.app.jobs.delivery_and_job(job_id).await?;
            let Some(delivery) = delivery.filter(|delivery| delivery.state == DeliveryState::Pending) else {
                return Ok(None);
            };
            if delivery.is_paused(self.now()) || mine.is_some_and(|revision| revision != delivery.revision()) {
                return Ok(None);
            }
            let (change, pause) = match job.filter(|job| delivery.is_of(job)) {
                None => (delivery.give_up(DELETED, self.now())?, None),
                Some(job) => {
                    let (at, begun) = (self.now(), Instant::now());
                    let said = self.attempt(&delivery, job).await?;
                    let ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
                    delivery.tried(Try::new(at, ms, said), self.now())?
                }
            };
            let is_first = !delivery.log.iter().any(Try::is_success);
            let Some(after) = self.app.jobs.change_delivery(&delivery, change).await? else { return Ok(None) };
            if after.state == DeliveryState::Delivered && is_first {
                self.app.metrics.longest(Metric::WebhookDelay, after.ended_at, self.now());
            }
            mine = Some(after.revision());
            match pause {
                Some(pause) if pause <= SHORT_PAUSE => sleep(Duration::from_secs(pause.unsigned_abs())).await,
                _ => return Ok(Some(after.state)),
            }
        }
    }

    /// What the receiver says to it, or why it says nothing.
    async fn attempt(&self, delivery: &Delivery, job: Job) -> Result<Result<(u16, String), String>> {
        // What was taken when the job was created may be refused now: the operator's networks are fewer.
        let webhook = match job.webhook.as_deref().map(|url| Webhook::parse(url, self.receivers.reach())) {
            Some(Ok(webhook)) => webhook,
            Some(Err(why)) => return Ok(Err(why.to_owned())),
            None => return Ok(Err("The job has no webhook".to_owned())),
        };
        let secret = self.app.registry.webhook_secret(job.user_id).await?;
        let body = {
            let one_of_few = self.loading.acquire().await;
            let _one_of_few = one_of_few.map_err(|error| Error::internal("deliver webhooks", error))?;
            match self.loaded(job).await? {
                Ok(job) => webhook_event(&job)?,
                Err(gone) => return Ok(Err(gone)),
            }
        };
        let (webhook_id, sent_at) = (delivery.webhook_id(), Timestamp::system());
        let signature = secret.sign(&webhook_id, sent_at, &body, sent_at);
        let message = Message { webhook_id, sent_at, signature, body };
        Ok(self.receivers.send(&webhook, message).await)
    }

    /// The job with what is told of it, or why nothing is: what it has brought is gone from the bucket. What is too long is not told.
    async fn loaded(&self, mut job: Job) -> Result<Result<Job, String>> {
        for kind in [PayloadKind::Result, PayloadKind::Files, PayloadKind::Inputs] {
            let size = job.stored_apart(kind).map_or(0, |stored| stored.size);
            let gone = if size <= LONGEST { self.app.payloads()?.load(&mut job, &[kind]).await? } else { None };
            if kind == PayloadKind::Inputs {
                // Whoever shows a job that names inputs expects the list.
                job.inputs = job.inputs.filter(|_| size <= LONGEST && gone.is_none());
            } else if let Some(gone) = gone {
                return self.why_gone(&job, &gone).await.map(Err);
            }
        }
        Ok(Ok(job))
    }

    /// Why something of a job that was read is gone: with the job, or without it.
    async fn why_gone(&self, job: &Job, gone: &Gone) -> Result<String> {
        let (_, now) = self.app.jobs.delivery_and_job(job.job_id).await?;
        let keys = job.file_keys();
        let refers = |now: Job| now.stored_apart(gone.kind).is_some_and(|stored| keys.payload(stored) == gone.key);
        if !now.is_some_and(refers) {
            return Ok(DELETED.to_owned());
        }
        tracing::error!(job.id = %job.job_id, key = gone.key, "a webhook tells nothing: a payload is gone from the bucket");
        Ok(format!("The bucket of outputs no longer has the job's {}", gone.kind))
    }
}
