//! The model of what waits: until when a job does, and the alarms that end it.

use serde_json::Value;

use crate::oracle::{Job, MINUTE, PENDING};

/// Milliseconds that a request may take.
const REQUEST: i64 = 60_000;

impl Job {
    /// It waits from now on, and its own alarm, if it has one, is set before that.
    pub(crate) fn waits(&mut self, now: i64) {
        self.since = now;
        self.alarm = self.alarm_of_wait(now).or(self.alarm);
    }

    /// When the alarm of its own rings, set now.
    pub(crate) fn alarm_of_wait(&self, now: i64) -> Option<i64> {
        self.made.wait.map(|wait| now + wait)
    }

    /// Until when it waits for a miner.
    pub(crate) fn waits_until(&self) -> Option<i64> {
        let waits = self.status == "pending" && self.gone.is_none();
        waits.then(|| self.since + self.made.wait.unwrap_or(PENDING))
    }

    /// The reaper hears the chute's alarm, where that rings, and the job's own.
    pub(crate) fn ring(&mut self, of_chute: bool, now: i64) {
        if of_chute {
            self.expire(now);
        }
        if self.alarm.is_some_and(|alarm| alarm <= now) && !self.is_set_lately(now) {
            self.expire(now);
            self.alarm = self.waits_until();
        }
    }

    /// Whether it does not wait, and whoever has set the alarm may be about to make it wait.
    fn is_set_lately(&self, now: i64) -> bool {
        let set_at = self.alarm.zip(self.made.wait).map(|(alarm, wait)| alarm - wait);
        self.waits_until().is_none() && set_at > Some(now - REQUEST)
    }

    fn expire(&mut self, now: i64) {
        if self.waits_until().is_some_and(|until| until <= now) {
            self.status = "timeout";
            self.end();
        }
    }

    /// What a run of the reaper that came to no end may have done of its work: on the job itself, on what waits too long, and on the job's
    /// alarm. What it could not do it puts off.
    pub(crate) fn half_reaped(&self, of_chute: bool, now: i64) -> Vec<Self> {
        let mut whole = self.clone();
        whole.reap(now);
        let mut states = vec![self.clone(), whole.clone()];
        if whole != *self {
            let rung = Self { alarm: whole.alarm, ..self.clone() };
            let swept = Self { objects: whole.objects, ..rung.clone() };
            for state in [rung, swept] {
                states.push(Self { due: Some(now + MINUTE), ..state.clone() });
                states.push(state);
            }
        }
        let rings = |job: &Self| job.alarm.is_some_and(|alarm| alarm <= now) && !job.is_set_lately(now);
        let mut all = Vec::new();
        for job in states {
            let mut expired = job.clone();
            if of_chute || rings(&job) {
                expired.expire(now);
            }
            for state in [&job, &expired] {
                all.push(state.clone());
                if rings(state) {
                    all.push(Self { alarm: Some(now + MINUTE), ..state.clone() });
                    all.push(Self { alarm: state.waits_until(), ..state.clone() });
                }
            }
        }
        all
    }

    /// Whether this row of the table is its alarm. Of a job without a time of its own there is none.
    pub(crate) fn has_alarm(&self, row: &Value) -> bool {
        self.alarm == row["due_at"]["N"].as_str().and_then(|due| due.parse().ok())
    }

    /// Whether its own alarm, where it has one, rings too late. Of two that make it wait at the same time, one has said so in whole seconds.
    pub(crate) fn waits_without_alarm(&self) -> bool {
        let until = self.waits_until().filter(|_| self.made.wait.is_some());
        until.is_some_and(|until| self.alarm.is_none_or(|alarm| alarm > until + 999))
    }
}
