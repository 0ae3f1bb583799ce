//! What a request says, and how an answer is worded.

mod body;
pub(crate) mod compress;
mod cors;
mod decode;
mod delivery_response;
mod input_response;
mod job_response;
mod json;
mod origin;
mod parameters;
mod refusal;
pub mod reply;
pub mod request;
mod routes;
mod webhook_event;

pub use body::Fields;
pub use cors::Cors;
pub use decode::decoded;
pub use delivery_response::DeliveryLog;
pub use input_response::InputResponse;
pub use job_response::{JobResponse, PayloadUrls, UploadPart, UploadTarget, UploadTargets};
pub use json::{Object, echo, object, python_object, tree};
pub use origin::Origin;
pub use parameters::{Parameters, parse_cursor, show_cursor};
pub use refusal::refusal;
pub use routes::{ROUTES, Route, routed};
pub use webhook_event::webhook_event;
