//! `GET /usage`: what a user has used of the day's quotas.

use std::collections::BTreeMap;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use shared::{
    App, Result,
    http::{reply, request::now},
    tables::{
        Read,
        jobs::{DailyQuota, Used},
    },
    time::{Timestamp, rfc3339},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// What was used on the UTC day.
#[derive(Serialize, ToSchema)]
pub struct Usage {
    /// The day, `YYYY-MM-DD`.
    day: String,
    /// When the next one begins.
    #[serde(serialize_with = "rfc3339")]
    resets_at: Timestamp,
    /// On all chutes together.
    global: Used,
    /// By chute id: on each chute that was used, or has a quota of the user's own.
    chutes: BTreeMap<Uuid, Used>,
}

/// Answers the counts. One round trip: the caller and the counts are read together; another for a busy user, who is counted in shards.
#[utoipa::path(
    get,
    path = "/usage",
    operation_id = "get-usage",
    tag = "user",
    summary = "What was used of the day's quotas",
    description = "Jobs that were created or tried again since the UTC day began, and how many may be. Deleting a job does not give its slot back.",
    responses(
        (status = 200, description = "The counts.", body = Usage),
        (status = 401),
    )
)]
pub async fn handle(app: &App, request: Request) -> Result<Response<Body>> {
    let now = now(&request);
    let counts = |read: &mut Read, user_id| DailyQuota::ask(read, user_id, now);
    let (caller, found) = app.credentials(&request)?.caller_beside(&app.tables, Read::default(), counts).await?;
    let used = app.jobs.used_today(&caller.user, &app.config.default_quotas, &found, now).await?;
    let usage = Usage {
        day: now.date(),
        resets_at: Timestamp::from_millis(1000 * (now.seconds() + now.seconds_to_next_day())),
        global: used.global,
        chutes: used.chutes,
    };
    Ok(reply::json(200, &usage))
}
