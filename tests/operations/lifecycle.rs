//! The bucket keeps what the API counts on.

use std::fs;

use serde_norway::Value as Yaml;
use shared::{model::payload::BEYOND, time::DAY};
use tests::repository;

/// Days of the longest attempt, and then of twice the longest `UploadWindowSeconds`.
const LONGEST_UPLOAD: i64 = 30 + 1;
/// Days of the longest wait, and of what is not known to the second.
const LONGEST_WAIT: i64 = 30 + 3;

fn rule(id: &str) -> Yaml {
    let template: Yaml = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let rules = &template["Resources"]["OutputsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"];
    rules.as_sequence().unwrap().iter().find(|rule| rule["Id"] == id).unwrap().clone()
}

#[test]
fn an_object_that_was_just_put_outlives_any_attempt_and_the_wait_after_it() {
    // What expires is hidden by a marker, and goes when jobs are kept no longer.
    let days = rule("outputs")["ExpirationInDays"].as_i64().unwrap();
    assert!(days >= LONGEST_UPLOAD + LONGEST_WAIT && days * DAY == BEYOND, "{days}");
}

#[test]
fn an_upload_in_parts_may_last_as_long_as_what_it_is_for() {
    let abort = |id| rule(id)["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"].clone();
    assert!(abort("outputs").as_i64().is_some_and(|days| days > LONGEST_UPLOAD));
    assert_eq!(abort("inputs"), rule("inputs")["ExpirationInDays"]);
}
