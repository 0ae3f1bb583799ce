//! Output files: what is known of each, and where it is in the bucket.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payload::Stored;
use crate::time::Timestamp;

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
    /// It goes in parts, and we chose so many bytes for each, unless the miner did. An earlier release has left none where they are the least.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// Size or hash were declared when a URL without them was out already: what arrived need not be what was declared.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub redeclared: bool,
    /// How often another size or hash took the place of a declared one: it is another file from then on. What is uploaded in parts says for
    /// which of them it is.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub replaced: u32,
    /// The object's version that was checked.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The object's ETag when it was checked, where its version does not say it all.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl OutputFile {
    /// The attribute of a file's map that says whether it arrived, as the table spells it.
    pub const UPLOADED: &str = "u";

    /// A file of which nothing is known but its name.
    pub fn named(filename: impl Into<String>) -> Self {
        Self { filename: filename.into(), ..Self::default() }
    }

    /// The id of a job's file: the same name is the same file.
    pub fn id(job_id: Uuid, filename: &str) -> Uuid {
        Uuid::new_v5(&job_id, filename.as_bytes())
    }

    /// Whether another upload may take the place of the object that was checked: it has no version, or the one that is `null`.
    pub fn is_replaceable(&self) -> bool {
        self.version_id.as_ref().is_none_or(|id| id == "null")
    }

    /// Whether the miner said what bytes to expect. S3 then takes no others, so an envelope cannot be there instead.
    pub fn is_declared(&self) -> bool {
        self.size.is_some() || self.sha256.is_some()
    }
}

/// The S3 keys of what one job has: `jobs/{chute id}/{YYYY-MM-DD of its creation}/{job id}/outputs/{filename}` of its output files,
/// `…/{job id}/payloads/{id}` of what is stored apart from its item, and `…/{job id}/logs/{attempt}/{place}` of its logs. Output files of a job that was retried n times are in `…/run{n}/`.
#[derive(Debug, Clone)]
pub struct FileKeys(String, usize);

/// What follows the prefix of a job in the keys of its files.
const OUTPUTS: &str = "outputs/";

/// Bytes that all keys have before the file's name.
pub(super) const PREFIX_LENGTH: usize = "jobs/".len() + 36 + "/YYYY-MM-DD/".len() + 36 + "/outputs/".len();

impl FileKeys {
    /// Of this job.
    pub fn new(chute_id: Uuid, created_at: Timestamp, job_id: Uuid) -> Self {
        let job = format!("jobs/{chute_id}/{}/{job_id}/", created_at.date());
        let length = job.len();
        Self(job + OUTPUTS, length)
    }

    /// Of the job after so many retries. As long as before: names have the same room.
    pub fn of_run(mut self, run: u32) -> Self {
        if run > 0 {
            self.0.truncate(self.1);
            self.0.push_str(&format!("run{run:04}/"));
        }
        self
    }

    /// What the keys of everything that the job has begin with.
    pub fn job(&self) -> &str {
        &self.0[..self.1]
    }

    /// The key of a payload.
    pub fn payload(&self, stored: &Stored) -> String {
        format!("{}payloads/{}", self.job(), stored.id)
    }

    /// What the keys of its logs begin with, of all its attempts.
    pub fn logs(&self) -> String {
        format!("{}logs/", self.job())
    }

    /// What the keys of its files begin with.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    /// The key of the file of that name.
    pub fn key(&self, filename: &str) -> String {
        [&self.0, filename].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_with_as_many_bytes_as_names_leave_room_for() {
        let keys = FileKeys::new(Uuid::nil(), Timestamp::from_millis(1_795_000_000_000), Uuid::max());
        assert_eq!(keys.prefix().len(), PREFIX_LENGTH);
        assert_eq!(
            keys.key("a/b"),
            "jobs/00000000-0000-0000-0000-000000000000/2026-11-18/ffffffff-ffff-ffff-ffff-ffffffffffff/outputs/a/b"
        );
        assert!(keys.job().ends_with("/ffffffff-ffff-ffff-ffff-ffffffffffff/"));
        let again = keys.clone().of_run(7);
        assert_eq!((again.prefix().len(), again.job()), (PREFIX_LENGTH, keys.job()));
        assert!(again.key("a/b").ends_with("-ffffffffffff/run0007/a/b"));
    }

    #[test]
    fn whether_a_file_arrived_is_the_attribute_that_is_set_by_its_name() {
        let file = OutputFile { uploaded: true, ..OutputFile::named("a") };
        assert_eq!(serde_json::to_value(file).expect("JSON")[OutputFile::UPLOADED], true);
    }
}
