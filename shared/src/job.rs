//! A job as the table holds it, and as clients see it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    lanes,
    lifecycle::Status,
    read::Item,
    registry::{Chute, Image, Port},
    schema,
    time::{DAY, Timestamp, rfc3339, rfc3339_option},
};

/// A job's item in the jobs table.
///
/// JSON that only passes through (arguments, result) is kept as text: numbers of any size, key order and spelling come out as
/// they went in, and nobody parses it twice.
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
    /// Until when the miner holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_at: Option<Timestamp>,
    /// The arguments: a JSON object.
    pub job_args: String,
    /// The result: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// How far it is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The chute, as it was when the job was created.
    pub chute: ChuteSnapshot,
    /// Seconds that an attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Ports that the miner has to open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The hardware that its chute asked for when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<Value>,
    /// Who claimed it: a hotkey, or an account's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<String>,
    /// The hotkey that signed the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner_hotkey: Option<String>,
    /// Where it runs, as the miner said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
    /// The output files, by file id. None before the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<Uuid, OutputFile>>,
    /// Digest of the miner's report, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Miners that lost it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost_by: BTreeSet<String>,
    /// Set while it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When nothing of a deleted job can arrive any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
    /// Digest of the create request, when it came with an `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Index `by_user`: whose list it is in, and which lane of it. None once it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Which lane of its chute's queue it waits in.
    #[serde(default, skip_serializing_if = "is_first")]
    pub lane: u8,
    /// Index `queue`: what needs attention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Index `queue`: when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

fn is_first(lane: &u8) -> bool {
    *lane == 0
}

/// What a job remembers of its chute.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChuteSnapshot {
    /// The chute's name.
    pub name: String,
    /// Whether it was public.
    pub public: bool,
    /// Its version.
    pub version: String,
    /// Its host name's first label.
    pub slug: Option<String>,
    /// The SDK's version.
    pub chutes_version: Option<String>,
    /// Whether its instances may be taken away.
    pub preemptible: bool,
    /// Its image.
    pub image: Option<Image>,
}

impl From<Chute> for ChuteSnapshot {
    fn from(chute: Chute) -> Self {
        Self {
            name: chute.name,
            public: chute.public,
            version: chute.version,
            slug: chute.slug,
            chutes_version: chute.chutes_version,
            preemptible: chute.preemptible,
            image: chute.image,
        }
    }
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

/// An output file. Names in the table are short: a job may have a thousand of them in its one item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Relative path, as the miner named it.
    #[serde(rename = "n")]
    pub filename: String,
    /// It arrived.
    #[serde(rename = "u", default)]
    pub uploaded: bool,
    /// Bytes: declared, or found.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 in hex: declared. S3 checks it as the file arrives; of a file in parts it can't, and this is the miner's word.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Media type: declared, or found.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Bytes of each part that the miner wants to send a large file in: declared.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub part_size: Option<u64>,
    /// Size or hash were declared when a URL without them was out already: what arrived need not be what was declared.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub redeclared: bool,
    /// The object's version that was checked.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The object's ETag when it was checked.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl OutputFile {
    /// Whether the miner said what bytes to expect. S3 then takes no others, so an envelope cannot be there instead.
    pub fn is_declared(&self) -> bool {
        self.size.is_some() || self.sha256.is_some()
    }
}

impl Job {
    /// Seconds that a terminal job is kept: 30 days, and one more in which the last token of the longest job ends.
    pub const RETENTION: i64 = 31 * DAY;

