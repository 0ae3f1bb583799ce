//! `PUT /webhooks/secret`: a user has webhooks signed with a new secret.

use get_webhook_secret::WebhookSecret;
use lambda_http::{Body, Request, Response};
use shared::{
    App, Result,
    http::{reply, request::now},
    tables::Read,
};

/// Makes a new secret. The one before it signs beside it for a day, so that a receiver can be changed at leisure; and so do up to five, so that
/// whoever repeats this after an answer that was lost loses none.
#[utoipa::path(
    put,
    path = "/webhooks/secret",
    operation_id = "replace-webhook-secret",
    tag = "user",
    summary = "Make a new secret for webhooks",
    description = "The one before it signs beside it for 24 hours. A body is ignored.",
    responses(
        (status = 200, description = "The new secret.", body = WebhookSecret),
        (status = 401),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let (caller, _) = app.credentials(&request)?.caller_beside(&app.tables, Read::default(), |_, _| ()).await?;
    let user_id = caller.user.user_id;
    // Whoever has overheard the request and sends it again makes no other.
    let secret = match app.jobs.guard_repeat(caller.guard.as_ref(), user_id).await? {
        true => app.registry.webhook_secret(user_id).await?,
        false => app.registry.replace_webhook_secret(user_id, now).await?,
    };
    Ok(reply::json(200, &WebhookSecret::new(secret, now)))
}
