//! Who is calling. An account shows a hotkey's signature, an API key or a user's JWT; the miner of a job shows its job token.
//!
//! An account is known in two steps, so that an endpoint reads the caller and everything else in one round trip:
//! [`Credentials::verify`] checks what can be checked offline, [`Credentials::caller_beside`] what the registry knows.

pub mod api_key;
mod caller;
mod credentials;
pub mod hotkey;
mod job_token;
pub mod user_jwt;

pub use credentials::{Caller, Credentials, KeyEnd, Proof};
pub use job_token::{JobClaims, JobTokenKeys, JobTokens};
