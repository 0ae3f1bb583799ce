//! What several functions use: authentication, models, the stores and the HTTP side. An endpoint is in `functions/`.

pub mod app;
pub mod auth;
pub mod aws;
pub mod check;
mod compress;
pub mod config;
pub mod declaration;
pub mod envelope;
pub mod error;
pub mod filename;
pub mod job;
pub mod job_token;
pub mod jobs;
pub mod lanes;
pub mod lifecycle;
pub mod metrics;
pub mod outputs;
pub mod page;
pub mod read;
pub mod registry;
pub mod reply;
pub mod request;
pub mod schema;
mod serve;
pub mod time;
pub mod transition;
pub mod uploads;

pub use app::App;
pub use error::{Error, Result};
pub use lambda_http::{Body, Request, Response};
pub use serve::{serve, serve_event};
