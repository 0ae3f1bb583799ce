//! Streams of tables, and the function that is invoked with what they bring.

mod observed;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use local::{Fault, Stack};
use observed::{STORES, observed, start, template};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A function that reads the stream of the table `Items` from its first record on, in this way.
fn reading(view: &str, properties: &str) -> String {
    let items = format!(
        "  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{AttributeName: id, AttributeType: S}}]
      KeySchema: [{{AttributeName: id, KeyType: HASH}}]
      StreamSpecification: {{StreamViewType: {view}}}
      TimeToLiveSpecification: {{AttributeName: expires_at, Enabled: true}}"
    );
    let events = format!(
        "      Policies: [{STORES}]
      Events:
        Items:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Items.StreamArn
            StartingPosition: TRIM_HORIZON
{properties}"
    );
    template(&events, &items)
}

/// Puts items in one transaction: their records are read together.
async fn put(stack: &Stack, items: &[Value]) -> Result<()> {
    let table = stack.resource("Items")?;
    let items: Vec<_> = items.iter().map(|item| json!({"Put": {"TableName": table, "Item": item}})).collect();
    stack.dynamodb("TransactWriteItems", json!({"TransactItems": items})).await.map(drop)
}

fn item(id: &str) -> Value {
    json!({"id": {"S": id}})
}

/// The ids of the records of each event that the function was given.
async fn given(stack: &Stack) -> Result<Vec<Vec<String>>> {
    let id = |record: &Value| record["dynamodb"]["Keys"]["id"]["S"].as_str().unwrap_or_default().to_owned();
    let ids = |event: &Value| event["Records"].as_array().into_iter().flatten().map(id).collect();
    Ok(observed(stack).await?.iter().map(ids).collect())
}

/// The first so many runs of the function are killed before they have stored anything. Counts runs, and tells of each.
fn kill_runs(stack: &Stack, kill: usize) -> (Arc<AtomicUsize>, Arc<Notify>) {
    let (runs, run) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counted, told) = (Arc::clone(&runs), Arc::clone(&run));
    stack.set_faults(move |_| {
        told.notify_one();
        if counted.fetch_add(1, Ordering::SeqCst) < kill { Fault::KillFunction } else { Fault::None }
    });
    (runs, run)
}

fn tells_of(stack: &Stack, text: &str) -> bool {
    stack.logs().iter().any(|line| line.text.contains(text))
}

#[tokio::test]
async fn a_write_reaches_the_function_as_aws_shapes_it() -> Result<()> {
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", "            BatchSize: 1")).await?;
    stack.clock().set(1_795_000_000_000);
    let table = stack.resource("Items")?;
    put(&stack, &[item("a")]).await?;
    put(&stack, &[json!({"id": {"S": "a"}, "n": {"N": "1"}})]).await?;
    // This changes nothing, and leaves no record.
    put(&stack, &[json!({"id": {"S": "a"}, "n": {"N": "1"}})]).await?;
    stack.dynamodb("DeleteItem", json!({"TableName": table, "Key": item("a")})).await?;
    stack.events_at_rest().await;

    let mut events = observed(&stack).await?;
    let names: Vec<_> = events.iter().map(|event| event["Records"][0]["eventName"].clone()).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"]);
    let record = &mut events[1]["Records"][0];
    assert_eq!(record["eventID"].take().as_str().map(str::len), Some(32));
    assert_eq!(record["dynamodb"]["SequenceNumber"].take().as_str().map(str::len), Some(21));
    assert!(record["dynamodb"]["SizeBytes"].take().as_u64() > Some(0));
    let expected = json!({
        "eventID": null,
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/jobchute-Items/stream/local",
        "dynamodb": {
            "Keys": {"id": {"S": "a"}},
            "NewImage": {"id": {"S": "a"}, "n": {"N": "1"}},
            "SequenceNumber": null,
            "SizeBytes": null,
            "StreamViewType": "NEW_IMAGE",
            "ApproximateCreationDateTime": 1_795_000_000,
        },
    });
    assert_eq!(*record, expected);
    assert_eq!(events[2]["Records"][0]["dynamodb"].get("NewImage"), None);
    assert_eq!(events[2]["Records"][0].get("userIdentity"), None);
    Ok(())
}

