//! How users see an input.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::job_response::UploadTarget;
use crate::{
    model::Input,
    time::{Timestamp, rfc3339},
};

/// An input, and where its file goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Input)]
pub struct InputResponse {
    input_id: Uuid,
    /// `jobchute://inputs/{input_id}`: what the arguments of a job name it by.
    uri: String,
    /// Where its file goes. Null when it is there.
    upload: Option<UploadTarget>,
    /// Until when new jobs can name it, and its file is there.
    #[serde(serialize_with = "rfc3339")]
    expires_at: Timestamp,
}

impl InputResponse {
    /// Of the input of this id.
    pub fn new(input_id: Uuid, input: &Input, upload: Option<UploadTarget>) -> Self {
        let expires_at = Timestamp::from_millis(input.expires_at.saturating_mul(1000));
        Self { input_id, uri: Input::uri(input_id), upload, expires_at }
    }
}
