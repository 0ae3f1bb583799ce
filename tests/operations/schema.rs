//! Items outlive the release that made them, in both directions: `data/items-v1.json` has what the first release made, and what
//! a newer one made is left alone.

use std::{collections::BTreeMap, fs, time::Duration};

use local::Stack;
use serde_json::{Map, Value, json};
use tests::{Client, Form, dynamodb, item, job_token_keys, put_job_token_keys, repository, text};
use uuid::Uuid;

use crate::day::{Claimed, Day};

/// The items of schema version 1, and the credentials of the day on which they were made. Written by
/// `WRITE_ITEMS=1 cargo test -p tests --test operations items_are_made`, until the first release; never again after it.
const ITEMS: &str = "tests/data/items-v1.json";

fn first_release() -> Value {
    serde_json::from_str(&fs::read_to_string(repository(ITEMS)).expect(ITEMS)).expect("JSON")
}

/// A job in every state, and a row of every kind, as this release makes them.
async fn made_now() -> Value {
    let mut day = Day::begin().await;
    let mut jobs: BTreeMap<&str, String> = BTreeMap::new();
    let (lost, timeout) = (day.claimed("serve").await, day.claimed("train").await);
    day.stack.clock().advance(Duration::from_secs(2 * 3600));
    day.stack.run_schedule("reap-jobs").await.unwrap();
    jobs.extend([("lost", lost.job_id), ("timeout", timeout.job_id)]);

    let failed = day.claimed("train").await;
    Client::nobody().post(&failed.url, json!({"status": "error", "detail": "out of memory"})).await.ok();
    let (complete, deleted) = (day.reported("train").await, day.reported("train").await);
    Client::nobody().put(&complete.url, Value::Null).await.ok();
    day.user().delete(&day.at(&format!("/jobs/{}", deleted.job_id))).await.ok();
    jobs.extend([("failed", failed.job_id), ("complete", complete.job_id), ("deleted", deleted.job_id)]);

    let create = day.at(&format!("/jobs/{}/train", day.chute_id));
    let pending = day.user().send("POST".parse().unwrap(), &create, b"{}".to_vec(), &[("idempotency-key", "k")]).await;
    let (running, uploading) = (day.claimed("train").await, day.reported("train").await);
    jobs.insert("pending", text(&pending.ok()["job_id"]));
    let path = |job: &Claimed| job.url.replace(day.stack.url(), "");
    let paths = json!({"running": path(&running), "uploading": path(&uploading)});
    jobs.extend([("running", running.job_id.clone()), ("uploading", uploading.job_id.clone())]);

    let mut items = Map::new();
    for (name, job_id) in jobs {
        items.insert(name.to_owned(), item(&day.stack, "JobsTable", "job_id", &job_id).await);
    }
    let scan = json!({"TableName": day.stack.resource("RegistryTable").unwrap()});
    let mut rows = dynamodb(&day.stack, "Scan", scan).await["Items"].take();
    rows.as_array_mut().unwrap().retain(|row| kind(row) != "replay");
    rows.as_array_mut().unwrap().sort_by_key(|row| text(&row["pk"]["S"]));
    json!({
        "now": day.stack.clock().now(), "key": day.key, "job_token_keys": job_token_keys(&day.stack).await,
        "paths": paths, "jobs": items, "rows": rows,
    })
}

/// What the key of a registry's row begins with.
fn kind(row: &Value) -> String {
    text(&row["pk"]["S"]).split('#').next().unwrap().to_owned()
}

/// Names and types, without values. What goes by ids has one shape, which is what all of them have together.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut shapes = Map::new();
            for (name, value) in members {
                let is_id = name.rsplit('#').next().is_some_and(|id| Uuid::try_parse(id).is_ok());
                let name = if is_id { "[id]" } else { name };
                unite(shapes.entry(name).or_insert(Value::Null), shape(value));
            }
            shapes.sort_keys();
            shapes.into()
        }
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        _ => Value::Null,
    }
}

fn unite(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (name, value) in other {
                unite(into.entry(name).or_insert(Value::Null), value);
            }
            into.sort_keys();
        }
        (into, other) => *into = other,
    }
}

