//! `GET /webhooks/secret`: what a user's webhooks are signed with.

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Result,
    http::{reply, request::now},
    model,
    tables::Read,
    time::{Timestamp, rfc3339_option},
};
use utoipa::ToSchema;

/// What a receiver verifies webhooks with.
#[derive(Serialize, ToSchema)]
pub struct WebhookSecret {
    /// `whsec_` and the key in base64, as the libraries of Standard Webhooks take it.
    secret: String,
    /// Until when those before it sign beside it. Null when none does.
    #[serde(serialize_with = "rfc3339_option")]
    previous_until: Option<Timestamp>,
}

impl WebhookSecret {
    /// As a client sees it.
    pub fn new(secret: model::WebhookSecret, now: Timestamp) -> Self {
        Self { previous_until: secret.previous_until(now), secret: secret.secret }
    }
}

/// Answers the secret. One round trip; two more for the first time, which makes it.
#[utoipa::path(
    get,
    path = "/webhooks/secret",
    operation_id = "get-webhook-secret",
    tag = "user",
    summary = "The secret that signs webhooks",
    description = "When a job that was created with `webhook` is over, its URL gets a POST of `{\"type\":\"job.complete\",\"timestamp\",\"data\"}`, \
                   where `type` has the job's status and `data` is the job without `job_args`, and without a `result` above 256 KiB. It is signed \
                   with this secret by the Standard Webhooks specification: verify it with one of that specification's libraries. It comes at \
                   least once. An answer of 2xx within 15 seconds ends it; any other is followed by another try after 5 s, 5 min, 30 min, 2 h, 5 h \
                   and 10 h, but for 410. Redirects are not followed.",
    responses(
        (status = 200, description = "The secret.", body = WebhookSecret),
        (status = 401),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let per_user = |read: &mut Read, user_id| read.row::<model::WebhookSecret>(&user_id);
    let (caller, found) = app.credentials(&request)?.caller_beside(&app.tables, Read::default(), per_user).await?;
    let secret = match found.row::<model::WebhookSecret>(&caller.user.user_id)? {
        Some(secret) => secret,
        None => app.registry.webhook_secret(caller.user.user_id).await?,
    };
    Ok(reply::json(200, &WebhookSecret::new(secret, now(&request))))
}
