//! How a miner gets a job, whether it asks for this one or for the next one: what it says of itself, the claim, and the assignment.

mod assignment;
mod body;
mod claimant;
mod needed;

pub use assignment::{JobAssignment, assignment};
pub use body::ClaimBody;
pub use claimant::Claimant;
pub use needed::load_needed;
