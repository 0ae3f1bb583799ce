//! What jobs, chutes and users are, and what a job may become.

mod chute;
mod delivery;
pub mod filename;
pub mod input;
mod job;
pub mod lease;
pub mod lifecycle;
pub mod log;
pub mod mention;
mod output_file;
pub mod pace;
pub mod payload;
mod place;
mod status;
pub mod stopping;
pub mod trace;
mod user;
mod versions;
mod waiting;
mod webhook_secret;

pub use chute::{Chute, ChuteSnapshot, Image, Method, Port};
pub use delivery::{ANSWER, Delivery, DeliveryState, End, SHORT_PAUSE, Try};
pub use input::{Input, Inputs};
pub use job::{Instance, Job, PortMapping};
pub use lease::Lease;
pub use log::Chunk;
pub use output_file::{FileKeys, OutputFile};
pub use payload::{Payload, PayloadKind, Stored};
pub use place::Place;
pub use status::Status;
pub use user::{HotkeyRow, KeyRole, KeyRow, Role, Usage, User};
pub use waiting::{Alarm, Waiting};
pub use webhook_secret::WebhookSecret;
