//! The model of an attempt: what its miner, the owner and the reaper make of it.

use serde_json::json;

use crate::oracle::{
    Beats, Expected, Job, LAST_WORDS, LATE, LONGEST_LEASE, METHODS, PAUSES, Part, Report, Token, URLS_GIVEN, WINDOW,
    WITHHELD, status,
};

impl Job {
    /// Whether the miner of this token has reported an error after which the job is tried again, and nobody has begun.
    pub(crate) fn has_failed(&self, token: Token, now: i64) -> bool {
        let is_open = token.expires > now.div_euclid(1000) && self.gone.is_none();
        is_open && self.failure.is_some() && self.report.is_none() && self.attempt == token.attempt
    }

    /// Whether a token opens the job.
    pub(crate) fn held(&self, token: Token, now: i64) -> Result<(), u16> {
        if token.expires <= now.div_euclid(1000) {
            Err(401)
        } else if self.gone.is_some() {
            Err(404)
        } else if self.attempt != token.attempt || self.status == "pending" {
            Err(401)
        } else {
            Ok(())
        }
    }

    pub(crate) fn heartbeat(&mut self, token: Token, now: i64) -> Expected {
        let held = self.held(token, now).and(if self.terminal && self.report.is_some() { Err(400) } else { Ok(()) });
        let stop = Expected { status: 200, fields: vec![("/cancelled", json!(true))] };
        if token.expires <= now.div_euclid(1000) {
            return status(401);
        }
        let mut deadline = Some(token.expires * 1000 - WINDOW);
        if deadline <= Some(now) {
            if let Err(refused) = held {
                return status(refused);
            }
            deadline = self.deadline.filter(|_| self.report.is_none());
            if self.terminal || deadline.is_some_and(|deadline| deadline <= now) {
                return stop;
            }
        }
        let interval = ((now.div_euclid(1000) - token.claimed) / 20).clamp(30, 300);
        let lease = now + 3000 * interval;
        let until = (deadline.map_or(lease, |deadline| deadline.min(lease)), lease.max(now + WINDOW));
        let ends = until.1.max(token.expires * 1000).div_euclid(1000) * 1000;
        let is_first = !self.beats.is_some_and(|beats| beats.attempt == token.attempt && beats.until.is_some());
        if let Some(beats) = &mut self.beats
            && beats.attempt == token.attempt
            && let Some((attempt, told)) = &mut beats.cancelled
            && *attempt == token.attempt
        {
            let running = match (*told, beats.until) {
                (true, Some((running, _))) => running,
                _ => until.0.min(now + LAST_WORDS),
            };
            beats.until = Some((running, until.1));
            beats.ends = ends;
            *told = true;
            if is_first {
                self.look_at(token, running, now);
            }
            return stop;
        }
        // Nobody tells a miner of what it has done itself.
        if self.beats.is_some_and(|beats| beats.attempt > token.attempt) {
            return match held {
                Ok(()) if self.terminal => stop,
                held => status(held.err().unwrap_or(503)),
            };
        }
        if is_first {
            self.look_at(token, until.0, now);
        }
        self.beats = Some(Beats { attempt: token.attempt, until: Some(until), cancelled: None, ends });
        Expected { status: 200, fields: vec![("/cancelled", json!(false))] }
    }

    /// An attempt's first heartbeat, which comes when the reaper may have looked, has it look again at the lease's end.
    fn look_at(&mut self, token: Token, lease_end: i64, now: i64) {
        let is_late = now.div_euclid(1000) - token.claimed >= LATE / 1000;
        let runs = self.status == "running" && self.gone.is_none() && self.attempt == token.attempt;
        if is_late && runs {
            (self.due, self.due_within) = (Some(lease_end), 0);
        }
    }

    pub(crate) fn cancel(&mut self, now: i64) {
        if self.terminal || self.report.is_some() || self.cancel {
            return;
        }
        if self.status == "pending" {
            self.status = "cancelled";
            self.end();
            return;
        }
        self.cancel = true;
        let until = self.beats_of(now);
        if until.is_some() {
            self.due = self.due.min(Some(now + LAST_WORDS));
        }
        self.beats =
            Some(Beats { attempt: self.attempt, until, cancelled: Some((self.attempt, false)), ends: i64::MAX });
    }

    pub(crate) fn retry(&mut self, now: i64) {
        if self.attempt > 0 {
            self.close();
        }
        (self.status, self.terminal, self.cancel, self.released, self.given_back) = ("pending", false, false, None, 0);
        (self.before, self.run, self.placed) = (self.attempt, self.run + 1, now);
        (self.miner, self.worker, self.report, self.deadline, self.due) = (None, None, None, None, Some(now));
        (self.errors, self.failure) = (0, None);
        self.waits(now);
        self.removed.clear();
        self.ended_without = None;
        self.files.clear();
        self.is_long = false;
        self.objects.clear();
        self.outputs.clear();
    }

    pub(crate) fn release(&mut self, token: Token, now: i64) -> Expected {
        let done = Expected { status: 200, fields: vec![("/released", json!(true))] };
        if token.expires > now.div_euclid(1000) && self.gone.is_none() && self.released == Some(token.attempt) {
            return done;
        }
        match self.held(token, now) {
            Err(refused) => status(refused),
            Ok(()) if self.terminal || self.report.is_some() => status(400),
            Ok(()) => {
                self.released = Some(self.attempt);
                if self.cancel {
                    // The alarm is set for whatever is given back.
                    self.alarm = self.alarm_of_wait(now).or(self.alarm);
                    self.status = "cancelled";
                    self.end();
                } else {
                    self.given_back += 1;
                    self.requeue(now);
                }
                done
            }
        }
    }

