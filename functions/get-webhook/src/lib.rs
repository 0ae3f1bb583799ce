//! `GET /jobs/{job_id}/webhook`: what was done to tell of a job's end.

use lambda_http::{Body, Request, Response};
use shared::{
    App, Result,
    http::{DeliveryLog, reply},
};

/// Answers the tries. One round trip: the caller, the job and its delivery are read together.
#[utoipa::path(
    get,
    path = "/jobs/{job_id}/webhook",
    operation_id = "get-webhook",
    tag = "user",
    summary = "How the job's webhook fared",
    description = "Each try to tell its receiver that the job is over: the last 21 of them, the newest last. None before that, and of a job \
                   without a webhook.",
    params(("job_id" = Uuid, Path, description = "The job.")),
    responses(
        (status = 200, description = "The tries.", body = DeliveryLog),
        (status = 401), (status = 404),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let (_, job, delivery) = app.owner_and_delivery(&request).await?;
    Ok(reply::json(200, &DeliveryLog::new(delivery.filter(|delivery| delivery.is_of(&job)).as_ref())))
}
