//! A job as the table holds it. How clients see it is [`crate::http::JobResponse`].

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    chute::{Chute, ChuteSnapshot, Port},
    input::Inputs,
    output_file::{FileKeys, OutputFile},
    payload::{Payload, PayloadKind, Stored},
    place::Place,
    status::Status,
    user::User,
};
use crate::{
    error::{Error, Result},
    item::{Item, keys, schema, shards},
    metrics::{Metric, Metrics},
    time::{DAY, Timestamp},
};

/// A job's item in the jobs table. Steps rewrite it, so it has what steps change; what the job carries beside that is in it only where it
/// is small ([`super::payload`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The table's key.
    pub job_id: Uuid,
    /// Who created it.
    pub user_id: Uuid,
    /// On which chute.
    pub chute_id: Uuid,
    /// Which of the chute's jobs.
    pub method: String,
    /// Where it is in its life.
    pub status: Status,
    /// It will never change again.
    pub terminal: bool,
    /// Which attempt is or was the last to run; 0 before the first claim.
    pub attempt: u32,
    /// Attempts that it gets.
    pub max_attempts: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was last claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the miner reported its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the attempt is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// How often its owner has had it tried again. Each time its files get keys of their own.
    #[serde(default, skip_serializing_if = "is_none")]
    pub run: u32,
    /// When its owner cancelled it while it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<Timestamp>,
    /// Until when the miner holds it while files are uploaded. Of a running job, [`super::Lease`] tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
    /// Until when the upload URLs work that its miner was given last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads_until: Option<Timestamp>,
    /// The arguments: a JSON object.
    pub job_args: Payload,
    /// The inputs that the arguments name, as [`Inputs`] in JSON. None when they name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Payload>,
    /// The result: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// How far it is, 0 to 1: as an earlier release wrote it, or as read beside the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The chute, as it was when the job was created.
    pub chute: ChuteSnapshot,
    /// Seconds that an attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// What its owner files it under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Its owner may have so many running at once: whoever claims it is counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counted: bool,
    /// Whom to tell when it is over: a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Seconds that it may wait for a miner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<i64>,
    /// That is a time of its own: it has an alarm of its own, too ([`super::Waiting`]).
    #[serde(default, skip_serializing_if = "is_false")]
    pub own_wait: bool,
    /// Milliseconds that it is kept when it is over, where that is not [`Self::KEPT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<i64>,
    /// Seconds until its row goes by itself, should nobody have ended it: a day more, where it is kept for longer. In a write, DynamoDB adds and does not multiply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<i64>,
    /// A miner's `error` has it tried again, while attempts are left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retry_errors: bool,
    /// How many of its attempts have ended so.
    #[serde(default, skip_serializing_if = "is_none")]
    pub errors: u32,
    /// Digest of the report that has ended the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Ports that the miner has to open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The hardware that its chute asked for when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Value>,
    /// Who claimed it: a hotkey, or an account's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<String>,
    /// Whose account that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner_account: Option<Uuid>,
    /// Which of the miner's processes claimed it, when it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The hotkey that signed the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner_hotkey: Option<String>,
    /// Where it runs, as the miner said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The output files, by file id. None before the report, and as long as a list that is stored apart was not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<Uuid, OutputFile>>,
    /// Where the list of the output files is, when it is not in the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_list: Option<Stored>,
    /// Digest of the miner's report, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Large reports that may have left something in the bucket: each has put something, or was about to, and has not come to its write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<u32>,
    /// How often its files have changed since the report: by forms, and by declarations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_changes: Option<u32>,
    /// Until when one is at the check of its many files, and nobody else begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checking_until: Option<Timestamp>,
    /// Which attempt its miner gave back, of those that were given back the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<u32>,
    /// No attempt follows the present one: the owner was disabled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closed: bool,
    /// Accounts that lost it lately, and when it was requeued each time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, Timestamp>,
    /// Miners that lost it, as an earlier release wrote it: without times.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost_by: BTreeSet<String>,
    /// It has logs in the bucket, or may have.
    #[serde(default, skip_serializing_if = "is_false")]
    pub logged: bool,
    /// Bytes of them, as the row of its heartbeats counts them, where that was read.
    #[serde(skip)]
    pub log_bytes: Option<u64>,
    /// Set while it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When nothing of a deleted job can arrive any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
    /// Digest of the create request, when it came with an `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Index `by_owner`: whose list it is in, and which shard of it. None once it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Which shard of its chute's queue it waits in. The table keeps the attribute's first name.
    #[serde(rename = "lane", default, skip_serializing_if = "is_first")]
    pub shard: u8,
    /// Index `queue`: what needs attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Where it stands in its chute's queue, for when it waits there anew; its creation unless others waited then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Index `queue`: when. Of a pending job, its [place](Place).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn is_first(shard: &u8) -> bool {
    *shard == 0
}

