//! Least privilege. The local stack refuses a call that the template's policies do not allow, so every test of the suite shows
//! that none is missing; here, that there is none too many.

use std::{collections::BTreeSet, fs};

use aws_credential_types::Credentials;
use local::{SECRET_ACCESS_KEY, SESSION_TOKEN, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, repository, s3};

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
    let right = "Action: [dynamodb:BatchGetItem, dynamodb:PutItem]\n              Resource:\n                - !GetAtt RegistryTable.Arn";
    assert_eq!(template.matches(right).count(), 1, "the administrator's rights");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    fs::write(&path, template.replace(right, &right.replace(", dynamodb:PutItem", ""))).unwrap();

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

/// A call with the credentials of the stack's n-th environment: what a function could do if it were made to.
async fn as_function(stack: &Stack, number: usize, operation: &str, request: Value) -> (u16, String) {
    let credential = format!("ASIALOCAL{number:011}/20260101/us-east-1/dynamodb/aws4_request");
    let signed = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0");
    let target = format!("DynamoDB_20120810.{operation}");
    let headers = [
        ("authorization", signed.as_str()),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-target", &target),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    let body = request.to_string().into_bytes();
    let answer = Client::nobody().send(Method::POST, stack.aws_url(), body, &headers).await;
    let kind = answer.body["__type"].as_str().unwrap_or_default();
    (answer.status, kind.rsplit('#').next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn functions_of_users_and_miners_write_counters_and_signatures_but_no_other_row() {
    let stack = Stack::start().await.unwrap();
    let table = stack.resource("RegistryTable").unwrap().to_owned();
    let path = |route: &str| format!("{}/jobs/{route}", stack.url());
    // One environment of each, in this order.
    assert_eq!(Client::nobody().post(&path("x/y"), json!({})).await.status, 401);
    assert_eq!(Client::nobody().put(&path("x/claim"), Value::Null).await.status, 401);
    assert_eq!(Client::nobody().delete(&path("x")).await.status, 401);
    for route in ["claim", "x/cancel", "x/retry"] {
        assert_eq!(Client::nobody().put(&path(route), Value::Null).await.status, 401);
    }
    let put = |key: &str| json!({"TableName": table, "Item": {"pk": {"S": key}}});
    let update = |key: &str| {
        let set = ("SET n = :n", json!({":n": {"N": "1"}}));
        json!({"TableName": table, "Key": {"pk": {"S": key}}, "UpdateExpression": set.0, "ExpressionAttributeValues": set.1})
    };
    let (done, refused) = ((200, String::new()), (400, "AccessDeniedException".to_owned()));
    let others = ["user#a", "key#a", "hotkey#a", "chute#a", "replay", "xreplay#a"];
    for (number, package) in
        ["create-job", "claim-job", "delete-job", "claim-next-job", "cancel-job", "retry-job"].iter().enumerate()
    {
        assert_eq!(as_function(&stack, number, "PutItem", put("replay#a")).await, done, "{package}");
        for key in others.iter().chain(&["usage#a#2026-01-01"]) {
            assert_eq!(as_function(&stack, number, "PutItem", put(key)).await, refused, "{package} {key}");
            let both = json!({"TransactItems": [{"Put": put("replay#b")}, {"Put": put(key)}]});
            assert_eq!(as_function(&stack, number, "TransactWriteItems", both).await, refused, "{package} {key}");
        }
        for counter in ["usage#a#2026-01-01", "crowded#a"] {
            let counted = as_function(&stack, number, "UpdateItem", update(counter)).await;
            let may = ["create-job", "retry-job"].contains(package);
            assert_eq!(counted, if may { done.clone() } else { refused.clone() }, "{package} {counter}");
        }
        for key in others.iter().chain(&["replay#a"]) {
            assert_eq!(as_function(&stack, number, "UpdateItem", update(key)).await, refused, "{package} {key}");
        }
        let batch = json!({"RequestItems": {&table: [{"PutRequest": {"Item": {"pk": {"S": "replay#c"}}}}]}});
        assert_eq!(as_function(&stack, number, "BatchWriteItem", batch).await, refused, "{package}");
        let delete = json!({"TableName": table, "Key": {"pk": {"S": "replay#a"}}});
        assert_eq!(as_function(&stack, number, "DeleteItem", delete).await, refused, "{package}");
    }
    let rows = stack.dynamodb("Scan", json!({"TableName": table})).await.unwrap();
    let mut rows: Vec<_> = rows["Items"].as_array().unwrap().iter().map(|row| row["pk"]["S"].to_string()).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["\"crowded#a\"", "\"replay#a\"", "\"usage#a#2026-01-01\""]);
}

#[tokio::test]
async fn heartbeats_write_rows_of_their_own_and_jobs_and_no_others() {
    let stack = Stack::start().await.unwrap();
    let table = stack.resource("JobsTable").unwrap().to_owned();
    let beat = format!("{}/jobs/{}/heartbeat?token=x", stack.url(), uuid::Uuid::nil());
    assert_eq!(Client::nobody().put(&beat, json!({})).await.status, 401);
    let job = uuid::Uuid::nil().to_string();
    for (key, done) in [
        (format!("{job}#lease"), true),
        (job.clone(), true),
        (format!("{job}#delivery"), false),
        (format!("{job}#lease#b"), false),
        ("a".to_owned(), false),
    ] {
        let update = json!({
            "TableName": table, "Key": {"job_id": {"S": key}}, "UpdateExpression": "SET n = :n",
            "ExpressionAttributeValues": {":n": {"N": "1"}},
        });
        assert_eq!(as_function(&stack, 0, "UpdateItem", update).await.0, if done { 200 } else { 400 }, "{key}");
    }
}

#[tokio::test]
async fn the_administrators_function_reaches_what_it_administers_and_nothing_else() {
    let stack = Stack::start().await.unwrap();
    let table = |id: &str| stack.resource(id).unwrap().to_owned();
    let (registry, jobs) = (table("RegistryTable"), table("JobsTable"));
    // Its only environment is the stack's first.
    stack.invoke("admin", json!({"command": "list_users"})).await.unwrap();
    let call = async |operation: &str, request: Value| as_function(&stack, 0, operation, request).await.1;
    let refused = "AccessDeniedException";
    let key = |key: &str| json!({"TableName": registry, "Key": {"pk": {"S": key}}});
    let put = |key: &str| json!({"TableName": registry, "Item": {"pk": {"S": key}}});
    let batch = |key: &str| json!({"RequestItems": {&registry: {"Keys": [{"pk": {"S": key}}]}}});
    let set = |key: &str| {
        let mut request = json!({"UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}});
        request["TableName"] = registry.as_str().into();
        request["Key"] = json!({"pk": {"S": key}});
        request
    };
    for (row, written, changed) in
        [("user#a", "", ""), ("key#a", "", ""), ("hotkey#a", "", ""), ("chute#a", "", refused)]
    {
        assert_eq!(call("PutItem", put(row)).await, written, "{row}");
        assert_eq!(call("BatchGetItem", batch(row)).await, "", "{row}");
        assert_eq!(call("UpdateItem", set(row)).await, changed, "{row}");
        assert_eq!(call("GetItem", key(row)).await, if row == "user#a" { "" } else { refused }, "{row}");
        assert_eq!(call("DeleteItem", key(row)).await, refused, "{row}");
    }
    for row in ["usage#a#2026-01-01", "replay#a", "xuser#a", "user"] {
        assert_eq!(call("PutItem", put(row)).await, refused, "{row}");
        assert_eq!(call("BatchGetItem", batch(row)).await, refused, "{row}");
        assert_eq!(call("UpdateItem", set(row)).await, refused, "{row}");
        assert_eq!(call("GetItem", key(row)).await, refused, "{row}");
    }
    // Lists go through the index, which has no counters and no signatures.
    for (table, index, seen) in [
        (&registry, Some("by_user"), ""),
        (&registry, None, refused),
        (&jobs, Some("by_owner"), ""),
        (&jobs, Some("queue"), refused),
        (&jobs, None, refused),
    ] {
        let mut scan = json!({"TableName": table});
        index.inspect(|index| scan["IndexName"] = (*index).into());
        assert_eq!(call("Scan", scan).await, seen, "{table} {index:?}");
    }
    let job = json!({"job_id": {"S": "a"}});
    assert_eq!(call("GetItem", json!({"TableName": jobs, "Key": job})).await, "");
    assert_eq!(call("BatchGetItem", json!({"RequestItems": {&jobs: {"Keys": [job]}}})).await, "");
    for (operation, request) in
        [("PutItem", json!({"TableName": jobs, "Item": job})), ("DeleteItem", json!({"TableName": jobs, "Key": job}))]
    {
        assert_eq!(call(operation, request).await, refused, "{operation}");
    }
}

#[tokio::test]
async fn who_may_remove_payloads_may_not_remove_a_file_that_is_named_like_one() {
    let stack = Stack::start().await.unwrap();
    let (bucket, operator) = (stack.resource("OutputsBucket").unwrap(), s3(&stack));
    // The first environment is create-job's, the second claim-job's.
    let path = |route: &str| format!("{}/jobs/{route}", stack.url());
    assert_eq!(Client::nobody().post(&path("x/y"), json!({})).await.status, 401);
    assert_eq!(Client::nobody().put(&path("x/claim"), Value::Null).await.status, 401);
    let job = format!("jobs/{id}/2026-11-18/{id}", id = uuid::Uuid::nil());
    for number in 0..2 {
        let key = format!("ASIALOCAL{number:011}");
        let credentials = Credentials::from_keys(key, SECRET_ACCESS_KEY, Some(SESSION_TOKEN.clone()));
        let function = operator.config().to_builder().credentials_provider(credentials).build();
        let function = aws_sdk_s3::Client::from_conf(function);
        for (name, allowed) in [("payloads/0a", true), ("outputs/payloads/0a", false), ("outputs/x/payloads/0a", false)]
        {
            let key = format!("{job}/{name}");
            let put = operator.put_object().bucket(bucket).key(&key).send().await.unwrap();
            let delete = function.delete_object().bucket(bucket).key(&key).set_version_id(put.version_id);
            assert_eq!(delete.send().await.is_ok(), allowed, "{name}");
        }
    }
}
