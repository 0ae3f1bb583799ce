//! The Chutes SDK as a miner, from the claim to the last byte at the owner.

use std::time::Duration;

use local::{Fault, Seeded, Stack};
use serde_json::json;
use tests::{Client, Job, Sdk, objects, text, unfinished_uploads};

use crate::{MIB, content, file};

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("model.safetensors", content(6 * MIB)),
        ("sub dir/ünï \"q\".txt", b"hello".to_vec()),
        ("logs/out.txt", Vec::new()),
        ("logs/err.txt", b"\r\n--".to_vec()),
        ("checkpoint-1", content(100_000)),
        ("checkpoint-2", content(1_000_000)),
        ("a", content(1)),
        ("b", content(2)),
        ("c", content(3)),
        ("d", content(4)),
    ]
}

/// Whether the owner has every byte, and nothing is kept of the job once it is deleted and nothing of it can arrive any more.
async fn arrived(stack: &Stack, key: &str, job_id: &str) {
    let owner = Client::with_key(key);
    let route = format!("{}/jobs/{job_id}", stack.url());
    let mut job = owner.get(&route).await.ok();
    if let Some(url) = job["job_args_url"].as_str() {
        // One of two so large has room in an answer.
        job["job_args"] = Client::nobody().get(url).await.ok();
    }
    assert_eq!(job["status"], "complete");
    assert!(job["job_args"].is_object() && job["result"] == job["job_args"]);
    for (name, content) in files() {
        assert_eq!((&file(&job, name)["uploaded"], &file(&job, name)["size"]), (&json!(true), &json!(content.len())));
        let ids = job["output_files"].as_object().unwrap();
        let (file_id, _) = ids.iter().find(|(_, file)| file["filename"] == name).unwrap();
        let found = owner.get(&format!("{route}/download/{file_id}")).await;
        assert!(Client::nobody().get(found.header("location").unwrap()).await.bytes == content, "{name}");
    }
    owner.delete(&route).await.ok();
    stack.clock().advance(Duration::from_secs(2 * 3600 + 1));
    stack.run_schedule("reap-jobs").await.unwrap();
    assert_eq!(objects(stack, job_id).await, [""; 0]);
    assert_eq!(unfinished_uploads(stack, job_id).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_sdk_arrives_and_nothing_else_is_kept() {
    let stack = Stack::start().await.unwrap();
    let (job_id, key) = Job::created_on(&stack).await;
    Sdk::new(&key, stack.url()).run(&job_id, &files()).await.unwrap();
    assert_eq!(objects(&stack, &job_id).await.len(), files().len(), "no envelope is kept");
    arrived(&stack, &key, &job_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_is_given_four_mebibytes_and_reports_as_much() {
    let stack = Stack::start().await.unwrap();
    let (first, key) = Job::created_on(&stack).await;
    let owner = Client::with_key(&key);
    let chute_id = text(&owner.get(&format!("{}/jobs/{first}", stack.url())).await.ok()["chute_id"]);
    let arguments = json!({"prompt": "x".repeat((4 << 20) - 100)});
    let created = owner.post(&format!("{}/jobs/{chute_id}/train", stack.url()), arguments).await.ok();
    let job_id = text(&created["job_id"]);
    Sdk::new(&key, stack.url()).run(&job_id, &files()).await.unwrap();
    arrived(&stack, &key, &job_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_sdk_arrives_though_engines_fail_one_call_in_five() {
    let stack = Stack::start().await.unwrap();
    for seed in 0..3 {
        let (job_id, key) = Job::created_on(&stack).await;
        let faults = Seeded::new(seed, 0.2).with_clients();
        // Environments die when their answers are lost; those that die before are elsewhere.
        stack.set_faults(move |call| match faults.decide(call) {
            Fault::KillFunction => Fault::Cut,
            fault => fault,
        });
        let run = Sdk::new(&key, stack.url()).run(&job_id, &files()).await;
        run.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        stack.set_faults(|_| Fault::None);
        arrived(&stack, &key, &job_id).await;
    }
}
