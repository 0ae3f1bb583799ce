//! A job's life: every change of state, with the conditions that DynamoDB checks in the same write.
//!
//! ```text
//!                                 finish: complete, with files
//!            claim               ┌────────────────────────────▶ complete_pending_uploads ─┬─ complete: all there ──────▶ complete
//!  pending ────────▶ running ────┤                                                        └─ complete: some missing ───▶ partial_failure
//!     ▲                 │        ├─ finish: complete, no files ────────────────────────────────────────────────────────▶ complete
//!     │                 │        ├─ finish: error | cancelled, no files ───────────────────────────────────────────────▶ error | cancelled
//!     │                 │        └─ finish: error | cancelled, with files ──▶ the same, not yet terminal ── complete ──▶ terminal
//!     │                 │
//!     └── requeue ──────┤  the lease ran out, attempts are left: the miner is fenced off
//!     └── release ──────┤  its miner gives it back: the attempt does not count
//!     └── try_again ────┤  its miner reports an error, attempts are left, and the method says so
//!                       └─ time_out: no attempt is left ───────────────────────────────────────────────────────────────▶ timeout
//!
//!  cancel, by an administrator, before the report: pending | running ──────────────────────────────────────────────────▶ cancelled
//!  cancel, by the owner: pending ends as cancelled (cancel_pending); of a running job the miner is told to stop (request_cancel). What it
//!  then reports is kept, and the job ends as cancelled (finish_cancelled), as it does when the lease ends first (end_cancelled)
//!  expire: nobody claimed the job in its time (pending): it ends as timeout
//!  retry, by the owner, of a job that is over and not complete: pending again, with fresh attempts and without what was reported
//!  the owner was disabled: cancel_pending ends what waits; last_attempt lets what runs end, and be tried no more
//!  heartbeat: extends the lease of a running job, and of one whose uploads are under way, in a row beside the job ([`lease`]);
//!  fresh upload URLs extend it in the job itself
//!  check: before complete, where many files have to be opened: its miner or the reaper is at it, one at a time
//!  the lease of a reported job ran out: complete, with the uploads that arrived
//!  retire, by the reaper: a job that is over was kept for its time, and goes as if it were deleted
//!  delete, from any state, by the owner: gone for everyone; what is left of it expires when nothing of it can arrive any more
//! ```
//!
//! Nothing reads, decides and then writes blindly: a refused write returns the job as it was, and the answer follows from that.
//! A miner's condition names its attempt, so that one whose attempt was lost can change nothing. The reaper's condition names the lease
//! that ran out, so that a heartbeat in between wins; and it closes the row of heartbeats in the same transaction, so that one after
//! it is refused.

mod attempt;
mod cancellation;
mod check;
mod condition;
mod deletion;
mod expiry;
mod release;
mod report;
mod retry;
mod revocation;

pub use crate::item::Transition;
pub use attempt::{Claim, WITHHELD, claim, is_withheld, last_attempt, look_at_lease_end, postpone, rearm};
pub use cancellation::{CANCELLED_BY_OWNER, end_cancelled, finish_cancelled, request_cancel};
pub use check::{begin_check, begin_check_for_lost_miner, complete, give_up_check};
pub use condition::as_listed;
pub use deletion::{delete, retire, swept};
pub use expiry::expire;
pub use release::release;
pub use report::{
    Report, begin_report, file_arrived, file_arrived_in_list, file_declared, finish, finish_last, hold_while_uploading,
    list_replaced, try_again,
};
pub use retry::retry;
pub use revocation::{
    Revocation, cancel, cancel_pending, complete_for_lost_miner, end_lost_without, end_without, requeue, time_out,
    without_result,
};
