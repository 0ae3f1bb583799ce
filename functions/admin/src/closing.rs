//! What a disabled account leaves open. Its chutes are closed by its own row, which a create reads. Its jobs are walked, here: a
//! claim that asked for the owner of each job would cost every job a read or a write more, and this costs a read of each
//! job of the account, and a write for each that was open when it was disabled.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use shared::{
    App, Error, Result,
    http::{parse_cursor, show_cursor},
    item::{Cursor, Page},
    model::{Status, lifecycle},
    tables::jobs::{Filter, Outcome},
    time::Timestamp,
};
use uuid::Uuid;

use crate::output::{Closed, Output};

/// Time after which a call begins with no further page.
const RUN: Duration = Duration::from_secs(15);
/// Jobs closed at the same time.
const AT_ONCE: usize = 8;
/// Jobs of a page.
const PAGE: u32 = 100;
/// Seconds until a create that was let in before has ended (its function is given 29), and the index shows its job.
const CREATES_END: i64 = 60;
/// What a job's owner reads of its end.
const DETAIL: &str = "The account was disabled";

/// What became of one job.
enum Became {
    Cancelled,
    LastAttempt,
    /// It had ended, has reported, or was closed before.
    LeftAsItWas,
    Failed,
}

/// Disables the account, then closes its jobs. Repeating it goes on, or finds nothing left to do.
pub(crate) async fn disable(app: &App, user_id: Uuid, cursor: Option<&str>) -> Result<Output> {
    let mut after = cursor.map(|text| parse_cursor(text).ok_or_else(|| Error::no_cursor(text))).transpose()?;
    let started = Instant::now();
    let now = Timestamp::system();
    let since = app.registry.disable_user(user_id, now).await?;
    // A walk that goes on may have passed a place before its create was written.
    let creates_end = since.map(|since| since.plus_seconds(CREATES_END)).filter(|end| cursor.is_some() || now < *end);
    let mut closed =
        Closed { user_id, cancelled: 0, last_attempts: 0, failed: 0, next_cursor: None, repeat_after: creates_end };
    loop {
        let next = close_page(app, user_id, after, &mut closed).await?;
        if next.is_none() || started.elapsed() > RUN {
            closed.next_cursor = next.map(show_cursor);
            return Ok(Output::Disabled(closed));
        }
        after = next;
    }
}

async fn close_page(app: &App, user_id: Uuid, after: Option<Cursor>, closed: &mut Closed) -> Result<Option<Cursor>> {
    let user = app.registry.user(user_id).await?;
    if !user.disabled {
        return Err(Error::Conflict(format!("User {user_id} was enabled meanwhile")));
    }
    let open = Filter { terminal: Some(false), ..Filter::default() };
    let (jobs, next) = app.jobs.list(&user, &open, &Page { limit: PAGE, after }, None).await?;
    let work: Vec<_> = jobs.iter().map(|job| close(app, job.job_id())).collect();
    let mut became = stream::iter(work).buffer_unordered(AT_ONCE);
    while let Some(became) = became.next().await {
        match became {
            Became::Cancelled => closed.cancelled += 1,
            Became::LastAttempt => closed.last_attempts += 1,
            Became::LeftAsItWas => {}
            Became::Failed => closed.failed += 1,
        }
    }
    Ok(next)
}

/// One job. Whatever goes wrong with it concerns no other.
async fn close(app: &App, job_id: Uuid) -> Became {
    match try_close(app, job_id).await {
        Ok(became) => became,
        Err(error) => {
            tracing::error!(job.id = %job_id, cause = ?error.cause(), "a job of a disabled account was not closed");
            Became::Failed
        }
    }
}

/// The index may be behind, and miners are at work: what a refused write returns tells what to do instead.
async fn try_close(app: &App, job_id: Uuid) -> Result<Became> {
    let now = Timestamp::system();
    let mut change = lifecycle::cancel_pending(job_id, DETAIL, now);
    loop {
        let job = match app.jobs.change(job_id, change, "close job: UpdateItem").await? {
            Outcome::Changed(job) => {
                job.count_end(&app.metrics);
                return Ok(if job.terminal { Became::Cancelled } else { Became::LastAttempt });
            }
            Outcome::Refused(job) if job.deleted_at.is_none() => job,
            Outcome::Refused(_) | Outcome::Gone => return Ok(Became::LeftAsItWas),
        };
        change = match job.status {
            Status::Pending => lifecycle::cancel_pending(job_id, DETAIL, now),
            Status::Running if !job.closed => lifecycle::last_attempt(job.attempt, now),
            _ => return Ok(Became::LeftAsItWas),
        };
    }
}
