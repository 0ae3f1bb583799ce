//! What is stored and not due costs the reaper, a claim and a miner that looks for work nothing: items read and capacity consumed
//! are the same however many jobs there are. `STORED_JOBS` says how many (2,000).

use futures_util::{StreamExt, stream};
use local::{Fault, Stack};
use serde_json::{Value, json};
use shared::item::keys::{self, DUE_SHARDS};
use std::sync::{Arc, Mutex};
use tests::{Client, Night, dynamodb, item, text};
use uuid::Uuid;

/// Stores `count` jobs like this running one, under other ids. Unless they are to be due as it is, they are in a year, and three
/// of four have ended.
async fn store(night: &Night, job_id: &str, count: usize, due: bool) {
    let table = night.stack.resource("JobsTable").unwrap();
    let running = item(&night.stack, "JobsTable", "job_id", job_id).await;
    let later = (night.stack.clock().now() + 365 * 86_400_000).to_string();
    let job = |number: usize| {
        let mut job = running.clone();
        let id = Uuid::new_v4();
        job["job_id"] = json!({"S": id});
        if due || number.is_multiple_of(4) {
            job["queue"] = json!({"S": keys::due(id)});
            if !due {
                job["due_at"] = json!({"N": later});
            }
        } else {
            job["terminal"] = json!({"BOOL": true});
            job.as_object_mut().unwrap().retain(|name, _| name != "queue" && name != "due_at");
        }
        json!({"PutRequest": {"Item": job}})
    };
    let batches = (0..count).step_by(25).map(|start| {
        let batch: Vec<_> = (start..count.min(start + 25)).map(job).collect();
        dynamodb(&night.stack, "BatchWriteItem", json!({"RequestItems": {table: batch}}))
    });
    stream::iter(batches).buffer_unordered(8).for_each(|_| async {}).await;
}

/// A stack whose chute's alarm has rung: the first run after `put_chute` sets it.
async fn begin() -> Night {
    let night = Night::begin().await;
    assert_eq!(night.reap().await, json!({}));
    night
}

/// What a query of the index `queue` reads up to now: items looked at, and capacity units.
async fn read_of(night: &Night, queue: &str) -> (u64, f64) {
    let now = night.stack.clock().now();
    // A chute's queue is finer than the reaper's.
    let now = if queue.starts_with("claimable#") { now * 1_000_000 } else { now };
    let request = json!({
        "TableName": night.stack.resource("JobsTable").unwrap(), "IndexName": "queue",
        "KeyConditionExpression": "queue = :queue AND due_at <= :now",
        "ExpressionAttributeValues": {":queue": {"S": queue}, ":now": {"N": now.to_string()}},
        "ReturnConsumedCapacity": "TOTAL",
    });
    let answer = dynamodb(&night.stack, "Query", request).await;
    (answer["ScannedCount"].as_u64().unwrap(), answer["ConsumedCapacity"]["CapacityUnits"].as_f64().unwrap())
}

/// The engine calls of one run of the reaper, by operation and in order of their names.
async fn calls_of_a_run(night: &Night) -> (Value, Vec<String>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    night.stack.set_faults(move |call| {
        if call.function.as_deref() == Some("reap-jobs") {
            seen.lock().unwrap().push(call.operation.clone());
        }
        Fault::None
    });
    let done = night.reap().await;
    let mut calls = std::mem::take(&mut *calls.lock().unwrap());
    calls.sort();
    (done, calls)
}

