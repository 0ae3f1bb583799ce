//! What was answered and what the table has, compared with the model.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::time::Timestamp;
use tests::{dynamodb, item, text};

use super::{About, Case, Request, Result, Seen, Signature, alarm_of, is_old, whole_seconds};
use crate::{
    claims,
    oracle::{self, Call, Expected, Job, is_apart},
};

impl Case<'_> {
    /// The answers and the table must be what some order of the requests makes of the model.
    pub(super) async fn compare(
        &mut self,
        requests: &[Request],
        seen: &[Seen],
        now: i64,
        rings: bool,
        quiet: bool,
    ) -> Result<()> {
        for (request, seen) in requests.iter().zip(seen) {
            if let (About::List, Some(answer)) = (&request.about, seen)
                && requests.len() == 1
            {
                self.compare_list(answer, now)?;
            }
        }
        for at in 0..self.jobs.len() {
            let concerned: Vec<_> = requests
                .iter()
                .zip(seen)
                .filter_map(|(request, seen)| {
                    let (call, seen) = match &request.about {
                        About::Job(job, call) => (Some(call.clone()).filter(|_| *job == at)?, seen.as_ref()),
                        About::Reap => (Call::Reap { rings }, seen.as_ref()),
                        About::Next(asks) => (asks.call(), self.given(seen, at, quiet, requests.len() == 1)?),
                        About::New { .. } | About::List => return None,
                    };
                    Some(Concerned { call, signature: request.signature.as_ref(), seen })
                })
                .collect();
            if concerned.is_empty() {
                continue;
            }
            let before = &self.jobs[at].1;
            let mut after = in_order(before, &concerned.iter().collect::<Vec<_>>(), at, now);
            if let [one, other] = &concerned[..] {
                for state in in_order(before, &[other, one], at, now) {
                    if !after.contains(&state) {
                        after.push(state);
                    }
                }
            }
            if after.is_empty() {
                return Err(format!("job {at} was {before:?} at {now}, and the answer is {seen:?}"));
            }
            // A report that is refused, or fails, may have begun all the same.
            let is_begun = concerned.iter().any(|concerned| matches!(concerned.call, Call::Finish { .. }));
            if after != *before || is_begun {
                let stored = async |key: &str| item(&self.world.stack, "JobsTable", "job_id", key).await;
                let job_id = &self.jobs[at].0;
                let (item, row) = (stored(job_id).await, stored(&format!("{job_id}#lease")).await);
                let alarm = stored(&alarm_of(job_id)).await;
                let miners: Vec<_> =
                    self.world.miners.iter().map(|miner| (miner.name.clone(), miner.user_id.clone())).collect();
                let possible = after.clone();
                after.iter_mut().for_each(|job| job.learn(&item));
                after.retain(|job| job.is(&item, &row, &miners) && job.has_alarm(&alarm));
                if after.is_empty() {
                    return Err(format!(
                        "job {at} may be {possible:?} at {now}, and is {item} with {row} and {alarm}; answers {seen:?}"
                    ));
                }
                let waits_now = before.iter().all(|job| job.waits_until().is_none());
                if let Some(job) = after.iter().find(|job| waits_now && job.waits_without_alarm()) {
                    return Err(format!("job {at} waits, and no alarm ends that in time: {job:?}"));
                }
                if after.iter().all(|job| job.run > before[0].run) {
                    let user = after[0].user;
                    *self.used.entry((user, Timestamp::from_millis(now).date())).or_default() += 1;
                    self.ended.remove(&at);
                }
                self.jobs[at].1 = after;
            }
        }
        Ok(())
    }

    /// What an answer to who asked for the next job says of this one: it was given; or nobody knows, because something failed, or because
    /// nothing was given, perhaps because this one was deleted a moment after it was claimed; or nothing.
    pub(super) fn given<'a>(
        &self,
        seen: &'a Seen,
        at: usize,
        quiet: bool,
        alone: bool,
    ) -> Option<Option<&'a (u16, Value)>> {
        match seen {
            Some((200, body)) if self.jobs[at].0 == body["job_id"] => Some(seen.as_ref()),
            None => Some(None),
            Some((status, _)) if !quiet || *status == 204 && !alone => Some(None),
            Some(_) => None,
        }
    }

    /// What was given to who asked for the next job must be what it had to be.
    pub(super) fn compare_next(&self, requests: &[Request], seen: &[Seen], now: i64, quiet: bool) -> Result<()> {
        for (request, seen) in requests.iter().zip(seen) {
            let (About::Next(asks), Some((status, body))) = (&request.about, seen) else { continue };
            let given = self.jobs.iter().position(|(job_id, _)| body["job_id"] == *job_id);
            let was_sent = || self.sent.iter().any(|earlier| earlier.http.headers == request.http.headers);
            match (status, given, &request.signature) {
                (401, _, Some(signature)) if is_old(signature, now) || was_sent() => {}
                (_, _, Some(signature)) if is_old(signature, now) => {
                    return Err("an old signature was taken".to_owned());
                }
                (200, Some(_), _) | (204, None, _) if requests.len() > 1 => {}
                (200, Some(_), _) | (204, None, _) => {
                    claims::check(&self.jobs, *asks, given, now, quiet, !self.busy)?;
                }
                _ => return Err(format!("who asked for the next job was answered {status} {body}")),
            }
        }
        Ok(())
    }

    /// When the alarm of the chute rings.
    pub(super) async fn alarm(&self) -> Option<i64> {
        let row = item(&self.world.stack, "JobsTable", "job_id", &alarm_of(&self.chute_id)).await;
        row["due_at"]["N"].as_str().and_then(|due| due.parse().ok())
    }

    /// The chute has an alarm; and where the reaper alone has heard it, that rings again as soon as the first of the jobs has waited too long.
    pub(super) async fn compare_alarm(&self, requests: &[Request], seen: &[Seen], rings: bool) -> Result<()> {
        let Some(alarm) = self.alarm().await else { return Err("the chute has no alarm".to_owned()) };
        // A job that waits for a time of its own may have begun to in the same run.
        let until = |job: &Job| job.waits_until().filter(|_| job.made.wait.is_none());
        let waiting = self.jobs.iter().filter_map(|(_, states)| states.iter().filter_map(until).max());
        match (requests, seen, waiting.min()) {
            ([Request { about: About::Reap, .. }], [Some(_)], Some(first)) if rings && alarm > first => {
                Err(format!("a job waits until {first}, and the chute's alarm rings at {alarm}"))
            }
            _ => Ok(()),
        }
    }

    /// The job that nobody had heard of, when a create has made one.
    pub(super) async fn compare_new(&mut self, requests: &[Request], seen: &[Seen], now: i64) -> Result<Option<usize>> {
        let new = requests.iter().zip(seen).filter_map(|(request, seen)| match request.about {
            About::New { user, key, made } => Some((user, key, made, request, seen)),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        let Some((user, key, ..)) = new.first().copied() else { return Ok(None) };
        let (mut answered, mut whats) = (BTreeSet::new(), new.iter().map(|(_, _, made, ..)| *made).collect::<Vec<_>>());
        let mut spent = false;
        for (_, _, made, request, seen) in &new {
            let Some((status, body)) = seen else { continue };
            let signature = request.signature.as_ref();
            spent = signature.is_some_and(|signature| signature.spent_on.is_some() || is_old(signature, now));
            match (status, spent) {
                (200, false) => {
                    answered.insert(text(&body["job_id"]));
                    whats.retain(|what| what == made);
                }
                // The other one was first.
                (422, false) if new.iter().any(|(_, _, other, ..)| other != made) => whats.retain(|what| what != made),
                (401, true) => {}
                _ => return Err(format!("a create was answered {status} {body}")),
            }
        }
        let found = self.unknown_jobs(user, now).await;
        let (most, least) = (usize::from(!spent), answered.len());
        if found.len() > most || found.len() < least || !answered.is_subset(&found) {
            return Err(format!("a create made {found:?}, and the answers were {seen:?}"));
        }
        let Some(job_id) = found.into_iter().next() else { return Ok(None) };
        // Of two that were not answered, the table tells.
        let stored = item(&self.world.stack, "JobsTable", "job_id", &job_id).await;
        let size = stored["job_args"]["M"]["s"]["N"].as_str().map_or(0, |size| size.parse().unwrap());
        let Some(what) = whats.into_iter().find(|what| what.body == oracle::number_of(size)) else {
            return Err(format!("none of the two creates made {stored}, and the answers were {seen:?}"));
        };
        let made = self.jobs.len();
        if let Some(key) = key {
            self.by_key.insert((user, key), made);
        }
        *self.used.entry((user, Timestamp::from_millis(now).date())).or_default() += 1;
        self.jobs.push((job_id, vec![Job::new(user, what, now)]));
        Ok(Some(made))
    }

    /// The user's jobs on the chute that nobody knows, as the table has them.
    pub(super) async fn unknown_jobs(&self, user: usize, now: i64) -> BTreeSet<String> {
        let stack = &self.world.stack;
        let request = json!({
            "TableName": stack.resource("JobsTable").unwrap(), "IndexName": "by_owner",
            "FilterExpression": "begins_with(#owner, :user) AND created_at = :now AND chute_id = :chute",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":user": {"S": self.world.users[user].user_id}, ":now": {"N": now.to_string()}, ":chute": {"S": self.chute_id},
            },
        });
        let found = dynamodb(stack, "Scan", request).await;
        let ids = found["Items"].as_array().unwrap().iter().map(|item| text(&item["job_id"]["S"]));
        ids.filter(|job_id| self.jobs.iter().all(|(known, _)| known != job_id)).collect()
    }

    pub(super) fn compare_list(&self, (status, body): &(u16, Value), now: i64) -> Result<()> {
        let listed: BTreeSet<_> =
            body["jobs"].as_array().into_iter().flatten().map(|job| text(&job["job_id"])).collect();
        let is_listed =
            |job: &Job| job.status == "pending" && job.gone.is_none() && job.due <= Some(now.max(job.created));
        let pending = self.jobs.iter().filter(|(_, states)| is_listed(&states[0]));
        let pending: BTreeSet<_> = pending.map(|(job_id, _)| job_id.clone()).collect();
        if *status == 200 && listed == pending {
            return Ok(());
        }
        Err(format!("{pending:?} are pending, and the miner sees {status} {body}"))
    }
}

