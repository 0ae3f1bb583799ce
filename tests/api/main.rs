//! The API as clients see it: one module per endpoint, with every status and text of its contract.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod admin;
mod auth;
mod bad_input;
mod busy;
mod claim_job;
mod clocks;
mod complete_job;
mod compression;
mod config;
mod create_job;
mod data_folder;
mod delete_job;
mod docs;
mod download_output_file;
mod engine_calls;
mod events;
mod finish_job;
mod get_job;
mod heartbeat_job;
mod job_token;
mod layout;
mod list_claimable_jobs;
mod list_jobs;
mod lost_replies;
mod openapi;
mod overload;
mod reap_jobs;
mod repeats;
mod stored_jobs;
mod upload_job_file;
