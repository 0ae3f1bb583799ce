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
mod front;
mod hooks;
pub mod input;
mod night;
mod receiver;
mod redact;
mod sdk;
mod stack;
mod template;
mod token;
mod world;

pub use answer::Answer;
pub use client::Client;
pub use description::check as check_answer;
pub use engine::{dynamodb, item, objects, remove_objects, s3, unfinished_uploads};
pub use envelope::Envelope;
pub use form::Form;
pub use hooks::Hooks;
pub use jobchute::Hotkey;
pub use night::Night;
pub use receiver::{Authority, Received, Receiver, Reply};
pub use redact::redacted;
pub use sdk::Sdk;
pub use stack::{invoke, patient, stack};
pub use template::{Function, functions, repository, template_with};
pub use token::{job_token_keys, parts_of, put_job_token_keys, signed, token};
pub use world::{Job, World, chute, text, upload, upload_to};
