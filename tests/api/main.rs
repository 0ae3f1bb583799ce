//! The API as clients see it: one module per endpoint, with every status and text of its contract.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

// Every file beside this one is a module.
automod::dir!("api");
