//! AWS Lambda: functions as pools of execution environments, each one process of the real binary that serves one request
//! at a time.

mod asynchronous;
mod environment;
mod invocation;
mod pool;
mod runtime_api;
mod settings;

pub(crate) use asynchronous::{Asynchronous, EVENT_LIMIT};
pub(crate) use invocation::{Invocation, InvokeError, PAYLOAD_LIMIT};
pub(crate) use pool::Lambda;
pub(crate) use settings::Settings;