    /// Seconds that an attempt may run: the method's timeout, or 30 days.
    pub fn longest_run(&self) -> i64 {
        self.timeout.map_or(30 * DAY, i64::from)
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

    /// The index key under which a chute's pending jobs wait, in one of its lanes.
    pub fn claimable(chute_id: Uuid, lane: u8) -> String {
        lanes::key(format!("claimable#{chute_id}"), lane)
    }

    /// The index key under which a user's jobs are listed, in one of the user's lanes.
    pub fn owner(user_id: Uuid, lane: u8) -> String {
        lanes::key(user_id.to_string(), lane)
    }

    /// The id of the job that a user creates with an `Idempotency-Key`.
    pub fn id_of_key(user_id: Uuid, key: &str) -> Uuid {
        Uuid::new_v5(&user_id, format!("Idempotency-Key:{key}").as_bytes())
    }

    /// The id of an output file: the same name is the same file.
    pub fn file_id(job_id: Uuid, filename: &str) -> Uuid {
        Uuid::new_v5(&job_id, filename.as_bytes())
    }

    /// 404 on a job's own routes.
    pub fn not_found(job_id: &str) -> Error {
        Error::NotFound(format!("job_id='{job_id}' not found!"))
    }

    /// The job, for the miner of this attempt. 404 when it is being deleted; 401 when the attempt is over: a token of an
    /// earlier one is fenced off.
    pub fn held_by(self, attempt: u32) -> Result<Self> {
        if self.deleted_at.is_some() {
            Err(Self::not_found(&self.job_id.to_string()))
        } else if self.attempt != attempt || self.status == Status::Pending {
            Err(Error::unauthorized("Missing or invalid JWT"))
        } else {
            Ok(self)
        }
    }

    /// The file of that name, when the report announced it.
    pub fn output_file(&self, filename: &str) -> Result<&OutputFile> {
        let file_id = Self::file_id(self.job_id, filename);
        let file = self.files.as_ref().and_then(|files| files.get(&file_id));
        file.ok_or_else(|| Error::NotFound(format!("File {filename} not found in job output files")))
    }

    /// What all keys of its files begin with.
    pub fn files_prefix(&self) -> String {
        format!("jobs/{}/{}/{}/outputs/", self.chute_id, self.created_at.date(), self.job_id)
    }

    /// The S3 key of one of its files.
    pub fn file_key(&self, file: &OutputFile) -> String {
        format!("{}{}", self.files_prefix(), file.filename)
    }

    /// As clients see it. `uploads` is finish's.
    pub fn response<'a>(&'a self, uploads: Option<&'a Uploads>) -> Result<JobResponse<'a>> {
        let raw = |text: &str| {
            RawValue::from_string(text.to_owned()).map_err(|error| Error::internal("read: stored JSON", error))
        };
        let started = self.started_at.is_some();
        let prefix = self.files_prefix();
        let instance = self.instance.as_ref();
        Ok(JobResponse {
            job_id: self.job_id,
            user_id: self.user_id,
            chute_id: self.chute_id,
            version: &self.chute.version,
            chutes_version: self.chute.chutes_version.as_deref().unwrap_or_default(),
            method: &self.method,
            instance_id: instance.and_then(|instance| instance.instance_id.as_deref()),
            host: instance.and_then(|instance| instance.host.as_deref()),
            active: started && !self.terminal,
            verified: started,
            created_at: self.created_at,
            last_queried_at: None,
            updated_at: Some(self.updated_at),
            finished_at: self.finished_at,
            job_args: raw(&self.job_args)?,
            result: self.result.as_deref().map(raw).transpose()?,
            output_files: self.files.as_ref().map(|files| {
                files.iter().map(|(file_id, file)| (*file_id, FileResponse::new(&prefix, file))).collect()
            }),
            port_mappings: instance.and_then(|instance| instance.port_mappings.as_deref()),
            chute: ChuteResponse { chute_id: self.chute_id, snapshot: &self.chute },
            instance: instance.filter(|instance| instance.instance_id.is_some()).map(|instance| InstanceResponse {
                instance_id: instance.instance_id.as_deref(),
                region: instance.region.as_deref(),
                active: !self.terminal,
                verified: true,
                last_verified_at: self.started_at,
            }),
            output_storage_urls: uploads.map(Uploads::urls).unwrap_or_default(),
            status: self.status,
            terminal: self.terminal,
            error_detail: self.error_detail.as_deref(),
            started_at: self.started_at,
            deadline_at: self.deadline_at,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            progress: self.progress,
            miner_hotkey: self.miner_hotkey.as_deref(),
            uploads: uploads.filter(|uploads| uploads.whole).map(|uploads| &*uploads.targets),
        })
    }
}

/// Where a miner sends its files.
#[derive(Debug)]
pub struct Uploads {
    /// A target for each file; when there are too many parts, only for those that go in one piece.
    pub targets: Vec<UploadTarget>,
    /// No target is left out.
    pub whole: bool,
}

impl Uploads {
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

/// The wire's JobResponse.
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
    /// The arguments, as they were given, and `_disk_gb`.
    #[schema(value_type = Object)]
    job_args: Box<RawValue>,
    /// What the miner reported: any JSON.
    #[schema(value_type = Option<Value>)]
    result: Option<Box<RawValue>>,
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
    output_storage_urls: BTreeMap<&'a str, &'a RawValue>,
    /// Where it is in its life.
    status: Status,
    /// It will never change again.
    terminal: bool,
    /// What went wrong.
    error_detail: Option<&'a str>,
    /// When it was last claimed.
    #[serde(serialize_with = "rfc3339_option")]
    started_at: Option<Timestamp>,
    /// When the attempt is over.
    #[serde(serialize_with = "rfc3339_option")]
    deadline_at: Option<Timestamp>,
    /// Which attempt is or was the last to run; 0 before the first claim.
    attempt: u32,
    /// Attempts that it gets.
    max_attempts: u32,
    /// How far it is, 0 to 1.
    progress: Option<f64>,
    /// The hotkey that signed the claim.
    miner_hotkey: Option<&'a str>,
    /// Where the files go, in the answer to the miner's report; left out when it would be too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads: Option<&'a [UploadTarget]>,
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
    fn new(prefix: &str, file: &'a OutputFile) -> Self {
        Self {
            filename: &file.filename,
            path: format!("{prefix}{}", file.filename),
            uploaded: file.uploaded,
            size: file.size,
            sha256: file.sha256.as_deref(),
            content_type: file.content_type.as_deref(),
        }
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
