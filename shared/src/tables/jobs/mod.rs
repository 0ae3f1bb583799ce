//! The store of jobs: what becomes of one, what is counted for it, and lists of many.

mod alarms;
mod change;
mod deliveries;
mod due;
mod idle;
mod insert;
mod lease;
mod left_off;
mod lists;
mod merge;
mod places;
mod quota;
mod replay;
mod retry;
mod rows;
mod running;
mod scan;
mod store;
mod trace;
mod transaction;
mod turns;
mod usage;
mod used;

pub use alarms::Due;
pub use change::{Change, Outcome};
pub use due::DuePage;
pub use insert::Inserted;
pub use left_off::DuePlace;
pub use lists::{ClaimableJob, Filter, JobList, ListedJob};
pub use quota::DailyQuota;
pub use replay::ReplayGuard;
pub use scan::{OwnedJob, OwnedJobs};
pub use store::Jobs;
pub use transaction::CONFLICT_PAUSES_MS;
pub use used::{Used, UsedToday};