fn is_false(it: &bool) -> bool {
    !it
}

/// Where a job runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Instance {
    /// The miner's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Where on earth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How to reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which of its ports lead to the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_mappings: Option<Vec<PortMapping>>,
}

impl Instance {
    /// Whether this port of a job's is mapped.
    pub fn covers(&self, port: &Port) -> bool {
        let mut mappings = self.port_mappings.iter().flatten();
        mappings.any(|it| it.internal_port == port.port && it.proto == port.proto)
    }

    /// For the table.
    pub fn to_attribute(&self) -> Result<AttributeValue> {
        serde_dynamo::to_attribute_value(self).map_err(|error| Error::internal("write: instance", error))
    }
}

/// A port of the job and the public port that leads to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PortMapping {
    /// Inside the container.
    #[schema(maximum = 65535)]
    #[serde(deserialize_with = "port")]
    pub internal_port: u16,
    /// On the instance's host.
    #[schema(maximum = 65535)]
    #[serde(deserialize_with = "port")]
    pub external_port: u16,
    /// `tcp`, `udp` or `http`.
    pub proto: String,
}

/// A port, also one that is written `22.0`: JSON has one kind of number.
fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let port = f64::deserialize(deserializer)?;
    let is_one = port.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&port);
    if is_one { Ok(port as u16) } else { Err(serde::de::Error::custom("not a port")) }
}

impl Job {
    /// Seconds that a job is kept when it is over, unless its deployment or its method says otherwise: 30 days.
    pub const KEPT: i64 = 30 * DAY;

    /// A job that waits for a miner: of this user, on this chute, as its method says.
    pub fn new(user: &User, chute: Chute, method: &str, job_args: String, now: Timestamp) -> Self {
        let declared = chute.method(method);
        let shard = shards::pick(chute.busy);
        Self {
            job_id: Uuid::new_v4(),
            user_id: user.user_id,
            chute_id: chute.chute_id,
            method: method.to_owned(),
            status: Status::Pending,
            terminal: false,
            attempt: 0,
            max_attempts: declared.map_or(1, |method| method.retry.saturating_add(1)),
            created_at: now,
            updated_at: now,
            started_at: None,
            finished_at: None,
            deadline_at: None,
            run: 0,
            cancel_requested_at: None,
            lease_expires_at: None,
            uploads_until: None,
            job_args: Payload::Inline(job_args),
            inputs: None,
            result: None,
            error_detail: None,
            progress: None,
            timeout: declared.and_then(|method| method.timeout),
            labels: Vec::new(),
            counted: user.running_limit.is_some(),
            webhook: None,
            wait: None,
            own_wait: false,
            keep_ms: None,
            keep_s: None,
            retry_errors: declared.is_some_and(|method| method.retry_errors),
            errors: 0,
            failure: None,
            ports: declared.map(|method| method.ports.clone()).unwrap_or_default(),
            node_selector: chute.node_selector.clone(),
            miner: None,
            miner_account: None,
            worker: None,
            miner_hotkey: None,
            instance: None,
            files: None,
            file_list: None,
            report: None,
            unsettled: None,
            file_changes: None,
            checking_until: None,
            released: None,
            closed: false,
            lost: BTreeMap::new(),
            lost_by: BTreeSet::new(),
            logged: false,
            log_bytes: None,
            deleted_at: None,
            gone_at: None,
            request: None,
            owner: Some(keys::owner(user.user_id, shards::pick(user.is_busy()))),
            shard,
            queue: Some(keys::claimable(chute.chute_id, shard)),
            place: None,
            due_at: Some(Timestamp::from_millis(Place::at(now).stored())),
            chute: chute.into(),
        }
    }