#[tokio::test]
async fn what_expires_is_removed_by_dynamodb() -> Result<()> {
    let stack = start(Stack::builder(), &reading("KEYS_ONLY", "")).await?;
    stack.clock().set(1_795_000_000_000);
    put(&stack, &[json!({"id": {"S": "a"}, "expires_at": {"N": "1795000060"}})]).await?;
    stack.clock().advance(Duration::from_secs(61));
    assert_eq!(stack.expire_items().await?, 1);
    stack.events_at_rest().await;
    let events = observed(&stack).await?;
    let removed = &events.last().expect("an event")["Records"].as_array().expect("records").last().expect("a record");
    assert_eq!(removed["eventName"], "REMOVE");
    assert_eq!(removed["userIdentity"], json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"}));
    Ok(())
}

#[tokio::test]
async fn only_what_a_filter_lets_through_is_given() -> Result<()> {
    let pattern = r#"{"dynamodb": {"NewImage": {"webhook": {"S": [{"exists": true}]}}}}"#;
    let filters = format!("            FilterCriteria: {{Filters: [{{Pattern: '{pattern}'}}]}}");
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", &filters)).await?;
    let hooked = |id: &str| json!({"id": {"S": id}, "webhook": {"S": "https://example.com"}});
    put(&stack, &[item("a"), hooked("b"), item("c")]).await?;
    put(&stack, &[item("d")]).await?;
    stack.events_at_rest().await;
    assert_eq!(given(&stack).await?, [["b"]]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_fails_is_tried_until_it_goes_through_and_holds_up_what_follows() -> Result<()> {
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", "            BatchSize: 2")).await?;
    let (runs, _) = kill_runs(&stack, 2);
    put(&stack, &["a", "b", "c"].map(item)).await?;
    put(&stack, &[item("d")]).await?;
    stack.events_at_rest().await;
    assert_eq!(given(&stack).await?.concat(), ["a", "b", "c", "d"]);
    assert_eq!(given(&stack).await?[0], ["a", "b"]);
    assert!(runs.load(Ordering::SeqCst) >= 4);
    Ok(())
}

#[tokio::test]
async fn a_function_says_which_record_it_has_not_taken() -> Result<()> {
    let refused = json!({"id": {"S": "b"}, "refused": {"N": "2"}});
    let reports = "            FunctionResponseTypes: [ReportBatchItemFailures]";
    for (properties, expected) in
        [(reports, vec![vec!["a", "b", "c"], vec!["b", "c"], vec!["b", "c"]]), ("", vec![vec!["a", "b", "c"]])]
    {
        let stack = start(Stack::builder(), &reading("NEW_IMAGE", properties)).await?;
        put(&stack, &[item("a"), refused.clone(), item("c")]).await?;
        stack.events_at_rest().await;
        assert_eq!(given(&stack).await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_always_fails_is_found_by_halves_and_dropped() -> Result<()> {
    let properties = "            BisectBatchOnFunctionError: true\n            MaximumRetryAttempts: 0";
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", properties)).await?;
    let poison = json!({"id": {"S": "c"}, "poison": {"BOOL": true}});
    put(&stack, &[item("a"), item("b"), poison, item("d")]).await?;
    stack.events_at_rest().await;
    let expected = [vec!["a", "b", "c", "d"], vec!["a", "b"], vec!["c", "d"], vec!["c"], vec!["d"]];
    assert_eq!(given(&stack).await?, expected);
    assert!(tells_of(&stack, "1 records of the stream have failed for the last time"));
    Ok(())
}

#[tokio::test]
async fn a_record_that_fails_is_dropped_when_it_is_too_old() -> Result<()> {
    for (properties, seconds) in [("            MaximumRecordAgeInSeconds: 60", 62), ("", 86_402)] {
        let stack = start(Stack::builder(), &reading("NEW_IMAGE", properties)).await?;
        stack.clock().set(1_795_000_000_000);
        let (_, run) = kill_runs(&stack, usize::MAX);
        put(&stack, &[item("a")]).await?;
        run.notified().await;
        stack.clock().advance(Duration::from_secs(seconds));
        stack.events_at_rest().await;
        assert!(tells_of(&stack, "1 records of the stream are too old"));
    }
    Ok(())
}

#[tokio::test]
async fn records_are_gathered_for_as_long_as_the_window_is_open() -> Result<()> {
    let properties = "            BatchSize: 2\n            MaximumBatchingWindowInSeconds: 300";
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", properties)).await?;
    put(&stack, &[item("a")]).await?;
    // It would be given while the function starts for somebody else.
    stack.invoke("observe-event", json!({})).await?;
    put(&stack, &[item("b")]).await?;
    stack.events_at_rest().await;
    assert_eq!(given(&stack).await?, [vec![], vec!["a", "b"]]);
    Ok(())
}

#[tokio::test]
async fn each_items_changes_come_in_order_in_several_lanes() -> Result<()> {
    let properties = "            ParallelizationFactor: 4\n            BatchSize: 3";
    let stack = start(Stack::builder(), &reading("NEW_IMAGE", properties)).await?;
    kill_runs(&stack, 3);
    for version in 0..4 {
        let of = |id: usize| json!({"id": {"S": id.to_string()}, "version": {"N": version.to_string()}});
        put(&stack, &(0..20).map(of).collect::<Vec<_>>()).await?;
    }
    stack.events_at_rest().await;
    let events = observed(&stack).await?;
    let images: Vec<_> = events.iter().flat_map(|event| event["Records"].as_array().into_iter().flatten()).collect();
    assert_eq!(images.len(), 80);
    for id in (0..20).map(|id: usize| id.to_string()) {
        let of_it = images.iter().map(|record| &record["dynamodb"]["NewImage"]).filter(|image| image["id"]["S"] == *id);
        let versions: Vec<_> = of_it.map(|image| image["version"]["N"].as_str().unwrap_or_default()).collect();
        assert_eq!(versions, ["0", "1", "2", "3"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_goes_on_with_what_no_function_has_taken() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let template = reading("NEW_IMAGE", "            BatchSize: 1");
    let stack = start(Stack::builder().data_dir(folder.path()), &template).await?;
    put(&stack, &[item("a")]).await?;
    stack.events_at_rest().await;
    let (_, run) = kill_runs(&stack, usize::MAX);
    put(&stack, &["b", "c"].map(item)).await?;
    run.notified().await;
    stack.shutdown().await;

    let again = start(Stack::builder().data_dir(folder.path()), &template).await?;
    again.events_at_rest().await;
    assert_eq!(given(&again).await?, [["a"], ["b"], ["c"]]);
    again.shutdown().await;

    // A later reader of the same table begins where it is told to.
    let latest = template.replace("        Items:\n", "        Late:\n").replace("TRIM_HORIZON", "LATEST");
    let late = start(Stack::builder().data_dir(folder.path()), &latest).await?;
    put(&late, &[item("d")]).await?;
    late.events_at_rest().await;
    assert_eq!(given(&late).await?, [["a"], ["b"], ["c"], ["d"]]);
    late.shutdown().await;

    // One that was away is a new one.
    let back = template.replace("TRIM_HORIZON", "LATEST");
    let back = start(Stack::builder().data_dir(folder.path()), &back).await?;
    back.events_at_rest().await;
    assert_eq!(given(&back).await?.len(), 4);
    Ok(())
}

#[tokio::test]
async fn a_table_of_an_older_release_gets_its_stream() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let with = reading("NEW_IMAGE", "");
    let (events, stream) = ("      Events:\n", "      StreamSpecification: {StreamViewType: NEW_IMAGE}\n");
    let event = &with[with.find(events).expect("events")..with.find("  Observed:").expect("a table")];
    let without = with.replace(event, "").replace(stream, "");
    let stack = start(Stack::builder().data_dir(folder.path()), &without).await?;
    put(&stack, &[item("a")]).await?;
    stack.shutdown().await;
    let again = start(Stack::builder().data_dir(folder.path()), &with).await?;
    put(&again, &[item("b")]).await?;
    again.events_at_rest().await;
    assert_eq!(given(&again).await?, [["b"]]);
    Ok(())
}
