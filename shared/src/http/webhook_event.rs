//! What a webhook says.

use serde::Serialize;

use super::job_response::{JobResponse, PayloadUrls};
use crate::{
    error::{Error, Result},
    model::Job,
    time::{Timestamp, rfc3339},
};

/// The body, as the Standard Webhooks specification recommends it.
#[derive(Serialize)]
struct Event<'a> {
    r#type: String,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    data: JobResponse<'a>,
}

/// That a job is over, as its owner sees it, without the arguments and without a result that was not loaded.
pub fn webhook_event(job: &Job) -> Result<String> {
    let urls = PayloadUrls::default();
    let data = JobResponse::new(job, &urls, None)?.without_arguments();
    let event = Event { r#type: format!("job.{}", job.status.as_str()), timestamp: job.updated_at, data };
    serde_json::to_string(&event).map_err(|error| Error::internal("webhook: event", error))
}
