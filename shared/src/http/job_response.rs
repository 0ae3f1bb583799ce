//! How clients see a job, and where a miner sends its files.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    model::{ChuteSnapshot, FileKeys, Job, OutputFile, Payload, PortMapping, Status},
    time::{Timestamp, rfc3339, rfc3339_option},
};

/// Where payloads are that an answer leaves out: presigned GET URLs, good for 15 minutes.
#[derive(Debug, Default)]
pub struct PayloadUrls {
    /// The arguments.
    pub job_args: Option<String>,
    /// The result.
    pub result: Option<String>,
}

/// Where a miner sends its files.
#[derive(Debug)]
pub struct UploadTargets {
    /// A target for each file; when there are too many parts, only for those that go in one piece.
    pub targets: Vec<UploadTarget>,
    /// No target is left out.
    pub whole: bool,
}

impl UploadTargets {
    /// Presigned URL by filename, of files that go in one piece.
    fn urls(&self) -> BTreeMap<&str, &RawValue> {
        self.targets.iter().filter_map(|target| Some((&*target.filename, target.url.as_deref()?))).collect()
    }
}

/// Where a miner sends one file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadTarget {
    /// The file's name.
    pub filename: String,
    /// Its id.
    pub file_id: Uuid,
    /// `PUT`.
    pub method: &'static str,
    /// The presigned URL; null when the file goes in parts.
    // As JSON, because a finish answers each of these 2 KB twice.
    #[schema(value_type = Option<String>)]
    pub url: Option<Box<RawValue>>,
    /// Headers that were signed and have to be sent.
    pub headers: BTreeMap<&'static str, String>,
    /// Until when the URL works.
    #[serde(serialize_with = "rfc3339")]
    pub expires_at: Timestamp,
    /// Parts of a large file.
    pub parts: Option<Vec<UploadPart>>,
    /// Where a fresh URL is to be had.
    pub renew_url: String,
}

/// Where a miner sends one part of a large file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UploadPart {
    /// 1 to 10,000.
    pub part_number: i32,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// The presigned URL.
    pub url: String,
}

/// A job, as clients see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobResponse<'a> {
    /// The job's id.
    job_id: Uuid,
    /// Who created it.
    user_id: Uuid,
    /// On which chute.
    chute_id: Uuid,
    /// The chute's version when the job was created.
    version: &'a str,
    /// The SDK's version that the chute was built with.
    chutes_version: &'a str,
    /// Which of the chute's jobs.
    method: &'a str,
    /// The miner's name for where it runs.
    instance_id: Option<&'a str>,
    /// How to reach the instance.
    host: Option<&'a str>,
    /// It is claimed and not over.
    active: bool,
    /// It was claimed.
    verified: bool,
    /// When it was created.
    #[serde(serialize_with = "rfc3339")]
    created_at: Timestamp,
    /// Always null.
    #[serde(serialize_with = "rfc3339_option")]
    last_queried_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(serialize_with = "rfc3339_option")]
    updated_at: Option<Timestamp>,
    /// When the miner reported its result.
    #[serde(serialize_with = "rfc3339_option")]
    finished_at: Option<Timestamp>,
    /// The arguments, as they were given, and `_disk_gb`. Null where only the state was asked for, or `job_args_url` says where they
    /// are.
    #[schema(value_type = Option<Object>)]
    job_args: Option<&'a RawValue>,
    /// Where the arguments are, for 15 minutes, when they would make the answer too long; also in the answers to a report and to its
    /// completion, when they are large.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_args_url: Option<&'a str>,
    /// The inputs that the arguments name, by id. Null where they name none, where only the state was asked for, and in the answers to a
    /// report and to its completion where the list is long.
    inputs: Option<BTreeMap<Uuid, JobInput>>,
    /// What the miner reported: any JSON.
    #[schema(value_type = Option<Value>)]
    result: Option<&'a RawValue>,
    /// The same for the result, which is then null.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_url: Option<&'a str>,
    /// By file id. Null before the report.
    output_files: Option<BTreeMap<Uuid, FileResponse<'a>>>,
    /// How the job's ports are reached.
    port_mappings: Option<&'a [PortMapping]>,
    /// The chute, as it was when the job was created.
    chute: ChuteResponse<'a>,
    /// Where it runs.
    instance: Option<InstanceResponse<'a>>,
    /// Presigned URL by filename, in the answer to the miner's report; else empty.
    #[schema(value_type = BTreeMap<String, String>)]
    pub(super) output_storage_urls: BTreeMap<&'a str, &'a RawValue>,
    /// Where it is in its life.
    status: Status,
    /// It will never change again, unless its owner has it tried again.
    terminal: bool,
    /// What went wrong.
    error_detail: Option<&'a str>,
    /// When it was last claimed.
    #[serde(serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    /// When the attempt is over.
    #[serde(serialize_with = "rfc3339_option")]
    deadline_at: Option<Timestamp>,
    /// Until when it waits for a miner. Null once it is claimed, or over.
    #[serde(serialize_with = "rfc3339_option")]
    expires_at: Option<Timestamp>,
    /// Until when it is kept, with its files. Null until it is over.
    #[serde(serialize_with = "rfc3339_option")]
    kept_until: Option<Timestamp>,
    /// What its owner files it under.
    labels: &'a [String],
    /// Whom to tell when it is over: a URL. Null where nobody is told, and in what a miner sees.
    webhook: Option<&'a str>,
    /// When its owner cancelled it while it ran: its miner is told to stop.
    #[serde(serialize_with = "rfc3339_option")]
    cancel_requested_at: Option<Timestamp>,
    /// Which attempt is or was the last to run; 0 before the first claim.
    attempt: u32,
    /// Attempts that it gets.
    max_attempts: u32,
    /// How far it is, 0 to 1, as the owner reads it until `terminal` is true.
    progress: Option<f64>,
    /// How much its miners have said that it has printed, as its owner reads it: bytes, of each chunk of the logs 8 KiB at least. It grows with
    /// each chunk. 0 where it has logs and nobody counts them any more; null where it has none.
    log_bytes: Option<u64>,
    /// The hotkey that signed the claim.
    miner_hotkey: Option<&'a str>,
    /// Where the files go, in the answer to the miner's report; left out when it would be too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uploads: Option<&'a [UploadTarget]>,
}

