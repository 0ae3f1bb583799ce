//! How the table has a job of the model.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    claims::name_of,
    oracle::{Beats, Job},
};

impl Job {
    /// The table tells when the reaper looks at it.
    pub(crate) fn learn(&mut self, item: &Value) {
        if item["deleted_at"].is_null() {
            self.unsettled = item["unsettled"]["N"].as_str().is_some_and(|reports| reports != "0");
        }
        let due = item["due_at"]["N"].as_str().and_then(|due| due.parse::<i64>().ok());
        if let (Some(expected), Some(due)) = (self.due, due)
            && self.due_within > 0
            && (expected..=expected + self.due_within).contains(&due)
        {
            (self.due, self.due_within) = (Some(due), 0);
        }
    }

    /// Whether it is due when the table says so. A pending job's place may be earlier: in turn with other users.
    fn is_due(&self, item: &Value) -> bool {
        let due = item["due_at"]["N"].as_str().and_then(|due| due.parse::<i64>().ok());
        match item["queue"]["S"].as_str() {
            Some(queue) if queue.starts_with("claimable#") => {
                due.is_some() && due.map(|place| place / 1_000_000) <= self.due
            }
            _ => due == self.due,
        }
    }

    /// Whether the table's items are this job's and its heartbeats'. `miners` are their names there, and their accounts.
    pub(crate) fn is(&self, item: &Value, row: &Value, miners: &[(String, String)]) -> bool {
        let number_of = |item: &Value, name: &str| item[name]["N"].as_str().and_then(|text| text.parse::<i64>().ok());
        let number = |name: &str| number_of(item, name);
        let beats = number_of(row, "attempt").map(|attempt| Beats {
            attempt: u32::try_from(attempt).unwrap_or_default(),
            until: number_of(row, "lease_expires_at").zip(number_of(row, "uploads_until")),
            cancelled: number_of(row, "cancelled")
                .map(|attempt| (u32::try_from(attempt).unwrap_or_default(), !row["told_at"].is_null())),
            ends: self.beats.map_or(0, |beats| beats.ends),
        });
        if beats != self.beats {
            return false;
        }
        let text = |name: &str| item[name]["S"].as_str();
        if self.gone.is_some() || !item["deleted_at"].is_null() {
            return self.gone == number("gone_at") && self.due == number("due_at");
        }
        let lost: BTreeMap<_, _> = item["lost"]["M"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(account, at)| (account.as_str(), at["N"].as_str().and_then(|at| at.parse::<i64>().ok())))
            .collect();
        let expected = self.lost.iter().map(|(miner, at)| (miners[*miner].1.as_str(), Some(*at)));
        let files: BTreeMap<_, _> = item["files"]["M"]
            .as_object()
            .into_iter()
            .flat_map(|files| files.values())
            .map(|file| (file["M"]["n"]["S"].as_str().unwrap_or_default(), file["M"]["u"]["BOOL"] == json!(true)))
            .collect();
        text("status") == Some(self.status)
            && item["terminal"]["BOOL"] == json!(self.terminal)
            && number("attempt") == Some(self.attempt.into())
            && number("run").unwrap_or(0) == i64::from(self.run)
            && text("miner") == self.miner.map(|miner| miners[miner].0.as_str())
            && text("worker") == self.worker.map(name_of).as_deref()
            && number("errors").unwrap_or(0) == i64::from(self.errors)
            && text("failure").is_some() == self.failure.is_some()
            && lost == expected.collect()
            && number("lease_expires_at") == self.lease
            && number("uploads_until") == self.urls
            && number("deadline_at") == self.deadline
            && number("released") == self.released.map(i64::from)
            && number("max_attempts") == Some(self.max_attempts().into())
            // One that is over waits for the end of its retention, which is after all that happens here.
            && (self.terminal && text("queue").is_some_and(|queue| queue.starts_with("later#")) || self.is_due(item))
            && number("cancel_requested_at").is_some() == self.cancel
            && text("report").is_some() == self.report.is_some()
            && (files == self.files || self.is_long && files.is_empty())
            && item["file_list"].is_null() != self.is_long
    }
}
