//! What the winner of a job gets.

use std::collections::HashMap;

use lambda_http::{Body, Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::needed::load_needed;
use crate::{
    app::App,
    auth::{JobClaims, JobTokenKeys},
    error::{Error, Result},
    http::{
        reply,
        request::{api_base, header, now},
    },
    model::{Job, PayloadKind, mention},
    time::{Timestamp, rfc3339_option},
};

/// What a miner's client needs to run the job.
#[derive(Serialize, ToSchema)]
pub struct JobAssignment<'a> {
    job_id: Uuid,
    /// Which of the chute's jobs.
    job_method: &'a str,
    /// The job's arguments, with a URL in the place of each input. Null where `job_data_url` says where they are.
    #[schema(value_type = Option<Object>)]
    job_data: Option<&'a RawValue>,
    /// Where the arguments are, for 15 minutes, when they would make the answer too long; never when the client takes gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_data_url: Option<String>,
    /// The job's own routes begin with this address, which holds the job token.
    job_status_url: String,
    attempt: u32,
    #[serde(serialize_with = "rfc3339_option")]
    lease_expires_at: Option<Timestamp>,
}

/// The answer to the winner. Only the winner has the arguments read for it.
pub async fn assignment(app: &App, request: &Request, mut job: Job, keys: &JobTokenKeys) -> Result<Response<Body>> {
    let payloads = app.payloads()?;
    load_needed(app, &mut job, PayloadKind::Arguments, now(request), "claim job: TransactWriteItems").await?;
    let claims = JobClaims::of_attempt(&job, app.config.upload_window)
        .ok_or_else(|| Error::internal("claim job", "a claimed job without a deadline"))?;
    let token = keys.sign(&claims)?;
    let job_url = format!("{}/jobs/{}", api_base(request, &app.config), job.job_id);
    let with_urls = with_input_urls(&job, &claims, keys, &job_url)?;
    let data = with_urls.as_deref().or_else(|| job.job_args.text()).map(serde_json::from_str).transpose();
    let mut assignment = JobAssignment {
        job_id: job.job_id,
        job_method: &job.method,
        job_data: data.map_err(|error| Error::internal("claim job: arguments", error))?,
        job_data_url: None,
        job_status_url: format!("{job_url}?token={token}"),
        attempt: job.attempt,
        lease_expires_at: job.lease_expires_at.or(job.deadline_at),
    };
    if let Some(answer) = reply::fitted(reply::json(200, &assignment), header(request, "accept-encoding")) {
        return Ok(answer);
    }
    assignment.job_data_url = match &with_urls {
        Some(text) => Some(payloads.url_of(&job, text.clone()).await?),
        None => payloads.url(&job, PayloadKind::Arguments).await?,
    };
    if assignment.job_data_url.is_some() {
        assignment.job_data = None;
    }
    Ok(reply::at_last(reply::json(200, &assignment)))
}

/// The arguments with a URL in the place of each input's `uri`: it works as long as the attempt does, and opens that input alone. None
/// where they name no input.
fn with_input_urls(job: &Job, claims: &JobClaims, keys: &JobTokenKeys, job_url: &str) -> Result<Option<String>> {
    let (Some(_), Some(text)) = (&job.inputs, job.job_args.text()) else { return Ok(None) };
    let mut urls = HashMap::<Uuid, String>::new();
    let with_url = |input_id| {
        if let Some(url) = urls.get(&input_id) {
            return Ok(url.clone());
        }
        let token = keys.sign(&claims.for_input(input_id))?;
        let url = format!("{job_url}/inputs/{input_id}?token={token}");
        urls.insert(input_id, url.clone());
        Ok(url)
    };
    mention::replace_mentions(text, with_url).map(Some)
}
