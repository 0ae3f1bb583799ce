//! The local stack: API Gateway, Lambda, DynamoDB, EventBridge, S3 and Secrets Manager in one process, everything read from
//! `template.yaml`, running the real function binaries. Not a mock of this product, but a small AWS for it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let stack = local::Stack::start().await?;
//! println!("{}/jobs", stack.url());
//! # Ok(()) }
//! ```

mod account;
mod backup;
mod binaries;
mod builder;
mod calls;
mod capacity;
mod clock;
mod cors;
mod credentials;
mod data;
mod disk;
mod dynamodb;
mod edge;
mod engines;
mod event_buses;
mod faults;
mod gateway;
mod lambda;
mod ledger;
mod logs;
mod loopback;
mod others;
mod process;
mod rights;
mod s3;
mod schedule;
mod secrets;
mod server;
mod share;
mod stack;
mod streams;
mod template;
mod temporary;
mod tls;

pub use backup::{Copied, backup};
pub use builder::Builder;
pub use clock::Clock;
pub use credentials::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN};
pub use event_buses::BusEvent;
pub use faults::{EngineCall, Fault, Seeded, Service};
pub use gateway::front::Front;
pub use ledger::{Billed, S3Calls};
pub use logs::LogLine;
pub use others::{STREAMS, own_engines};
pub use rights::Right;
pub use stack::Stack;
