//! Checks of many files: one at a time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use local::{Fault, Service, Stack};
use serde_json::json;
use tests::{Client, Envelope, Job, Night, text};

use crate::put_envelope;

/// Puts a small envelope for each.
async fn put_all(answer: &serde_json::Value, names: &[String]) {
    let envelope = Envelope::default();
    let puts: Vec<_> = names.iter().map(|name| put_envelope(&envelope, answer, name, name.as_bytes())).collect();
    stream::iter(puts).buffer_unordered(8).collect::<Vec<_>>().await;
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_completes_of_many_envelopes_do_the_work_of_one() {
    let stack = Stack::start().await.unwrap();
    let (job, names) = (Job::on(&stack).await, names(150));
    let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
    put_all(&answer, &names).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    stack.set_faults(move |call| {
        if call.service == Service::S3 && call.function.is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let answers = join_all((0..5).map(|_| job.complete())).await;
    let (done, busy): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    for answer in &busy {
        answer.is_error(503, "Service busy, please try again");
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds), "{seconds}");
    }
    assert!(!done.is_empty());
    for answer in done {
        assert_eq!(answer.ok()["status"], "complete");
    }
    // A listing, a look and a write for each, and a delete of all envelopes. The list of so many files is an object of its own: each of the
    // five reads it, and the one that works writes it. Who comes to its write after that one's end reads the list as it is by then.
    let least = 1 + 2 * names.len() + 1 + 5 + 1;
    let calls = calls.load(Ordering::SeqCst);
    assert!((least..=least + 4).contains(&calls), "{calls}");
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert_eq!(job.download("149").await.bytes, b"149");
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_failed_is_gone_on_with_at_once() {
    let stack = Stack::start().await.unwrap();
    let (job, names) = (Job::on(&stack).await, names(13));
    let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
    put_all(&answer, &names).await;
    stack.set_faults(|call| match call.operation == "PutObject" {
        true => Fault::FailBefore(503),
        false => Fault::None,
    });
    job.complete().await.is_error(503, "Service busy, please try again");
    stack.set_faults(|_| Fault::None);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_died_keeps_the_reaper_and_the_miner_from_the_job_for_half_a_minute() {
    // Dies: the miner's check, or the reaper's.
    for dies in ["complete-job", "reap-jobs"] {
        let night = Night::begin().await;
        let names = names(13);
        let files: Vec<_> = names.iter().map(String::as_str).collect();
        let (job_id, url, answer) = night.finished(&night.miner().await, &files).await;
        put_all(&answer, &names).await;
        // The miner's lease has run out, and nobody has looked yet.
        night.stack.clock().advance(Duration::from_secs(2 * 3600));
        let looks = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&looks);
        night.stack.set_faults(move |call| {
            let Some(function) = call.function.clone().filter(|_| call.service == Service::S3) else {
                return Fault::None;
            };
            let mut looks = hook.lock().unwrap();
            looks.push(function.clone());
            if call.operation == "PutObject" && function == dies { Fault::KillFunction } else { Fault::None }
        });
        match dies {
            "reap-jobs" => drop(night.stack.run_schedule("reap-jobs").await.unwrap_err()),
            _ => assert!(Client::nobody().put(&url, json!(null)).await.is_failure()),
        }
        looks.lock().unwrap().clear();
        assert_eq!(night.reap().await, json!({"unchanged": 1}));
        let busy = Client::nobody().put(&url, json!(null)).await;
        busy.is_error(503, "Service busy, please try again");
        assert_eq!(busy.header("retry-after"), Some("5"));
        assert_eq!(*looks.lock().unwrap(), [""; 0], "nobody looks at a file");

        night.fail(None, Fault::None);
        // The reaper counts from when it began.
        night.stack.clock().advance(Duration::from_secs(60));
        match dies {
            "reap-jobs" => assert_eq!(Client::nobody().put(&url, json!(null)).await.ok()["status"], "complete"),
            _ => assert_eq!(night.reap().await, json!({"completed": 1})),
        }
        let job = night.get(&job_id).await;
        assert_eq!(text(&job["status"]), "complete");
        night.stack.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaper_that_was_woken_late_has_its_half_minute_all_the_same() {
    let night = Night::begin().await;
    let system = night.stack.clock().now();
    // The lease, of two hours, is over by the schedule's time; that was ten minutes ago.
    night.stack.clock().set(system - 140 * 60_000);
    let names = names(13);
    let files: Vec<_> = names.iter().map(String::as_str).collect();
    let (_, url, answer) = night.finished(&night.miner().await, &files).await;
    put_all(&answer, &names).await;
    night.stack.clock().set(system - 10 * 60_000);
    night.fail(Some("PutObject"), Fault::KillFunction);
    night.stack.run_schedule("reap-jobs").await.unwrap_err();
    night.fail(None, Fault::None);

    night.stack.clock().set(system);
    Client::nobody().put(&url, json!(null)).await.is_error(503, "Service busy, please try again");
    night.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_the_reaper_has_no_time_for_is_given_up() {
    let night = Night::begin().await;
    let names = names(13);
    let files: Vec<_> = names.iter().map(String::as_str).collect();
    let (_, url, answer) = night.finished(&night.miner().await, &files).await;
    put_all(&answer, &names).await;
    night.stack.clock().advance(Duration::from_secs(2 * 3600));
    night.fail(Some("PutObject"), Fault::Delay(Duration::from_secs(60)));
    assert_eq!(night.reap().await, json!({"failed": 1}));
    night.fail(None, Fault::None);
    // As long as the reaper took to begin: its own clock counts that.
    night.stack.clock().advance(Duration::from_secs(5));
    assert_eq!(Client::nobody().put(&url, json!(null)).await.ok()["status"], "complete");
    night.stack.shutdown().await;
}
