//! `PUT /jobs/{job_id}/webhook`: a user has a job's end told once more.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Error, Result,
    http::{DeliveryLog, reply, request::now},
    model::End,
};

/// Begins the delivery anew, whatever came of it before: the receiver sees the same `webhook-id`. Where it is under way already, nothing
/// changes, so that nobody makes this service call a server all the time.
#[utoipa::path(
    put,
    path = "/jobs/{job_id}/webhook",
    operation_id = "redeliver-webhook",
    tag = "user",
    summary = "Deliver the job's webhook again",
    description = "Within seconds, and from then on as for the first time. The receiver sees the same `webhook-id`. Nothing changes while a try \
                   is under way. A body is ignored. 409 when the job is not over, or has no webhook.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses(
        (status = 200, description = "The tries so far.", body = DeliveryLog),
        (status = 401), (status = 404), (status = 409),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let (caller, mut job, mut delivery) = app.owner_and_delivery(&request).await?;
    let is_repeat = app.jobs.guard_repeat(caller.guard.as_ref(), job.job_id).await?;
    for _ in 0..4 {
        if job.webhook.is_none() {
            return Err(Error::Conflict("Job has no webhook".to_owned()));
        }
        if !job.terminal {
            return Err(Error::Conflict("Job is not over".to_owned()));
        }
        let delivery_of_this_end = delivery.filter(|delivery| delivery.is_of(&job));
        // Who has just been called is not called again, however often that is asked for.
        if let Some(delivery) = delivery_of_this_end.as_ref().filter(|it| is_repeat || it.is_under_way(now)) {
            return Ok(reply::json(200, &DeliveryLog::new(Some(delivery))));
        }
        let begun = match delivery_of_this_end {
            Some(delivery) => app.jobs.change_delivery(&delivery, delivery.again(now)).await?,
            None => app.jobs.begin_delivery(&End::from(&job), now).await?,
        };
        if let Some(delivery) = begun {
            // The reaper makes up for a call that fails.
            if let Err(error) = app.deliverer()?.deliver(&[job.job_id], now).await {
                tracing::error!(job.id = %job.job_id, cause = ?error.cause(), "a delivery waits for the reaper");
            }
            return Ok(reply::json(200, &DeliveryLog::new(Some(&delivery))));
        }
        // A try has ended meanwhile, or the job was tried again.
        (_, job, delivery) = app.owner_and_delivery(&request).await?;
    }
    Err(Error::Busy { retry_after: 1 })
}
