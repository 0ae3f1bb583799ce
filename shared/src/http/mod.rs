//! What a request says, and how an answer is worded.

mod body;
pub(crate) mod compress;
mod decode;
mod job_response;
mod json;
mod list_query;
mod refusal;
pub mod reply;
pub mod request;

pub use body::Fields;
pub use decode::decoded;
pub use job_response::{JobResponse, PayloadUrls, UploadPart, UploadTarget, UploadTargets};
pub use json::{Object, echo, object, python_object};
pub use list_query::{ListQuery, show_cursor};
pub use refusal::refusal;
