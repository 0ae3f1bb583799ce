//! What an operator relies on: rights, logs, metrics, and items that outlive a release.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod access_logs;
mod artifacts;
mod cost_stops;
mod dashboard;
mod day;
mod documents;
mod environment;
mod fronts;
mod lifecycle;
mod logs;
mod metrics;
mod projections;
mod rights;
mod schema;