fn shapes(made: &Value) -> BTreeMap<String, Value> {
    let jobs = made["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.clone(), shape(job)));
    jobs.chain(made["rows"].as_array().unwrap().iter().map(|row| (kind(row), shape(row)))).collect()
}

#[tokio::test]
async fn items_are_made_as_the_first_release_made_them() {
    let made = made_now().await;
    if std::env::var_os("WRITE_ITEMS").is_some() {
        fs::write(repository(ITEMS), serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    let (now, then) = (shapes(&made), shapes(&first_release()));
    assert_eq!(now.keys().collect::<Vec<_>>(), then.keys().collect::<Vec<_>>());
    for (name, mut shape) in now {
        // The first release ignores these, and is not wrong about a job that has them.
        ADDED.iter().for_each(|attribute| drop(shape.as_object_mut().unwrap().remove(*attribute)));
        if let Some(file) = shape.pointer_mut("/files/M/[id]/M").and_then(Value::as_object_mut) {
            ADDED_TO_FILES.iter().for_each(|attribute| drop(file.remove(*attribute)));
        }
        let mut then = then[&name].clone();
        if then["queue"].is_null() {
            // A job that is over waits for the end of its retention where the first release does not look.
            ["queue", "due_at"].iter().for_each(|attribute| drop(shape.as_object_mut().unwrap().remove(*attribute)));
        }
        LEFT_OUT.iter().for_each(|attribute| drop(then.as_object_mut().unwrap().remove(*attribute)));
        if name == "running" {
            // The first release's reaper leaves a running job without it alone.
            then.as_object_mut().unwrap().remove("lease_expires_at");
        }
        assert_eq!(shape, then, "{name}: a change of shape needs a new schema version");
    }
}

/// Attributes of jobs that this release adds: which account and which of its workers has the job, when which account lost it, until when
/// upload URLs work, how long it waits, how often its files have changed, and whether a report may have left something in the bucket.
const ADDED: [&str; 7] = ["miner_account", "worker", "lost", "uploads_until", "wait", "file_changes", "unsettled"];
/// The same of a file: how it is cut, and how often it was declared to be another one.
const ADDED_TO_FILES: [&str; 2] = ["c", "r"];
/// And what it does not write any more: which keys lost the job, and what heartbeats tell. It still reads that, and the first release
/// needs none.
const LEFT_OUT: [&str; 2] = ["lost_by", "progress"];

/// A deployment that holds the first release's items, on the day on which they were made.
async fn deployed() -> (Stack, Client, Value) {
    let made = first_release();
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "16").start().await.unwrap();
    stack.clock().set(made["now"].as_i64().unwrap());
    put_job_token_keys(&stack, &made["job_token_keys"]).await;
    let jobs = made["jobs"].as_object().unwrap().values().map(|item| ("JobsTable", item));
    for (table, item) in jobs.chain(made["rows"].as_array().unwrap().iter().map(|row| ("RegistryTable", row))) {
        put(&stack, table, item).await;
    }
    let client = Client::with_key(text(&made["key"]));
    (stack, client, made)
}

async fn put(stack: &Stack, table: &str, item: &Value) {
    let table = stack.resource(table).unwrap();
    dynamodb(stack, "PutItem", json!({"TableName": table, "Item": item})).await;
}

#[tokio::test]
async fn the_first_releases_items_are_read_and_go_on() {
    let (stack, client, made) = deployed().await;
    let id = |name: &str| text(&made["jobs"][name]["job_id"]["S"]);
    let url = |path: &str| format!("{}{path}", stack.url());
    let get = async |name: &str| client.get(&url(&format!("/jobs/{}", id(name)))).await;
    for (name, status, terminal) in [
        ("pending", "pending", false),
        ("lost", "pending", false),
        ("running", "running", false),
        ("uploading", "complete_pending_uploads", false),
        ("complete", "complete", true),
        ("failed", "error", true),
        ("timeout", "timeout", true),
    ] {
        let job = get(name).await.ok();
        assert_eq!((&job["status"], &job["terminal"]), (&json!(status), &json!(terminal)), "{name}");
    }
    get("deleted").await.is_error(404, &format!("Job {} not found or does not belong to you", id("deleted")));
    let complete = get("complete").await.ok();
    assert_eq!((&complete["result"], &complete["error_detail"]), (&json!({"loss": 0.5}), &Value::Null));
    for (file_id, file) in complete["output_files"].as_object().unwrap() {
        assert_eq!(file["uploaded"], true);
        let answer = client.get(&url(&format!("/jobs/{}/download/{file_id}", id("complete")))).await;
        assert!(answer.header("location").unwrap().contains("versionId="), "{file}");
    }
    assert_eq!(get("failed").await.ok()["error_detail"], "out of memory");

    // The hotkey that lost it is remembered; the account's key is another miner.
    let claim = async |name: &str| {
        client
            .put(
                &url(&format!("/jobs/{}/claim", id(name))),
                json!({"port_mappings": [
        {"internal_port": 2222, "external_port": 1, "proto": "tcp"}]}),
            )
            .await
    };
    assert_eq!(claim("pending").await.ok()["attempt"], 1);
    assert_eq!(claim("lost").await.ok()["attempt"], 2);
    let path = |name: &str| url(&text(&made["paths"][name]));
    Client::nobody().post(&path("running"), json!({"status": "complete", "result": 1})).await.ok();
    assert_eq!(get("running").await.ok()["status"], "complete");
    // Its files are in another deployment's bucket.
    let done = Client::nobody().put(&path("uploading"), Value::Null).await.ok();
    assert_eq!(done["status"], "partial_failure");
    let usage = made["rows"].as_array().unwrap().iter().find(|row| kind(row) == "usage").unwrap();
    let chute_id = text(&made["jobs"]["pending"]["chute_id"]["S"]);
    client.post(&url(&format!("/jobs/{chute_id}/train")), json!({})).await.ok();
    let counted = item(&stack, "RegistryTable", "pk", &text(&usage["pk"]["S"])).await;
    let count = |row: &Value| text(&row["total"]["N"]).parse::<u64>().unwrap();
    assert_eq!(count(&counted), count(usage) + 1);
    client.delete(&url(&format!("/jobs/{}", id("complete")))).await.ok();
}

#[tokio::test]
async fn the_first_releases_items_go_through_every_route_and_are_this_releases_then() {
    let (stack, client, made) = deployed().await;
    let id = |name: &str| text(&made["jobs"][name]["job_id"]["S"]);
    let url = |path: &str| format!("{}{path}", stack.url());
    let path = |name: &str| url(&text(&made["paths"][name]));
    let version = async |name: &str| item(&stack, "JobsTable", "job_id", &id(name)).await["v"]["N"].take();
    let nobody = Client::nobody();
    let mut listed = client.get(&url("/jobs")).await.ok()["jobs"].take();
    let mut listed: Vec<_> = listed.as_array_mut().unwrap().iter().map(|job| text(&job["job_id"])).collect();
    let jobs = made["jobs"].as_object().unwrap();
    let mut all: Vec<_> = jobs.keys().filter(|name| *name != "deleted").map(|name| id(name)).collect();
    listed.sort_unstable();
    all.sort_unstable();
    assert_eq!(listed, all);
    let chute_id = text(&made["jobs"]["pending"]["chute_id"]["S"]);
    let claimable = client.get(&url(&format!("/jobs/claimable?chute_id={chute_id}"))).await.ok();
    assert_eq!(claimable["jobs"].as_array().unwrap().len(), 2);

    // A report that the first release could not have stored.
    nobody.put(&path("running").replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await.ok();
    let names: Vec<_> = (0..200).map(|number| format!("frames/{number:04}.png")).collect();
    let report = json!({"status": "complete", "result": "x".repeat(1 << 20), "output_filenames": names});
    nobody.post(&path("running"), report.clone()).await.ok();
    nobody.post(&path("running"), report.clone()).await.ok();
    assert_eq!(nobody.put(&path("running"), Value::Null).await.ok()["status"], "partial_failure");
    assert_eq!(client.get(&url(&format!("/jobs/{}", id("running")))).await.ok()["result"], report["result"]);

    // Its list is in the item, and stays there.
    let upload = path("uploading").replace("?token=", "/upload?token=");
    nobody.put(&upload, json!({"path": "twice", "content_type": "text/plain"})).await.ok();
    let kind = [("content-type", Form::CONTENT_TYPE)];
    let form = Form::of("small", b"hello");
    let small = nobody.send("PUT".parse().unwrap(), &upload, form, &kind).await.ok();
    nobody.put(&path("uploading"), Value::Null).await.ok();
    let download = url(&format!("/jobs/{}/download/{}", id("uploading"), text(&small["file_id"])));
    assert_eq!(client.get(&download).await.status, 307);
    assert!(item(&stack, "JobsTable", "job_id", &id("uploading")).await["files"]["M"].is_object());

    for (name, changed) in [("running", "2"), ("uploading", "2"), ("complete", "1"), ("pending", "1")] {
        assert_eq!(version(name).await, changed, "{name}");
    }
    stack.clock().advance(Duration::from_secs(48 * 3600));
    // The deleted one is swept as this release sweeps.
    assert_eq!(stack.run_schedule("reap-jobs").await.unwrap()["swept"], 1);
    client.delete(&url(&format!("/jobs/{}", id("uploading")))).await.ok();
    client.get(&url(&format!("/jobs/{}", id("uploading")))).await.error();
}

#[tokio::test]
async fn the_first_releases_items_go_through_the_routes_that_it_did_not_have() {
    let (stack, client, made) = deployed().await;
    let id = |name: &str| text(&made["jobs"][name]["job_id"]["S"]);
    let url = |path: &str| format!("{}{path}", stack.url());
    let job = |name: &str, rest: &str| url(&format!("/jobs/{}{rest}", id(name)));
    let miners =
        |name: &str, route: &str| url(&text(&made["paths"][name])).replace("?token=", &format!("{route}?token="));
    let nobody = Client::nobody();

    // The create is repeated with its key.
    let chute_id = text(&made["jobs"]["pending"]["chute_id"]["S"]);
    let create = url(&format!("/jobs/{chute_id}/train"));
    let again = client.send("POST".parse().unwrap(), &create, b"{}".to_vec(), &[("idempotency-key", "k")]).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.ok()["job_id"], id("pending"));

    for (name, status) in [("pending", "pending"), ("running", "running"), ("complete", "complete")] {
        let seen = client.get(&job(name, "?view=status")).await.ok();
        assert_eq!((&seen["status"], &seen["result"]), (&json!(status), &Value::Null), "{name}");
        assert_eq!(client.get(&job(name, "/logs")).await.ok()["chunks"], json!([]), "{name}");
    }
    // It has none.
    assert_eq!(client.get(&job("complete", "/webhook")).await.status, 200);

    let waits = client.put(&job("running", "/cancel"), Value::Null).await.ok();
    assert_eq!(waits["status"], "running");
    let told = nobody.put(&miners("running", "/heartbeat"), Value::Null).await.ok();
    assert_eq!(told["cancelled"], true);
    assert_eq!(nobody.put(&miners("running", "/release"), Value::Null).await.ok()["released"], true);
    assert_eq!(client.get(&job("running", "")).await.ok()["status"], "cancelled");

    for name in ["failed", "timeout", "running"] {
        assert_eq!(client.put(&job(name, "/retry"), Value::Null).await.ok()["status"], "pending", "{name}");
    }
    // All of them, and the one that was lost, are given to who asks for the next.
    let mut given = Vec::new();
    loop {
        let next = client
            .put(
                &url(&format!("/jobs/claim?chute_id={chute_id}")),
                json!({"port_mappings": [
            {"internal_port": 2222, "external_port": 1, "proto": "tcp"}]}),
            )
            .await;
        if next.status == 204 {
            break;
        }
        given.push(text(&next.ok()["job_id"]));
    }
    given.sort_unstable();
    let mut expected = ["pending", "lost", "failed", "timeout", "running"].map(id);
    expected.sort_unstable();
    assert_eq!(given, expected);
}

#[tokio::test]
async fn a_running_job_of_the_first_release_is_this_ones_once_its_reaper_has_looked() {
    let (stack, _, made) = deployed().await;
    let beat = format!("{}{}", stack.url(), text(&made["paths"]["running"])).replace("?token=", "/heartbeat?token=");
    stack.clock().advance(Duration::from_secs(80));
    Client::nobody().put(&beat, json!({})).await.ok();
    // The first release's reaper sees the lease that it knows, which is over, and not this release's heartbeat.
    stack.clock().advance(Duration::from_secs(20));
    assert_eq!(stack.run_schedule("reap-jobs").await.unwrap()["requeued"], 0);
    let job = item(&stack, "JobsTable", "job_id", &text(&made["jobs"]["running"]["job_id"]["S"])).await;
    assert_eq!((&job["v"]["N"], &job["status"]["S"]), (&json!("2"), &json!("running")));
}

#[tokio::test]
async fn a_job_of_a_newer_release_is_neither_read_nor_changed() {
    let (stack, client, made) = deployed().await;
    let url = |path: &str| format!("{}{path}", stack.url());
    let mut newer = BTreeMap::new();
    for name in ["pending", "running", "uploading", "deleted"] {
        let mut job = made["jobs"][name].clone();
        job["v"] = json!({"N": "3"});
        put(&stack, "JobsTable", &job).await;
        newer.insert(name, job);
    }
    let id = |name: &str| text(&newer[name]["job_id"]["S"]);
    let path = |name: &str| url(&text(&made["paths"][name]));
    let upload = path("uploading").replace("?token=", "/upload?token=");
    for answer in [
        client.get(&url(&format!("/jobs/{}", id("pending")))).await,
        client.put(&url(&format!("/jobs/{}/claim", id("pending"))), Value::Null).await,
        client.delete(&url(&format!("/jobs/{}", id("uploading")))).await,
        Client::nobody().post(&path("running"), json!({"status": "error"})).await,
        Client::nobody().put(&upload, json!({"path": "twice"})).await,
        Client::nobody().put(&path("uploading"), Value::Null).await,
    ] {
        answer.is_error(500, "Internal server error");
    }
    let chute_id = text(&made["jobs"]["pending"]["chute_id"]["S"]);
    let listed = client.get(&url(&format!("/jobs/claimable?chute_id={chute_id}"))).await.ok();
    let listed: Vec<_> = listed["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect();
    assert_eq!(listed, [text(&made["jobs"]["lost"]["job_id"]["S"])]);
    stack.clock().advance(Duration::from_secs(48 * 3600));
    let reaped = stack.run_schedule("reap-jobs").await.unwrap();
    assert_eq!(reaped["failed"], 3, "{reaped}");
    for (name, job) in &mut newer {
        let mut kept = item(&stack, "JobsTable", "job_id", &text(&job["job_id"]["S"])).await;
        if *name != "pending" {
            // The reaper has put it off.
            assert_ne!(kept["due_at"].take(), job["due_at"].take(), "{name}");
        }
        assert_eq!(kept, *job, "{name}");
    }
    let lines = stack.shutdown().await;
    let says = "the item has schema version 3, and this release knows 2: deploy the newer one again";
    assert!(lines.iter().filter(|line| line.text.contains(says)).count() >= 7);
}

#[tokio::test]
async fn a_row_of_a_newer_release_opens_nothing_and_is_not_overwritten() {
    let (stack, client, made) = deployed().await;
    let chute = made["rows"].as_array().unwrap().iter().find(|row| kind(row) == "chute").unwrap();
    let mut newer = chute.clone();
    newer["v"] = json!({"N": "3"});
    put(&stack, "RegistryTable", &newer).await;
    let (chute_id, user_id) = (text(&chute["chute_id"]["S"]), text(&chute["user_id"]["S"]));
    client
        .post(&format!("{}/jobs/{chute_id}/train", stack.url()), json!({}))
        .await
        .is_error(500, "Internal server error");
    let older = json!({"command": "put_chute", "chute": tests::chute(&chute_id, &user_id)});
    stack.invoke("admin", older).await.expect_err("a chute of a newer release");
    assert_eq!(item(&stack, "RegistryTable", "pk", &text(&chute["pk"]["S"])).await, newer);

    let path = format!("{}/jobs/{}", stack.url(), text(&made["jobs"]["complete"]["job_id"]["S"]));
    for row in made["rows"].as_array().unwrap() {
        if !["user", "key"].contains(&kind(row).as_str()) {
            continue;
        }
        let mut newer = row.clone();
        newer["v"] = json!({"N": "3"});
        put(&stack, "RegistryTable", &newer).await;
        client.get(&path).await.is_error(500, "Internal server error");
        put(&stack, "RegistryTable", row).await;
        client.get(&path).await.ok();
    }
}
