//! What the tests share: one local stack for all tests of a process, and clients that speak HTTP to it.
//!
//! Tests share the stack and nothing else: [`World::new`] makes a user, a miner and a chute of its own.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod answer;
mod client;
mod description;
mod engine;
mod envelope;
mod form;
mod night;
mod redact;
mod sdk;
mod template;
mod token;
mod world;

use std::{
    sync::{OnceLock, mpsc},
    thread,
};

pub use answer::Answer;
pub use client::Client;
pub use description::check as check_answer;
pub use engine::{dynamodb, item, objects, s3, unfinished_uploads};
pub use envelope::Envelope;
pub use form::Form;
pub use jobchute::Hotkey;
use local::Stack;
pub use night::Night;
pub use redact::redacted;
pub use sdk::Sdk;
use serde_json::Value;
pub use template::{Function, functions, repository, template_with};
pub use token::{job_token_keys, parts_of, put_job_token_keys, signed, token};
use tokio::runtime::{Builder, Handle};
pub use world::{Job, World, chute, text, upload, upload_to};

/// The stack of this process.
pub fn stack() -> &'static Stack {
    &running().0
}

/// Invokes a function of this process's stack directly.
pub async fn invoke(package: &'static str, event: Value) -> anyhow::Result<Value> {
    let (stack, runtime) = running();
    // Not on the test's runtime: what this may start serves other tests too.
    runtime.spawn(stack.invoke(package, event)).await.expect("an invocation ends")
}

/// The stack runs on a thread of its own, since every test has a runtime that ends with it. Its functions end when the
/// process does: nobody answers them any more.
fn running() -> &'static (Stack, Handle) {
    static STACK: OnceLock<(Stack, Handle)> = OnceLock::new();
    STACK.get_or_init(|| {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                send.send((Stack::start().await.expect("the stack starts"), Handle::current())).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().expect("the stack starts")
    })
}
