//! Inputs: files that a user uploads once, for jobs to name in their arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::output_file::OutputFile;
use crate::time::Timestamp;

/// What the `uri` of every input begins with; the rest is its id.
pub const URI: &str = "jobchute://inputs/";

/// The inputs that a job names, by id, each with the version that was there when the job was created.
pub type Inputs = BTreeMap<Uuid, OutputFile>;

/// An input's row in the registry, known by its user and its id. It has no `user_id`: it would be in the index of what a user owns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    /// What was declared of it. Whether it is there, S3 knows.
    pub file: OutputFile,
    /// When a place was asked for it.
    pub created_at: Timestamp,
    /// The row's time to live, in seconds. DynamoDB may remove it days later.
    pub expires_at: i64,
}

impl Input {
    /// A new one, which jobs can name for `retention` seconds.
    pub fn new(file: OutputFile, retention: i64, now: Timestamp) -> Self {
        Self { file, created_at: now, expires_at: now.plus_seconds(retention).seconds() }
    }

    /// Whether jobs can still name it.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.seconds() < self.expires_at
    }

    /// The id of a file whose hash is known: the same for everything that says the same of it, so that each file is uploaded once. None
    /// without a hash. It changes every half of the retention: what is given back lives for at least the other half.
    pub fn id(user_id: Uuid, file: &OutputFile, retention: i64, now: Timestamp) -> Option<Uuid> {
        let OutputFile { filename, size, sha256, content_type, part_size, .. } = file;
        let period = now.seconds() / (retention / 2).max(1);
        let said = json!([filename, size, sha256.as_ref()?, content_type, part_size, retention, period]);
        Some(Uuid::new_v5(&user_id, format!("input:{said}").as_bytes()))
    }

    /// What the arguments of a job name it by.
    pub fn uri(input_id: Uuid) -> String {
        format!("{URI}{input_id}")
    }

    /// The S3 key. It begins with fewer bytes than that of an output file: names have at least the same room.
    pub fn key(user_id: Uuid, input_id: Uuid, filename: &str) -> String {
        format!("inputs/{user_id}/{input_id}/{filename}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    #[test]
    fn the_same_file_has_one_id_for_half_of_its_life() {
        let file = OutputFile { size: Some(5), sha256: Some("0".repeat(64)), ..OutputFile::named("a") };
        let (user, retention) = (Uuid::from_u128(7), 30 * DAY);
        let begin = Timestamp::from_millis(1000 * 15 * DAY * 1400);
        let id = |file: &OutputFile, seconds| Input::id(user, file, retention, begin.plus_seconds(seconds));
        assert_eq!(id(&file, 0), id(&file, 15 * DAY - 1));
        assert_ne!(id(&file, 0), id(&file, 15 * DAY));
        assert_ne!(id(&file, 0), id(&OutputFile { size: Some(6), ..file.clone() }, 0));
        assert_ne!(id(&file, 0), Input::id(Uuid::from_u128(8), &file, retention, begin));
        assert_eq!(id(&OutputFile { sha256: None, ..file }, 0), None);
    }
}
