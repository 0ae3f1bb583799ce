//! Metrics: members of a request's log line, in CloudWatch's embedded metric format.

use std::time::Duration;

use local::{Fault, LogLine, Service};
use serde_json::{Map, Value, json};
use tests::{Client, text, upload};

use crate::day::Day;

/// A function's lines with metrics: the metrics alone, once all that CloudWatch asks for was seen.
fn metrics(lines: &[LogLine], function: &str) -> Vec<Map<String, Value>> {
    let lines = lines.iter().filter(|line| line.function == function);
    lines.filter_map(|line| counted(&serde_json::from_str(&line.text).expect("JSON"))).collect()
}

fn counted(line: &Value) -> Option<Map<String, Value>> {
    let meta = line.get("_aws")?;
    assert!(meta["Timestamp"].is_u64());
    let [directive] = &meta["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("one directive: {meta}") };
    assert_eq!((&directive["Namespace"], &directive["Dimensions"]), (&json!("Jobchute"), &json!([["Stack"]])));
    assert_eq!(line["Stack"], "jobchute");
    let name = |metric: &Value| {
        assert!(["Count", "Bytes", "Milliseconds"].contains(&metric["Unit"].as_str().unwrap()), "{metric}");
        text(&metric["Name"])
    };
    let names = directive["Metrics"].as_array().unwrap().iter().map(name);
    let metrics: Map<_, _> = names.map(|name| (name.clone(), line[&name].clone())).collect();
    assert!(metrics.values().all(Value::is_u64), "{line}");
    Some(metrics)
}

/// The metrics of a function's only line that has any.
#[track_caller]
fn only(lines: &[LogLine], function: &str) -> Value {
    let mut all = metrics(lines, function);
    assert_eq!(all.len(), 1, "{function}: {all:?}");
    all.remove(0).into()
}

#[tokio::test]
async fn a_jobs_way_to_its_end_is_counted() {
    let mut day = Day::begin().await;
    let job = day.user().post(&day.at(&format!("/jobs/{}/train", day.chute_id)), json!({})).await.ok();
    let job_id = text(&job["job_id"]);
    day.stack.clock().advance(Duration::from_secs(90));
    let job = day.claim(&job_id).await;
    day.report(&job).await;
    let done = Client::nobody().put(&job.url, Value::Null).await.ok();
    // Repeating it counts nothing.
    Client::nobody().put(&job.url, Value::Null).await.ok();
    let sizes = done["output_files"].as_object().unwrap().values().map(|file| file["size"].as_u64().unwrap());

    let bytes: u64 = sizes.sum();
    let lines = day.stack.shutdown().await;
    assert_eq!(only(&lines, "create-job"), json!({"JobsCreated": 1}));
    let claimed = only(&lines, "claim-job");
    assert_eq!(claimed["JobsClaimed"], 1);
    let waited = claimed["QueueAge"].as_u64().unwrap();
    assert!((90_000..120_000).contains(&waited), "{waited} ms");
    assert_eq!(only(&lines, "complete-job"), json!({"JobsComplete": 1, "OutputBytes": bytes, "Envelopes": 2}));
    for silent in ["heartbeat-job", "finish-job", "upload-job-file", "admin"] {
        assert_eq!(metrics(&lines, silent), [], "{silent}");
    }
}

#[tokio::test]
async fn every_outcome_is_counted_by_the_function_that_sees_it() {
    let mut day = Day::begin().await;
    for status in ["complete", "error", "cancelled"] {
        let job = day.claimed("train").await;
        Client::nobody().post(&job.url, json!({"status": status})).await.ok();
    }
    let job = day.claimed("train").await;
    Client::nobody().put(&job.route("release"), json!({"reason": "no room"})).await.ok();
    let job = day.claimed("train").await;
    let report = json!({"status": "complete", "output_filenames": ["there", "missing"]});
    let answer = Client::nobody().post(&job.url, report).await.ok();
    upload(&text(&answer["output_storage_urls"]["there"]), b"hello").await;
    Client::nobody().put(&job.url, Value::Null).await.ok();

    let lines = day.stack.shutdown().await;
    let ended: Vec<Value> = metrics(&lines, "finish-job").into_iter().map(Value::from).collect();
    assert_eq!(ended, [json!({"JobsComplete": 1}), json!({"JobsError": 1}), json!({"JobsCancelled": 1})]);
    assert_eq!(only(&lines, "complete-job"), json!({"JobsPartialFailure": 1, "OutputBytes": 5}));
    assert_eq!(only(&lines, "release-job"), json!({"JobsReleased": 1}));
}

#[tokio::test]
async fn the_reaper_counts_leases_and_tells_how_late_it_is() {
    let mut day = Day::begin().await;
    // `serve` is tried three times, `train` once.
    day.claimed("serve").await;
    day.claimed("train").await;
    let reported = day.reported("train").await;
    day.stack.clock().advance(Duration::from_secs(2 * 3600));
    day.stack.set_faults(|call| match call.service {
        Service::S3 => Fault::FailBefore(500),
        _ => Fault::None,
    });
    day.stack.run_schedule("reap-jobs").await.unwrap();
    day.stack.set_faults(|_| Fault::None);
    // It was put off.
    day.stack.clock().advance(Duration::from_secs(60));
    day.stack.run_schedule("reap-jobs").await.unwrap();

    let done = day.user().get(&day.at(&format!("/jobs/{}", reported.job_id))).await.ok();
    assert_eq!(done["status"], "complete");
    let lines = day.stack.shutdown().await;
    let [first, second] = &metrics(&lines, "reap-jobs")[..] else { panic!("two runs with metrics") };
    assert_eq!(
        (&first["LeasesLost"], &first["JobsTimeout"], &first["ReapFailures"]),
        (&json!(2), &json!(1), &json!(1))
    );
    // A heartbeat holds a running job for 90 seconds. One that uploads is held for as long as its URLs work: an hour and five minutes.
    // The time in a schedule's event has whole seconds, so that a run seems up to a second earlier than it is.
    let delay = first["ReapDelay"].as_u64().unwrap();
    assert!((7_100_000..7_200_000).contains(&delay), "{delay} ms");
    let delay = second["ReapDelay"].as_u64().unwrap();
    assert!((3_359_000..3_390_000).contains(&delay), "{delay} ms");
    assert_eq!((&second["LeasesLost"], &second["JobsComplete"]), (&json!(1), &json!(1)));
    assert_eq!(second.get("ReapFailures"), None);
}

#[tokio::test]
async fn a_queue_that_can_not_be_read_is_a_failure_of_the_reaper() {
    let day = Day::begin().await;
    day.stack.set_faults(|_| Fault::FailBefore(500));
    day.stack.run_schedule("reap-jobs").await.unwrap();
    let lines = day.stack.shutdown().await;
    assert!(only(&lines, "reap-jobs")["ReapFailures"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_request_is_one_line() {
    let day = Day::begin().await;
    let path = format!("/jobs/{}", day.chute_id);
    for _ in 0..3 {
        assert_eq!(day.user().get(&day.at(&path)).await.status, 404);
    }
    let lines = day.stack.shutdown().await;
    let lines: Vec<_> = lines.iter().filter(|line| line.function == "get-job").collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let line: Value = serde_json::from_str(&line.text).unwrap_or_else(|e| panic!("{e}: {}", line.text));
        let members: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            members,
            [
                "timestamp",
                "level",
                "request.id",
                "route",
                "job.id",
                "status",
                "ms",
                "calls.dynamodb",
                "calls.s3",
                "calls.secrets"
            ]
        );
        assert_eq!((&line["route"], &line["status"]), (&json!("GET /jobs/{job_id}"), &json!(404)));
    }
}
