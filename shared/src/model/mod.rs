//! What jobs, chutes and users are, and what a job may become.

mod chute;
pub mod filename;
pub mod input;
mod job;
pub mod lease;
pub mod lifecycle;
pub mod mention;
mod output_file;
pub mod pace;
pub mod payload;
mod status;
pub mod stopping;
pub mod trace;
mod user;

pub use chute::{Chute, ChuteSnapshot, Image, Method, Port};
pub use input::{Input, Inputs};
pub use job::{Instance, Job, PortMapping};
pub use lease::Lease;
pub use output_file::{FileKeys, OutputFile};
pub use payload::{Payload, PayloadKind, Stored};
pub use status::Status;
pub use user::{HotkeyRow, KeyRow, Role, Usage, User};
