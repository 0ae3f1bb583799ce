//! How users see an input.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::job_response::UploadTarget;
use crate::model::Input;

/// An input, and where its file goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Input)]
pub struct InputResponse {
    input_id: Uuid,
    /// `jobchute://inputs/{input_id}`: what the arguments of a job name it by.
    uri: String,
    /// Where its file goes. Null when it is there.
    upload: Option<UploadTarget>,
}

impl InputResponse {
    /// Of the input of this id.
    pub fn new(input_id: Uuid, upload: Option<UploadTarget>) -> Self {
        Self { input_id, uri: Input::uri(input_id), upload }
    }
}