#[tokio::test]
async fn jobs_that_are_not_due_cost_nothing() {
    let count = std::env::var("STORED_JOBS").map_or(2000, |text| text.parse().unwrap());
    let night = begin().await;
    let miner = night.miner().await;
    let (lost, pending) = (night.create("train").await, night.create("train").await);
    night.claim(&miner, &lost).await;
    // Past the deadline of the lost one.
    night.stack.clock().advance(std::time::Duration::from_secs(7202));

    let mut measured = Vec::new();
    for stored in [0, count] {
        store(&night, &lost, stored, false).await;
        let mut read = Vec::new();
        for queue in (0..DUE_SHARDS).map(keys::due_shard).chain([format!("claimable#{}", night.chute_id)]) {
            read.push(read_of(&night, &queue).await);
        }
        measured.push(read);
    }
    println!("{count} stored jobs; items and capacity units read, before and after: {measured:?}");
    assert_eq!(measured[0], measured[1]);
    assert_eq!(measured[0].iter().map(|(items, _)| items).sum::<u64>(), 2, "the lost job and the pending one");

    let (done, calls) = calls_of_a_run(&night).await;
    assert_eq!(done, json!({"timed_out": 1}));
    // Of what is due, and of what is kept until then.
    let queries = vec!["Query".to_owned(); 2 * usize::from(DUE_SHARDS)];
    // What heartbeats say of the job, and the job.
    let reads = ["BatchGetItem", "BatchGetItem"].map(str::to_owned);
    assert_eq!(calls, [&reads, &queries[..], &["TransactWriteItems".to_owned()]].concat());
    let (done, calls) = calls_of_a_run(&night).await;
    assert_eq!((done, calls), (json!({}), queries));

    let list = miner.get(&night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id))).await;
    assert_eq!((list.engine_calls(), text(&list.ok()["jobs"][0]["job_id"])), ((2, 0), pending.clone()));
    let claim = night.try_claim(&miner, &pending).await;
    assert_eq!((claim.status, claim.engine_calls()), (200, (2, 0)));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_page_of_a_users_list_costs_the_same_however_many_jobs_it_has() {
    let count = std::env::var("STORED_JOBS").map_or(2000, |text| text.parse().unwrap());
    let night = Night::on(Stack::builder().capacity(true).start().await.unwrap()).await;
    let job_id = night.create("train").await;
    night.claim(&night.miner().await, &job_id).await;
    let mut measured = Vec::new();
    for stored in [100, count] {
        store(&night, &job_id, stored, false).await;
        let first = night.user.get(&night.url("/jobs?limit=20")).await;
        let cursor = text(&first.body["next_cursor"]);
        let second = night.user.get(&night.url(&format!("/jobs?limit=20&cursor={cursor}"))).await;
        measured.push([first, second].map(|page| {
            assert_eq!((page.engine_calls(), page.body["jobs"].as_array().unwrap().len()), ((3, 0), 20));
            page.header("x-local-engine-units").unwrap().to_owned()
        }));
    }
    println!("pages of 20 out of 101 jobs and of {} more: {measured:?}", count);
    assert_eq!(measured[0], measured[1]);
    night.stack.shutdown().await;
}

/// A minute after their first lease, jobs of one part of the queue that heartbeats hold, and one behind them whose miner has died.
#[tokio::test]
async fn a_dead_miner_is_found_behind_many_jobs_that_are_held() {
    let night = begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let job_id = night.create("serve").await;
    let url = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    let (job, row) = (
        item(&night.stack, "JobsTable", "job_id", &job_id).await,
        item(&night.stack, "JobsTable", "job_id", &format!("{job_id}#lease")).await,
    );
    let shard = Uuid::parse_str(&job_id).unwrap().as_bytes()[0];
    let table = night.stack.resource("JobsTable").unwrap();
    let copy = |number: i64| {
        let (mut job, mut row, mut id) = (job.clone(), row.clone(), *Uuid::new_v4().as_bytes());
        id[0] = shard;
        let id = Uuid::from_bytes(id);
        (job["job_id"]["S"], row["job_id"]["S"]) = (json!(id), format!("{id}#lease").into());
        job["due_at"]["N"] = (1_795_000_090_000 - 1000 * number).to_string().into();
        row["lease_expires_at"]["N"] = "1795000300000".into();
        [job, row].map(|item| json!({"PutRequest": {"Item": item}}))
    };
    for batch in (1..=250).flat_map(copy).collect::<Vec<_>>().chunks(25) {
        dynamodb(&night.stack, "BatchWriteItem", json!({"RequestItems": {table: batch}})).await;
    }
    night.stack.clock().set(1_795_000_091_000);
    let (done, calls) = calls_of_a_run(&night).await;
    assert_eq!(done, json!({"held": 250, "requeued": 1}));
    // Three pages of the one part, of which each takes a read of its rows, and the job that is lost.
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!((count("Query"), count("BatchGetItem")), (2 * usize::from(DUE_SHARDS) + 2, 3 + 1));
    night.stack.shutdown().await;
}

/// A read that fails takes nothing away from the next run, which begins with what was not read.
#[tokio::test]
async fn what_could_not_be_read_is_read_first_by_the_next_run() {
    let night = begin().await;
    let job_id = night.create("train").await;
    night.claim(&night.miner().await, &job_id).await;
    night.stack.clock().advance(std::time::Duration::from_secs(7202));
    night.stack.set_faults(|call| match call.operation.as_str() {
        "BatchGetItem" => Fault::FailBefore(500),
        _ => Fault::None,
    });
    assert_eq!(night.reap().await, json!({"more": true}));
    let (done, calls) = calls_of_a_run(&night).await;
    assert_eq!(done, json!({"timed_out": 1}));
    // The page that was left, and then all parts.
    assert_eq!(calls.iter().filter(|call| *call == "Query").count(), 1 + 2 * usize::from(DUE_SHARDS));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn more_jobs_than_a_page_are_looked_after_in_one_run() {
    let night = Night::begin().await;
    let lost = night.create("train").await;
    night.claim(&night.miner().await, &lost).await;
    store(&night, &lost, 299, true).await;
    night.stack.clock().advance(std::time::Duration::from_secs(7202));
    let (done, calls) = calls_of_a_run(&night).await;
    assert_eq!(done, json!({"timed_out": 300}));
    assert!(calls.iter().filter(|operation| *operation == "Query").count() > 4, "more than a page of each part");
    night.stack.shutdown().await;
}
