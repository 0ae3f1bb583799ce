//! The faults have stopped: nothing is lost, and nothing is stuck.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::Method;
use shared::item::shards::{self, USAGE_SHARDS};
use tests::{item, s3, text};

use super::{Case, Http, Result};
use crate::{
    oracle::{FILES, Job, WINDOW},
    steps::{Step, What},
};

impl Case<'_> {
    /// The faults stop, and the reaper runs on.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let quiet = |what: What| Step { what, meanwhile: None, faults: Vec::new() };
        self.step(&quiet(What::List { miner: 0 })).await?;
        self.compare_lists_of_owners().await?;
        for _ in 0..5 {
            self.world.stack.clock().advance(Duration::from_millis(2 * WINDOW as u64 + 100_000));
            self.step(&quiet(What::Reap)).await?;
        }
        for back in 0..self.jobs.len() {
            for user in [0, 1] {
                self.step(&quiet(What::Get { user, job: back })).await?;
                for file in 0..FILES.len() {
                    self.step(&quiet(What::Download { user, job: back, file })).await?;
                }
            }
        }
        for (at, (_, states)) in self.jobs.iter().enumerate() {
            let job = &states[0];
            // What waited has expired by now.
            if !(job.terminal || job.gone.is_some()) || (job.gone.is_some() && job.due.is_some()) || job.alarm.is_some()
            {
                return Err(format!("job {at} is stuck: {job:?}"));
            }
        }
        self.compare_objects().await?;
        for ((user, day), jobs) in &self.used {
            let first = format!("usage#{}#{day}", self.world.users[*user].user_id);
            let mut counted = 0;
            for shard in 0..USAGE_SHARDS {
                let row = item(&self.world.stack, "RegistryTable", "pk", &shards::key(first.clone(), shard)).await;
                let of_chute = row[format!("chute#{}", self.chute_id)]["N"].as_str();
                counted += of_chute.map_or(0, |count| count.parse().unwrap());
            }
            if counted != *jobs {
                return Err(format!("{jobs} jobs were created, and counted are {counted}"));
            }
        }
        Ok(())
    }

    /// Users see their jobs, and nothing else: no alarm.
    pub(super) async fn compare_lists_of_owners(&self) -> Result<()> {
        for (at, user) in self.world.users.iter().enumerate() {
            let (headers, _) = user.sign(&Method::GET, "/jobs", &[], self.world.now());
            let url = format!("{}/jobs?limit=100&chute_id={}", self.world.stack.url(), self.chute_id);
            let list = Http { method: Method::GET, url, headers, body: Vec::new() };
            let Some((200, body)) = self.world.send(&list).await else { return Err("a list has no answer".to_owned()) };
            let listed = body["jobs"].as_array().into_iter().flatten().map(|job| text(&job["job_id"]));
            let own = |job: &Job| job.user == at && job.gone.is_none();
            let jobs = self.jobs.iter().filter(|(_, states)| own(&states[0])).map(|(job_id, _)| job_id.clone());
            let (listed, jobs): (BTreeSet<_>, BTreeSet<_>) = (listed.collect(), jobs.collect());
            if listed != jobs {
                return Err(format!("user {at} has {jobs:?}, and sees {listed:?}"));
            }
        }
        Ok(())
    }

    /// Every object in S3 belongs to a job that is there, and what a job carries is referred to by it. Where somebody was killed before there
    /// was a job, or in a repeated create when there was none any more, what was put stays: the bucket's lifecycle removes that.
    pub(super) async fn compare_objects(&self) -> Result<()> {
        let bucket = self.world.stack.resource("OutputsBucket").unwrap();
        let request = s3(&self.world.stack).list_object_versions().bucket(bucket);
        let found = request.prefix(format!("jobs/{}/", self.chute_id)).send().await.expect("S3 answers");
        let mut going_on = BTreeMap::new();
        for (at, (job_id, states)) in self.jobs.iter().enumerate() {
            if states[0].gone.is_none() && !self.faulty.contains(&at) {
                let item = item(&self.world.stack, "JobsTable", "job_id", job_id).await;
                going_on.insert(job_id.as_str(), item.to_string());
            }
        }
        for key in found.versions.unwrap_or_default().into_iter().filter_map(|version| version.key) {
            let owner = self.jobs.iter().find(|(job_id, _)| key.contains(job_id.as_str()));
            let has_key = |job_id: &str| self.by_key.values().any(|at| self.jobs[*at].0 == job_id);
            let id = key.rsplit_once("/payloads/").map_or("", |(_, id)| id);
            let item = owner.and_then(|(job_id, _)| going_on.get(job_id.as_str()));
            if let Some(item) = item.filter(|item| !item.contains(id)) {
                return Err(format!("{key} is nobody's: its job is {item}"));
            }
            let is_repeats = owner.is_none_or(|(job_id, _)| has_key(job_id)) && key.contains("/payloads/");
            if owner.is_none_or(|(_, states)| states[0].gone.is_some()) && !is_repeats {
                return Err(format!("{key} is an orphan"));
            }
        }
        Ok(())
    }
}