impl<'a> JobResponse<'a> {
    /// The job as clients see it, without the payloads that have a URL; with the targets of its uploads in the answer to the miner's
    /// report.
    pub(super) fn new(job: &'a Job, urls: &'a PayloadUrls, uploads: Option<&'a UploadTargets>) -> Result<Self> {
        let raw = |payload: &'a Payload| payload.text().map(serde_json::from_str).transpose();
        let raw = |payload: Option<&'a Payload>, url: &Option<String>| -> Result<Option<&'a RawValue>> {
            let payload = payload.filter(|_| url.is_none()).map(raw).transpose();
            payload.map(Option::flatten).map_err(|error| Error::internal("read: stored JSON", error))
        };
        let started = job.started_at.is_some();
        let keys = job.file_keys();
        let instance = job.instance.as_ref();
        Ok(Self {
            job_id: job.job_id,
            user_id: job.user_id,
            chute_id: job.chute_id,
            version: &job.chute.version,
            chutes_version: job.chute.chutes_version.as_deref().unwrap_or_default(),
            method: &job.method,
            instance_id: instance.and_then(|instance| instance.instance_id.as_deref()),
            host: instance.and_then(|instance| instance.host.as_deref()),
            active: started && !job.terminal,
            verified: started,
            created_at: job.created_at,
            last_queried_at: None,
            updated_at: Some(job.updated_at),
            finished_at: job.finished_at,
            job_args: raw(Some(&job.job_args), &urls.job_args)?,
            job_args_url: urls.job_args.as_deref(),
            inputs: job
                .named_inputs()?
                .map(|inputs| inputs.into_iter().map(|(input_id, file)| (input_id, JobInput::from(file))).collect()),
            result: raw(job.result.as_ref(), &urls.result)?,
            result_url: urls.result.as_deref(),
            output_files: job
                .files
                .as_ref()
                .map(|files| files.iter().map(|(file_id, file)| (*file_id, FileResponse::new(&keys, file))).collect()),
            port_mappings: instance.and_then(|instance| instance.port_mappings.as_deref()),
            chute: ChuteResponse { chute_id: job.chute_id, snapshot: &job.chute },
            instance: instance.filter(|instance| instance.instance_id.is_some()).map(|instance| InstanceResponse {
                instance_id: instance.instance_id.as_deref(),
                region: instance.region.as_deref(),
                active: !job.terminal,
                verified: true,
                last_verified_at: job.started_at,
            }),
            output_storage_urls: uploads.map(UploadTargets::urls).unwrap_or_default(),
            status: job.status,
            terminal: job.terminal,
            error_detail: job.error_detail.as_deref(),
            started_at: job.started_at,
            deadline_at: job.deadline_at,
            expires_at: job.waits_until(),
            kept_until: job.kept_until(),
            labels: &job.labels,
            webhook: job.webhook.as_deref(),
            cancel_requested_at: job.cancel_requested_at,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            progress: job.progress,
            log_bytes: job.log_bytes.or(job.logged.then_some(0)),
            miner_hotkey: job.miner_hotkey.as_deref(),
            uploads: uploads.filter(|uploads| uploads.whole).map(|uploads| &*uploads.targets),
        })
    }

    /// As a miner sees it: a webhook's URL may be a secret.
    pub(super) fn for_miner(self) -> Self {
        Self { webhook: None, log_bytes: None, ..self }
    }

    /// With `job_args` null.
    pub(super) fn without_arguments(self) -> Self {
        Self { job_args: None, ..self }
    }
}

/// One of JobResponse's `output_files`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OutputFile)]
struct FileResponse<'a> {
    filename: &'a str,
    path: String,
    uploaded: bool,
    size: Option<u64>,
    sha256: Option<&'a str>,
    content_type: Option<&'a str>,
}

impl<'a> FileResponse<'a> {
    fn new(keys: &FileKeys, file: &'a OutputFile) -> Self {
        Self {
            filename: &file.filename,
            path: keys.key(&file.filename),
            uploaded: file.uploaded,
            size: file.size,
            sha256: file.sha256.as_deref(),
            content_type: file.content_type.as_deref(),
        }
    }
}

/// One of JobResponse's `inputs`.
#[derive(Debug, Serialize, ToSchema)]
struct JobInput {
    filename: String,
    /// Bytes.
    size: Option<u64>,
    /// In hex, when the user declared it.
    sha256: Option<String>,
}

impl From<OutputFile> for JobInput {
    fn from(OutputFile { filename, size, sha256, .. }: OutputFile) -> Self {
        Self { filename, size, sha256 }
    }
}

/// JobResponse's `chute`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobChute)]
struct ChuteResponse<'a> {
    chute_id: Uuid,
    #[serde(flatten)]
    snapshot: &'a ChuteSnapshot,
}

/// JobResponse's `instance`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobInstance)]
struct InstanceResponse<'a> {
    instance_id: Option<&'a str>,
    region: Option<&'a str>,
    active: bool,
    verified: bool,
    #[serde(serialize_with = "rfc3339_option")]
    last_verified_at: Option<Timestamp>,
}
