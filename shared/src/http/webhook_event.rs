//! What a webhook says.

use serde::Serialize;

use super::job_response::{JobResponse, PayloadUrls};
use crate::{
    error::{Error, Result},
    model::Job,
    time::{Timestamp, rfc3339},
};

/// Bytes of the longest result that a webhook carries.
pub const LONGEST_RESULT: usize = 256 << 10;

/// The body, as the Standard Webhooks specification recommends it.
#[derive(Serialize)]
struct Event<'a> {
    r#type: String,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Timestamp,
    data: JobResponse<'a>,
}

/// That a job is over, as its owner sees it, without the arguments; and without a result that was not loaded, or is too long. The same
/// bytes each time.
pub fn webhook_event(mut job: Job) -> Result<String> {
    let is_short =
        job.result.as_ref().and_then(|result| result.text()).is_some_and(|text| text.len() <= LONGEST_RESULT);
    job.result = job.result.filter(|_| is_short);
    let urls = PayloadUrls::default();
    let data = JobResponse::new(&job, &urls, None)?.without_arguments();
    let event = Event { r#type: format!("job.{}", job.status.as_str()), timestamp: job.updated_at, data };
    serde_json::to_string(&event).map_err(|error| Error::internal("webhook: event", error))
}
