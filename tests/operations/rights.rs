//! Least privilege. The local stack refuses a call that the template's policies do not allow, so every test of the suite shows
//! that none is missing; here, that there is none too many.

use std::{collections::BTreeSet, fs};

use local::Stack;
use serde_json::json;
use tests::repository;

use crate::day::Day;

#[tokio::test(flavor = "multi_thread")]
async fn every_right_of_every_function_is_needed() {
    let mut day = Day::begin().await;
    day.live().await;
    assert_eq!(day.stack.unused_rights(), BTreeSet::new());
}

#[tokio::test]
async fn a_call_without_a_right_is_refused() {
    let template = fs::read_to_string(repository("template.yaml")).unwrap();
    let right = "Action: [dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem]";
    assert_eq!(template.matches(right).count(), 1, "the administrator's rights");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    fs::write(&path, template.replace(right, "Action: [dynamodb:GetItem]")).unwrap();

    let stack = Stack::builder().template(&path).start().await.unwrap();
    let refused = stack.invoke("admin", json!({"command": "create_user"})).await.expect_err("no PutItem");
    // Why is the log's business.
    assert!(refused.to_string().contains("Internal server error"), "{refused}");
    let lines = stack.shutdown().await;
    let line = lines.iter().find(|line| line.text.contains("AccessDeniedException")).expect("a line with the cause");
    assert!(
        line.text.contains("dynamodb:PutItem on resource: arn:aws:dynamodb:us-east-1:123456789012:table/"),
        "{line:?}"
    );
}
