//! The bucket keeps what the API counts on.

use std::fs;

use serde_norway::Value as Yaml;
use shared::{model::payload::BEYOND, time::DAY};
use tests::repository;

/// Days of the longest attempt, and then of twice the longest `UploadWindowSeconds`.
const LONGEST_UPLOAD: i64 = 30 + 1;

fn outputs_rule() -> Yaml {
    let template: Yaml = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let rules = &template["Resources"]["OutputsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"];
    rules.as_sequence().unwrap().iter().find(|rule| rule["Id"] == "outputs").unwrap().clone()
}

#[test]
fn an_object_lives_as_long_as_a_claim_takes_it_to() {
    // What expires is hidden by a marker, and goes when jobs are kept no longer.
    assert_eq!(outputs_rule()["ExpirationInDays"].as_i64().map(|days| days * DAY), Some(BEYOND));
}

#[test]
fn an_upload_in_parts_may_last_as_long_as_its_attempt() {
    let days = outputs_rule()["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"].as_i64();
    assert!(days.is_some_and(|days| days > LONGEST_UPLOAD), "{days:?}");
}