    /// Waits at this place of its chute's queue.
    pub fn wait_at(&mut self, place: Place) {
        self.place = Some(place).filter(|place| *place != Place::at(self.created_at));
        self.due_at = Some(Timestamp::from_millis(place.stored()));
    }

    /// Where it stands in its chute's queue whenever it waits.
    pub fn own_place(&self) -> Place {
        self.place.unwrap_or(Place::at(self.created_at))
    }

    /// From when on it may be claimed, if it waits.
    pub fn ready_at(&self) -> Option<Timestamp> {
        let place = self.due_at.filter(|_| self.status == Status::Pending);
        place.map(|place| Place::from_stored(place.millis()).time())
    }

    /// Is kept for so many days when it is over.
    pub fn keep(&mut self, days: u32) {
        let seconds = i64::from(days) * DAY;
        if seconds != Self::KEPT {
            self.keep_ms = Some(seconds * 1000);
            // Not before the last token of the longest job has ended, for which 30 days and one more are enough.
            self.keep_s = Some(seconds + DAY).filter(|_| seconds > Self::KEPT);
        }
    }

    /// Seconds that it is kept when it is over.
    pub fn kept_for(&self) -> i64 {
        self.keep_ms.map_or(Self::KEPT, |millis| millis / 1000)
    }

    /// Until when it is kept, if it is over.
    pub fn kept_until(&self) -> Option<Timestamp> {
        self.due_at.filter(|_| self.terminal)
    }

    /// The state alone.
    pub fn without_payloads(self) -> Self {
        let job_args = Payload::Inline("null".to_owned());
        Self { job_args, inputs: None, result: None, files: None, file_list: None, ..self }
    }

    /// Seconds that an attempt may run: the method's timeout, or 30 days.
    pub fn longest_run(&self) -> i64 {
        self.timeout.map_or(30 * DAY, i64::from)
    }

    /// Whether a row of the jobs table is one. Others have keys like a job's: alarms, deliveries.
    pub fn is(item: &Item) -> bool {
        !item.contains_key("alarm") && !item.contains_key("delivery_of")
    }

    /// From the table.
    pub fn from_item(item: Item) -> Result<Self> {
        schema::check(&item, "read: job")?;
        serde_dynamo::from_item(item).map_err(|error| Error::internal("read: job", error))
    }

    /// For the table.
    pub fn to_item(&self) -> Result<Item> {
        let mut item = serde_dynamo::to_item(self).map_err(|error| Error::internal("write: job", error))?;
        schema::stamp(&mut item);
        Ok(item)
    }

    /// The id of the job that a user creates with an `Idempotency-Key`.
    pub fn id_of_key(user_id: Uuid, key: &str) -> Uuid {
        Uuid::new_v5(&user_id, format!("Idempotency-Key:{key}").as_bytes())
    }

    /// The job, for the miner of this attempt. 404 when it is being deleted; 401 when the attempt is over: a token of an
    /// earlier one is fenced off.
    pub fn held_by(self, attempt: u32) -> Result<Self> {
        if self.deleted_at.is_some() {
            Err(Error::no_job(self.job_id))
        } else if self.attempt != attempt || self.status == Status::Pending {
            Err(Error::bad_job_token())
        } else {
            Ok(self)
        }
    }

    /// Whether it is pending after an attempt that has failed, and its next one may not begin yet.
    pub fn is_delayed(&self, now: Timestamp) -> bool {
        self.failure.is_some() && self.ready_at() > Some(now)
    }

    /// Whether the miner of this attempt has reported an error for which the job is tried again, and nobody has begun, though it may have ended
    /// since.
    pub fn has_failed(&self, attempt: u32) -> bool {
        self.attempt == attempt && self.failure.is_some() && self.report.is_none() && self.deleted_at.is_none()
    }

    /// Seconds for which somebody is at the check of its files, at most.
    pub fn checked_for(&self, now: Timestamp) -> Option<i64> {
        let left = self.checking_until?.millis() - now.millis();
        (left > 0).then(|| (left + 999) / 1000)
    }

