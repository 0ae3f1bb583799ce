//! Until when a function's credentials can be relied on. A presigned URL ends with the credentials that signed it, whatever it says of
//! itself: S3 then answers `ExpiredToken`.
//!
//! Lambda puts them into a process's environment without a word on their end, and no page of AWS names one. ("Why is my presigned URL
//! for an Amazon S3 bucket expiring before the expiration time that I specified?" only says that Lambda need not keep to the role's own
//! session duration.) They were seen to work for 12 hours (boto/boto3, issue 2392). How old they are when an environment begins is
//! not known. So they are relied on for half of that, which the longest upload window needs, from when their key was first seen
//! in the environment. Lambda ends an environment every few hours anyway.
//!
//! When a key was first seen is kept in `/tmp`, because a process that fails is started again in the same environment, and nobody says
//! that it gets other credentials then; `/tmp` stays as it was. ("Understanding the Lambda execution environment lifecycle".) For the
//! same reason a function does not end itself to get fresh ones.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_smithy_types::{DateTime, date_time::Format};

use crate::config::Environment;

/// For how long credentials whose end nobody tells are relied on.
const RELIED_ON: Duration = Duration::from_secs(6 * 3600);

/// These credentials with their end: `AWS_CREDENTIAL_EXPIRATION`, as the AWS CLI exports it, where it is told. Those that are not of a
/// session have none.
pub(crate) fn with_end(credentials: &Credentials) -> Credentials {
    let mut credentials = credentials.clone();
    *credentials.expiry_mut() = credentials.session_token().is_some().then(|| {
        let told = Environment::of_process().optional("AWS_CREDENTIAL_EXPIRATION");
        let told = told.and_then(|text| DateTime::from_str(&text, Format::DateTime).ok()?.try_into().ok());
        told.unwrap_or_else(|| first_seen(&std::env::temp_dir(), credentials.access_key_id()) + RELIED_ON)
    });
    credentials
}

/// When a key was first seen by a process that has this folder; now, when the folder takes no file.
fn first_seen(folder: &Path, key: &str) -> SystemTime {
    let now = SystemTime::now();
    let file = folder.join(format!("jobchute-{key}"));
    // It fails when the file is there, which says all that is asked.
    let _ = File::create_new(&file);
    fs::symlink_metadata(&file).and_then(|file| file.modified()).map_or(now, |seen| seen.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_started_again_knows_when_its_key_was_first_seen() {
        let folder = std::env::temp_dir().join(format!("jobchute-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).expect("a folder");
        let hour = Duration::from_secs(3600);
        let first = first_seen(&folder, "ASIA1");
        let file = File::options().write(true).open(folder.join("jobchute-ASIA1")).expect("a file");
        file.set_modified(first - hour).expect("a time");
        assert_eq!(first_seen(&folder, "ASIA1"), first - hour);
        assert!(first_seen(&folder, "ASIA2") >= first, "another key");
        file.set_modified(first + 24 * hour).expect("a time");
        assert!(first_seen(&folder, "ASIA1") < first + hour, "a clock that went back");
        fs::remove_dir_all(&folder).expect("it goes");
        assert!(first_seen(&folder, "ASIA1") >= first, "no folder");
    }
}
