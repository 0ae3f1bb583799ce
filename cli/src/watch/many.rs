//! Many jobs until all of them are over, by as few requests as can be: a page of the list tells of up to a hundred.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{
    api::{Answer, Api, time},
    exit::{self, Stopped},
    pace,
    refusal::refused_with,
    screen,
};

/// Which jobs to watch.
pub(crate) enum Jobs {
    These(Vec<Uuid>),
    /// Those that the list shows with this query, also when they come later.
    Listed(String),
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<State>,
    next_cursor: Option<String>,
}

/// How long the list may be behind.
const MOMENT: Duration = Duration::from_secs(2);
/// Pages of the list that are read at one look for jobs that have come.
const NEW_PAGES: usize = 10;

/// A job, as the list and the job itself tell of it.
#[derive(Deserialize, Serialize)]
struct State {
    job_id: Uuid,
    status: String,
    terminal: bool,
    created_at: String,
    updated_at: Option<String>,
}

impl State {
    fn changed(&self) -> Option<OffsetDateTime> {
        time(self.updated_at.as_ref().unwrap_or(&self.created_at))
    }

    /// What the API would say on the job itself: a tenth of the time since it has changed. The list says nothing.
    fn wait(&self, now: Option<OffsetDateTime>) -> Duration {
        let since = now
            .zip(self.changed())
            .map_or(Duration::ZERO, |(now, changed)| Duration::try_from(now - changed).unwrap_or_default());
        since / 10
    }
}

/// What is known of a job.
#[derive(Default)]
struct Known {
    status: String,
    changed: Option<OffsetDateTime>,
    /// When to look again; None when it is over.
    due: Option<Instant>,
    /// It was deleted, or never there.
    gone: bool,
}

struct Watched<'a> {
    api: &'a Api,
    /// The list's query. Without one only the jobs that are known are watched.
    query: Option<&'a str>,
    known: BTreeMap<Uuid, Known>,
    /// Pages of the list tell of several jobs that are watched.
    lists: bool,
}

/// Prints each change of each job. The worst exit code.
pub(crate) async fn until_all_are_over(api: &Api, jobs: &Jobs) -> Result<u8> {
    let now = Instant::now();
    let (query, known) = match jobs {
        Jobs::Listed(query) => (Some(query.as_str()), BTreeMap::new()),
        Jobs::These(ids) => (None, ids.iter().map(|id| (*id, Known { due: Some(now), ..Known::default() })).collect()),
    };
    let mut watched = Watched { api, query, known, lists: true };
    watched.look(query.is_some()).await?;
    if query.is_some() && watched.next().is_none() {
        // The list may show a moment late what was just created.
        pace::pause(MOMENT).await;
        watched.look(false).await?;
    }
    if watched.known.is_empty() {
        return Err(Stopped::Nothing.into());
    }
    while let Some(due) = watched.next() {
        // A little later, so that those that are due at nearly the same time are looked at together.
        sleep_until(due + due.saturating_duration_since(Instant::now()) / 10).await;
        watched.look(false).await?;
    }
    Ok(watched.worst())
}

impl Watched<'_> {
    /// When the next look is due. None when all are over.
    fn next(&self) -> Option<Instant> {
        self.known.values().filter_map(|job| job.due).min()
    }

    /// Looks at the jobs that are due.
    async fn look(&mut self, whole: bool) -> Result<()> {
        let now = Instant::now();
        let due = self.known.iter().filter(|(_, job)| job.due.is_some_and(|due| due <= now));
        let mut rest: BTreeSet<_> = due.map(|(id, _)| *id).collect();
        if self.query.is_some() || (self.lists && rest.len() > 1) {
            self.list(&mut rest, whole).await?;
        }
        for id in rest {
            self.ask(id).await?;
        }
        Ok(())
    }

    /// Reads the list, newest first, as long as a page tells of more jobs of the rest than one; `whole`, to its end. Where the query says
    /// which jobs are watched, its first page tells of those that have come.
    async fn list(&mut self, rest: &mut BTreeSet<Uuid>, whole: bool) -> Result<()> {
        let (mut from, mut found) = (String::new(), Vec::new());
        for number in 0.. {
            let query = self.query.unwrap_or_default();
            let path = format!("/jobs?limit=100&{query}{from}");
            let Answer { body: Page { jobs, next_cursor }, at, .. } = self.api.answer(Method::GET, &path, None).await?;
            let before = rest.len();
            let is_known = |job: &State| self.known.contains_key(&job.job_id);
            // The newest stand first: what has come since the last look is before what was there.
            let is_new_ground = self.query.is_some() && number < NEW_PAGES && !jobs.last().is_some_and(is_known);
            for job in jobs {
                rest.remove(&job.job_id);
                if self.query.is_some() || self.known.contains_key(&job.job_id) {
                    let wait = job.wait(at);
                    found.push((job, wait));
                }
            }
            let is_worth_it = before - rest.len() > 1;
            if number == 0 {
                self.lists = is_worth_it;
            }
            match next_cursor {
                Some(cursor) if whole || is_new_ground || (is_worth_it && rest.len() > 1) => {
                    from = format!("&cursor={cursor}")
                }
                _ => break,
            }
        }
        // As of one moment, so that they are due together.
        let now = Instant::now();
        found.into_iter().try_for_each(|(job, wait)| self.see(job, wait, now))
    }

    /// Looks at a job itself.
    async fn ask(&mut self, id: Uuid) -> Result<()> {
        match self.api.answer::<State>(Method::GET, &format!("/jobs/{id}?view=status"), None).await {
            Ok(Answer { body: job, wait, .. }) => self.see(job, wait.unwrap_or_default(), Instant::now()),
            Err(error) if refused_with(&error) == Some(StatusCode::NOT_FOUND) => {
                exit::complain(&error);
                self.known.insert(id, Known { gone: true, ..Known::default() });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Prints what has changed.
    fn see(&mut self, job: State, wait: Duration, now: Instant) -> Result<()> {
        let known = self.known.entry(job.job_id).or_default();
        let due = now + pace::here(wait.clamp(pace::SHORTEST, pace::LONGEST));
        let changed = job.changed();
        // A list may be behind the job itself.
        let is_old = known.changed.is_some() && changed < known.changed;
        if !is_old && known.status != job.status {
            match screen::is_json() {
                true => screen::json(&job)?,
                false => screen::line(format_args!("{}  {}", job.job_id, job.status))?,
            }
        }
        if is_old {
            known.due = known.due.map(|_| due);
        } else {
            *known = Known { status: job.status, changed, due: (!job.terminal).then_some(due), gone: false };
        }
        Ok(())
    }

    /// The largest exit code.
    fn worst(&self) -> u8 {
        let code = |job: &Known| if job.gone { exit::NOT_FOUND } else { exit::of_status(&job.status) };
        self.known.values().map(code).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_job_is_looked_at_as_often_as_one_that_is_asked_for() {
        let job = |updated_at: Option<&str>| State {
            job_id: Uuid::nil(),
            status: "running".to_owned(),
            terminal: false,
            created_at: "2026-11-28T10:00:00Z".to_owned(),
            updated_at: updated_at.map(str::to_owned),
        };
        let now = time("2026-11-28T10:10:00Z");
        assert_eq!(job(None).wait(now), Duration::from_secs(60));
        assert_eq!(job(Some("2026-11-28T10:09:30Z")).wait(now), Duration::from_secs(3));
        // Their clock is ahead, or unknown.
        assert_eq!(job(Some("2026-11-28T10:11:00Z")).wait(now), Duration::ZERO);
        assert_eq!(job(None).wait(None), Duration::ZERO);
    }
}
