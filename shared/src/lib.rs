//! What several functions use, in rooms. Each room imports only from rooms below it; a test keeps it so.
//!
//! ```text
//! serve  endpoint          the event loop, and what every endpoint begins with
//! checking                 the check of a reported job's files, by one at a time
//! claims                   how a miner gets a job
//! app                      what a function has at hand
//! uploads                  where a miner sends its files, and a user inputs
//! payloads                 what a job carries beside its state
//! deliveries  events       who tells of jobs' ends
//! auth                     who is calling: account credentials and job tokens
//! http                     what a request says, and how an answer is worded
//! outputs  tables          the stores: the bucket of output files, the two DynamoDB tables
//! model                    what jobs, chutes and users are, and what a job may become
//! item                     the vocabulary of DynamoDB items
//! error config webhook quotas aws signed stream credentials metrics audit time
//! ```
//!
//! An endpoint is in `functions/`.

pub mod app;
pub mod audit;
pub mod auth;
pub mod aws;
mod checking;
pub mod claims;
pub mod config;
mod credentials;
pub mod deliveries;
mod endpoint;
pub mod error;
pub mod events;
pub mod http;
pub mod item;
pub mod metrics;
pub mod model;
pub mod outputs;
pub mod payloads;
pub mod quotas;
mod serve;
mod signed;
pub mod stream;
pub mod tables;
pub mod time;
pub mod uploads;
pub mod webhook;

pub use app::App;
pub use checking::Check;
pub use error::{Error, Result};
pub use lambda_http::{Body, Request, Response};
pub use serve::{serve, serve_event, serve_pages};