/// What concerns one job: what was asked of it, and what was answered.
struct Concerned<'a> {
    call: Call,
    signature: Option<&'a Signature>,
    seen: Option<&'a (u16, Value)>,
}

/// Everything that a job may be after these requests, in this order, were answered so.
fn in_order(before: &[Job], requests: &[&Concerned<'_>], at: usize, now: i64) -> Vec<Job> {
    let mut states = before.to_vec();
    let is_deleted = requests.iter().any(|concerned| matches!(concerned.call, Call::Delete { .. }));
    for Concerned { call, signature, seen } in requests {
        let mut next = Vec::new();
        let mut push = |job: Job| {
            if !next.contains(&job) {
                next.push(job);
            }
        };
        let is_reaper = matches!(call, Call::Reap { .. });
        let now = if is_reaper { whole_seconds(now) } else { now };
        for job in states {
            let (expected, after) = job.after(call, now);
            let refused = Expected { status: 401, fields: Vec::new() };
            let (expected, after) = match signature {
                Some(signature) if is_old(signature, now) => (refused, job.clone()),
                Some(signature) if expected.status == 200 && signature.spent_on.is_some_and(|spent| spent != at) => {
                    (refused, job.clone())
                }
                _ => (expected, after),
            };
            match seen {
                Some(answer) if expected.is(answer) => {
                    if requests.len() > 1 {
                        // Whoever else is at it may be faster than the reaper, which then leaves the job, or its alarm, to its next run; and
                        // than who has set the alarm for nothing.
                        match call {
                            Call::Reap { .. } => job.half_way(call, now).into_iter().for_each(&mut push),
                            Call::Release { .. } | Call::Finish { .. } | Call::Retry { .. } => {
                                push(Job { alarm: job.alarm_of_wait(now).or(job.alarm), ..after.clone() });
                            }
                            _ => {}
                        }
                    }
                    push(after);
                }
                // It was claimed, and deleted before its arguments were read.
                Some((404, _))
                    if is_apart(job.made.body)
                        && expected.status == 200
                        && is_deleted
                        && matches!(call, Call::Claim { .. }) =>
                {
                    push(after)
                }
                Some(_) => {}
                None => {
                    job.half_way(call, now).into_iter().for_each(&mut push);
                    push(after);
                    push(job);
                }
            }
        }
        states = next;
    }
    states
}
impl Expected {
    pub(super) fn is(&self, (status, body): &(u16, Value)) -> bool {
        *status == self.status && self.fields.iter().all(|(field, value)| body.pointer(field) == Some(value))
    }
}