    /// The file of that name, when the report announced it.
    pub fn output_file(&self, filename: &str) -> Result<&OutputFile> {
        let file_id = OutputFile::id(self.job_id, filename);
        let file = self.files.as_ref().and_then(|files| files.get(&file_id));
        file.ok_or_else(|| Error::NotFound(format!("File {filename} not found in job output files")))
    }

    /// What it has in objects of its own.
    pub fn stored(&self) -> impl Iterator<Item = (PayloadKind, &Stored)> {
        let all = [
            (PayloadKind::Arguments, self.job_args.stored()),
            (PayloadKind::Result, self.result.as_ref().and_then(Payload::stored)),
            (PayloadKind::Files, self.file_list.as_ref()),
            (PayloadKind::Inputs, self.inputs.as_ref().and_then(Payload::stored)),
        ];
        all.into_iter().filter_map(|(kind, stored)| Some((kind, stored?)))
    }

    /// The object that holds this, unless it is in the item, or was found to be gone.
    pub fn stored_apart(&self, kind: PayloadKind) -> Option<&Stored> {
        self.stored().find(|(of, stored)| *of == kind && !stored.lost).map(|(_, stored)| stored)
    }

    /// Takes in what was loaded.
    pub fn set_loaded(&mut self, kind: PayloadKind, text: String) -> Result<()> {
        match kind {
            PayloadKind::Arguments => self.job_args.set_loaded(text),
            PayloadKind::Result => {
                if let Some(result) = &mut self.result {
                    result.set_loaded(text);
                }
            }
            PayloadKind::Inputs => {
                if let Some(inputs) = &mut self.inputs {
                    inputs.set_loaded(text);
                }
            }
            PayloadKind::Files => {
                let files = serde_json::from_str(&text);
                self.files = Some(files.map_err(|error| Error::internal("payload: list of files", error))?);
            }
        }
        Ok(())
    }

    /// The inputs that its arguments name. None where they name none, or their list was not loaded.
    pub fn named_inputs(&self) -> Result<Option<Inputs>> {
        let inputs = self.inputs.as_ref().and_then(Payload::text).map(serde_json::from_str).transpose();
        inputs.map_err(|error| Error::internal("payload: list of inputs", error))
    }

    /// The job as it is now, with the list of files that was loaded of it as it was, if that is still the list.
    pub fn with_files_of(self, before: &Self) -> Self {
        let is_known =
            self.file_list.as_ref().zip(before.file_list.as_ref()).is_some_and(|(now, then)| now.is_same(then));
        if is_known { Self { files: before.files.clone(), ..self } } else { self }
    }

    /// With its arguments as they were loaded before, unless others have taken their place.
    pub fn take_arguments_of(&mut self, before: Self) {
        let (now, then) = (self.job_args.stored(), before.job_args.stored());
        if now.zip(then).is_some_and(|(now, then)| now.is_same(then)) {
            self.job_args = before.job_args;
        }
    }

    /// Whether there is, or may come, something of it in the bucket.
    pub fn has_objects(&self) -> bool {
        // What came before a retry is removed then, but for what arrives later.
        self.report.is_some() || self.run > 0 || self.logged || self.is_unsettled() || self.stored().next().is_some()
    }

    /// Whether there may be something of a report of which nobody can tell where it is.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled.is_some_and(|reports| reports > 0)
    }

    /// The S3 keys of its files and payloads.
    pub fn file_keys(&self) -> FileKeys {
        FileKeys::new(self.chute_id, self.created_at, self.job_id).of_run(self.run)
    }

    /// Counts a job that has just become terminal, and nothing for any other.
    pub fn count_end(&self, metrics: &Metrics) {
        let outcome = match self.status {
            _ if !self.terminal => return,
            Status::Pending | Status::Running | Status::CompletePendingUploads => return,
            Status::Complete => Metric::JobsComplete,
            Status::PartialFailure => Metric::JobsPartialFailure,
            Status::Error => Metric::JobsError,
            Status::Cancelled => Metric::JobsCancelled,
            Status::Timeout => Metric::JobsTimeout,
        };
        metrics.add(outcome, 1);
        let files = self.files.iter().flat_map(|files| files.values()).filter(|file| file.uploaded);
        match files.filter_map(|file| file.size).sum() {
            0 => {}
            bytes => metrics.add(Metric::OutputBytes, bytes),
        }
    }
}