    /// It waits again, and not for who had it.
    pub(crate) fn requeue(&mut self, now: i64) {
        self.status = "pending";
        self.lost.retain(|_, at| now < *at + WITHHELD);
        self.lost.extend(self.miner.take().map(|miner| (miner, now)));
        (self.worker, self.due_within) = (None, 0);
        (self.lease, self.urls, self.deadline, self.due) = (None, None, None, Some(self.placed));
        self.waits(now);
    }

    pub(crate) fn finish(&mut self, token: Token, report: Report, now: i64) -> Expected {
        if self.has_failed(token, now) && self.failure == Some(report) {
            return self.shown_to_miner();
        }
        if let Err(refused) = self.held(token, now) {
            return status(refused);
        }
        if self.report == Some(report) && self.lacks(Part::List) {
            return status(500);
        }
        let is_tried_again = report.status == "error" && METHODS[self.made.method].2 && !self.cancel;
        if self.status == "running" && self.report.is_none() {
            if is_tried_again && self.attempt < self.max_attempts() {
                self.requeue(now);
                self.due = Some(now + PAUSES[(self.errors as usize).min(2)]);
                (self.errors, self.failure) = (self.errors + 1, Some(report));
                self.since = now.max(self.due.unwrap_or(now));
                return self.shown_to_miner();
            }
            self.report = Some(report);
            let report = if self.cancel { Report { status: "cancelled", ..report } } else { report };
            self.files = report.files().map(|file| (file, false)).collect();
            self.is_long = report.is_long;
            let uploads = !self.files.is_empty() || self.is_long;
            self.status =
                if uploads && report.status == "complete" { "complete_pending_uploads" } else { report.status };
            if uploads {
                self.give_urls(now);
                self.lease = self.urls.max(Some(token.expires * 1000 - WINDOW));
            } else {
                self.end();
            }
        } else if self.report == Some(report) && !self.terminal {
            // Fresh URLs, and the time to use them.
            self.give_urls(now);
        }
        if self.report == Some(report) { self.shown_to_miner() } else { status(400) }
    }

    pub(crate) fn give_urls(&mut self, now: i64) {
        if self.urls < Some(now + WINDOW) {
            self.urls = Some(now + WINDOW + URLS_GIVEN);
        }
    }

    /// What has arrived is all there is.
    pub(crate) fn complete(&mut self) {
        if self.terminal {
            return;
        }
        self.outputs = self.objects.clone();
        self.outputs.retain(|file, _| self.files.contains_key(file));
        for (file, arrived) in &mut self.files {
            *arrived = self.outputs.contains_key(file);
        }
        if self.status == "complete_pending_uploads" {
            let all = !self.is_long && self.files.values().all(|arrived| *arrived);
            self.status = if all { "complete" } else { "partial_failure" };
        }
        self.end();
    }

    pub(crate) fn reap(&mut self, now: i64) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match self.gone {
            Some(gone) => {
                self.objects.clear();
                self.due = (now < gone).then_some(gone);
            }
            None if self.terminal || self.status == "pending" => {}
            // The row alone tells that there is nothing to do.
            None if self.lease_of_row(now) > Some(now) => {}
            None if self.held_until(now) > Some(now) => {
                let cancelled = (self.cancel && self.report.is_none()).then_some(now + LAST_WORDS);
                let silent = (!self.has_beaten(now)).then_some(now + LONGEST_LEASE);
                self.due = [self.held_until(now), cancelled, silent].into_iter().flatten().min();
            }
            None if self.is_lost() == Some(Part::Result) && !self.lacks(Part::List) => {
                self.complete();
                self.end_without(Part::Result);
            }
            None if self.is_lost().is_some() => self.is_lost().into_iter().for_each(|part| self.end_without(part)),
            None if self.report.is_some() => {
                self.complete();
                self.close();
            }
            None if self.cancel => {
                self.status = "cancelled";
                self.end();
                self.close();
            }
            None if self.attempt == self.max_attempts() => {
                self.status = "timeout";
                self.end();
                self.close();
            }
            None => {
                self.close();
                self.requeue(now);
            }
        }
    }

    /// What is gone without which it is of no use to anybody.
    fn is_lost(&self) -> Option<Part> {
        let needed: &[_] = match self.report {
            Some(_) => &[Part::Result, Part::List],
            None if self.cancel => &[],
            None => &[Part::Arguments],
        };
        needed.iter().copied().find(|part| self.lacks(*part))
    }

    /// Until when the last heartbeat of this attempt holds it, whatever its state.
    pub(crate) fn lease_of_row(&self, now: i64) -> Option<i64> {
        self.beats_of(now).map(|(running, uploads)| running.min(uploads))
    }

    /// When its miner loses it, unless it beats again.
    pub(crate) fn held_until(&self, now: i64) -> Option<i64> {
        let beats = self.beats_of(now);
        match self.report {
            Some(_) => beats.map_or(self.lease, |(_, uploads)| Some(uploads)).max(self.urls),
            None => beats.map(|(running, _)| running).into_iter().chain(self.deadline).min(),
        }
    }

    /// The attempt is taken from its miner.
    pub(crate) fn close(&mut self) {
        let cancelled = self.beats.and_then(|beats| beats.cancelled);
        self.beats = Some(Beats { attempt: self.attempt + 1, until: None, cancelled, ends: i64::MAX });
    }

    pub(crate) fn end(&mut self) {
        (self.terminal, self.lease, self.urls, self.due) = (true, None, None, None);
    }
}
