//! `PUT /jobs/{job_id}/claim`.

use futures_util::future::join_all;
use local::Fault;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Night, World, redacted, stack, text};
use uuid::Uuid;

async fn claim(miner: &Client, job_id: &str, body: Value) -> Answer {
    miner.put(&format!("/jobs/{job_id}/claim"), body).await
}

/// A pending job that opens port 2222.
async fn job_with_port(world: &World) -> String {
    text(&world.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"])
}

fn taken(job_id: &str) -> String {
    format!("Job {job_id} has already been claimed by another miner!")
}

#[tokio::test]
async fn the_winner_gets_what_the_sdk_reads() {
    let world = World::new().await;
    let job_id = world.create().await;
    let assignment = claim(&world.miner, &job_id, Value::Null).await.ok();
    let url = text(&assignment["job_status_url"]);
    let (base, token) = url.split_once("?token=").unwrap();
    assert_eq!(base, format!("{}/jobs/{job_id}", stack().url()));
    let names = [("token", token), ("job", &job_id), ("api", stack().url())];
    insta::assert_snapshot!(redacted(&assignment, &names), @r#"
    {
      "job_id": "[job]",
      "job_method": "train",
      "job_data": {
        "epochs": 3,
        "_disk_gb": 10
      },
      "job_status_url": "[api]/jobs/[job]?token=[token]",
      "attempt": 1,
      "lease_expires_at": "[time]"
    }
    "#);

    let job = world.get(&job_id).await;
    assert_eq!((&job["status"], &job["active"], &job["verified"]), (&"running".into(), &true.into(), &true.into()));
    assert_eq!((&job["attempt"], &job["miner_hotkey"]), (&1.into(), &world.hotkey.address.clone().into()));
    assert_eq!(job["deadline_at"], assignment["lease_expires_at"]);
    assert_eq!(Client::nobody().post(&url, json!({"status": "complete"})).await.ok()["status"], "complete");
}

#[tokio::test]
async fn job_data_are_the_arguments_as_they_were_written() {
    let world = World::new().await;
    let args = r#"{"z":123456789012345678901234567890,"a":1.10,"nul":"\u0000","_disk_gb":11,"o":{"k" :[1]}}"#;
    let path = format!("/jobs/{}/train", world.chute_id);
    let job = world.user.send(Method::POST, &path, args.into(), &[]).await.ok();
    let assignment = claim(&world.miner, &text(&job["job_id"]), Value::Null).await;
    assert!(
        String::from_utf8_lossy(&assignment.bytes).contains(&format!("\"job_data\":{args},")),
        "{}",
        assignment.body
    );
}

#[tokio::test]
async fn a_lease_is_the_methods_timeout_and_the_upload_window() {
    let world = World::new().await;
    let stack = local::Stack::start().await.unwrap();
    stack.clock().set(1_795_000_000_000);
    let train = tests::Job::on(&stack).await;
    let claims = tests::parts_of(&train.token).1;
    assert_eq!(claims["iat"], 1_795_000_000);
    assert_eq!(claims["exp"], 1_795_000_000 + 3600 + 2 * 3600);

    let ports = json!({"port_mappings": [{"internal_port": 2222, "external_port": 1, "proto": "tcp"}]});
    let serve = world.claim_with(&job_with_port(&world).await, ports).await;
    let claims = tests::parts_of(&serve.token).1;
    let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lives, 30 * 86_400 + 2 * 3600, "no timeout is the longest");
}

#[tokio::test]
async fn a_job_whose_token_cannot_be_signed_is_not_taken() {
    let night = Night::begin().await;
    let (miner, job_id) = (night.miner().await, night.create("train").await);
    night.fail(Some("GetSecretValue"), Fault::FailBefore(500));
    night.try_claim(&miner, &job_id).await.is_error(503, "Service busy, please try again");
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&"pending".into(), &0.into()));
    night.fail(None, Fault::None);
    night.claim(&miner, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn defect_7_the_owner_sees_where_the_job_runs() {
    let world = World::new().await;
    let job_id = job_with_port(&world).await;
    let ports = json!([
        {"internal_port": 2222, "external_port": 30022, "proto": "tcp"},
        {"internal_port": 80, "external_port": 30080, "proto": "http"},
    ]);
    let instance = json!({"instance_id": "gpu-7", "region": "eu", "host": "192.0.2.7", "port_mappings": ports});
    claim(&world.miner, &job_id, instance).await.ok();
    let job = world.get(&job_id).await;
    assert_eq!((&job["host"], &job["instance_id"]), (&"192.0.2.7".into(), &"gpu-7".into()));
    assert_eq!(job["port_mappings"], ports);
    assert_eq!((&job["instance"]["region"], &job["instance"]["active"]), (&"eu".into(), &true.into()));
}

#[tokio::test]
async fn the_winner_may_ask_again_and_gets_the_same_assignment() {
    let world = World::new().await;
    let job_id = world.create().await;
    let first = claim(&world.miner, &job_id, json!({"host": "192.0.2.7"})).await.ok();
    assert_eq!(claim(&world.miner, &job_id, json!({"host": "192.0.2.7"})).await.ok(), first);
    assert_eq!(claim(&world.miner, &job_id, Value::Null).await.ok(), first);
    assert_eq!(world.get(&job_id).await["host"], "192.0.2.7");

    let report = json!({"status": "complete", "output_filenames": ["a.txt"]});
    Client::nobody().post(&text(&first["job_status_url"]), report).await.ok();
    assert_eq!(claim(&world.miner, &job_id, Value::Null).await.ok()["job_status_url"], first["job_status_url"]);
    Client::nobody().put(&text(&first["job_status_url"]), Value::Null).await.ok();
    claim(&world.miner, &job_id, Value::Null).await.is_error(409, &taken(&job_id));
}

#[tokio::test]
async fn workers_that_share_a_key_are_as_different_as_miners() {
    let world = World::new().await;
    let (_, key) = World::account(json!(["miner"])).await;
    let shared = Client::with_key(key);
    let job_id = world.create().await;
    let as_worker = async |worker: &str| claim(&shared, &job_id, json!({"worker": worker})).await;
    let workers: Vec<_> = (0..8).map(|number| format!("gpu-{number}")).collect();
    let answers = join_all(workers.iter().map(|worker| as_worker(worker))).await;
    let (winners, losers): (Vec<_>, Vec<_>) =
        workers.iter().zip(&answers).partition(|(_, answer)| answer.status == 200);
    assert_eq!((winners.len(), losers.len()), (1, 7));
    for (loser, answer) in losers {
        answer.is_error(409, &taken(&job_id));
        as_worker(loser).await.is_error(409, &taken(&job_id));
    }
    let (winner, assignment) = winners[0];
    assert_eq!(as_worker(winner).await.ok(), assignment.body, "a lost answer can be asked for again");
    claim(&shared, &job_id, Value::Null).await.is_error(409, &taken(&job_id));

    // A miner that names no worker is one.
    let job_id = world.create().await;
    let first = claim(&shared, &job_id, Value::Null).await.ok();
    assert_eq!(claim(&shared, &job_id, json!({"worker": null})).await.ok(), first);
    claim(&shared, &job_id, json!({"worker": "gpu-1"})).await.is_error(409, &taken(&job_id));
}

#[tokio::test]
async fn a_worker_has_a_name_of_1_to_64_characters() {
    let world = World::new().await;
    let job_id = world.create().await;
    let longest = "ü".repeat(64);
    for worker in [json!(""), json!("x".repeat(65)), json!(1), json!(["a"])] {
        let (status, detail) = claim(&world.miner, &job_id, json!({"worker": worker})).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", "worker"])), "{worker}");
        assert_eq!(detail[0]["msg"], "Input should be a string of 1 to 64 characters");
    }
    claim(&world.miner, &job_id, json!({"worker": longest})).await.ok();
}

#[tokio::test]
async fn a_job_that_is_taken_or_over_is_nobody_elses() {
    let world = World::new().await;
    let other = World::another_miner().await;
    let running = world.claimed().await;
    let (uploading, _) = world.finished(&["a.txt"]).await;
    let (complete, _) = world.completed(&[]).await;
    for job_id in [&running.job_id, &uploading.job_id, &complete.job_id] {
        let before = world.get(job_id).await;
        claim(&other, job_id, json!({"host": "203.0.113.1"})).await.is_error(409, &taken(job_id));
        assert_eq!(world.get(job_id).await, before);
    }
}

#[tokio::test]
async fn defect_14_of_many_claims_at_once_one_wins_and_stays() {
    let world = World::new().await;
    let job_id = world.create().await;
    let miners = join_all((0..32).map(|_| World::another_miner())).await;
    let answers = join_all(miners.iter().map(|miner| claim(miner, &job_id, Value::Null))).await;
    let (winners, losers): (Vec<_>, Vec<_>) = miners.iter().zip(&answers).partition(|(_, answer)| answer.status == 200);
    assert_eq!((winners.len(), losers.len()), (1, 31));
    for (_, answer) in &losers {
        answer.is_error(409, &taken(&job_id));
    }
    let (winner, assignment) = winners[0];
    assert_eq!(claim(winner, &job_id, Value::Null).await.ok(), assignment.body);
    for (loser, _) in losers {
        claim(loser, &job_id, Value::Null).await.is_error(409, &taken(&job_id));
    }
    assert_eq!(claim(winner, &job_id, Value::Null).await.ok(), assignment.body);
    let url = text(&assignment.body["job_status_url"]);
    let finished = Client::nobody().post(&url, json!({"status": "complete", "result": 1})).await.ok();
    assert_eq!((&finished["attempt"], &finished["result"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn a_miner_with_an_api_key_is_its_account() {
    let world = World::new().await;
    let (miner_id, key) = World::account(json!(["miner"])).await;
    let second = World::admin(json!({"command": "create_key", "user_id": miner_id})).await;
    let job_id = world.create().await;
    let first = claim(&Client::with_key(key), &job_id, Value::Null).await.ok();
    assert_eq!(claim(&Client::with_key(text(&second["key"])), &job_id, Value::Null).await.ok(), first);
    assert_eq!(world.get(&job_id).await["miner_hotkey"], Value::Null);
    claim(&world.miner, &job_id, Value::Null).await.is_error(409, &taken(&job_id));
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found() {
    let world = World::new().await;
    for id in [Uuid::new_v4().to_string(), "nonsense".to_owned(), "1".to_owned()] {
        let detail = format!("job_id='{id}' not found!");
        claim(&world.miner, &id, Value::Null).await.is_error(404, &detail);
        claim(&world.miner, &id, json!({"host": 1})).await.is_error(404, &detail);
    }
}

#[tokio::test]
async fn every_declared_port_has_to_be_mapped() {
    let world = World::new().await;
    let job_id = job_with_port(&world).await;
    let mapping = |port: u16, proto: &str| json!({"internal_port": port, "external_port": 30022, "proto": proto});
    for mappings in [
        Value::Null,
        json!([]),
        json!([mapping(2222, "udp")]),
        json!([mapping(2223, "tcp")]),
        json!([mapping(2223, "tcp"), mapping(2222, "TCP")]),
    ] {
        let (status, detail) = claim(&world.miner, &job_id, json!({"port_mappings": mappings})).await.error();
        assert_eq!((status, &detail[0]["msg"]), (422, &"Port 2222/tcp is not mapped".into()), "{mappings}");
        assert_eq!(detail[0]["loc"], json!(["body", "port_mappings"]));
    }
    assert_eq!(claim(&world.miner, &job_id, Value::Null).await.status, 422);
    assert_eq!(world.get(&job_id).await["status"], "pending");
    claim(&world.miner, &job_id, json!({"port_mappings": [mapping(80, "http"), mapping(2222, "tcp")]})).await.ok();
}

#[tokio::test]
async fn every_field_of_the_wrong_type_is_named() {
    let world = World::new().await;
    let job_id = world.create().await;
    let body = json!({"instance_id": 1, "region": ["eu"], "host": false, "port_mappings": "22:22"});
    let answer = claim(&world.miner, &job_id, body).await;
    assert_eq!(answer.status, 422);
    let errors = answer.body["detail"].as_array().unwrap();
    let line = |error: &Value| format!("{} {} {} {}", error["type"], error["loc"], error["msg"], error["input"]);
    insta::assert_snapshot!(errors.iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    "string_type" ["body","instance_id"] "Input should be a valid string" 1
    "string_type" ["body","region"] "Input should be a valid string" ["eu"]
    "string_type" ["body","host"] "Input should be a valid string" false
    "value_error" ["body","port_mappings"] "Input should be a list of objects with internal_port, external_port and proto" "22:22"
    "#);
    for mapping in [
        json!({}),
        json!({"internal_port": 1, "external_port": 1}),
        json!({"internal_port": -1, "external_port": 1, "proto": "tcp"}),
        json!({"internal_port": 65536, "external_port": 1, "proto": "tcp"}),
        json!({"internal_port": "22", "external_port": 1, "proto": "tcp"}),
        json!({"internal_port": 22.5, "external_port": 1, "proto": "tcp"}),
        json!({"internal_port": 22, "external_port": 1, "proto": null}),
        json!([22, 22]),
    ] {
        let (status, detail) = claim(&world.miner, &job_id, json!({"port_mappings": [mapping]})).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", "port_mappings"])), "{mapping}");
    }
    let nulls = json!({"instance_id": null, "region": null, "host": null, "port_mappings": null, "unknown": [1]});
    claim(&world.miner, &job_id, nulls).await.ok();
    let job = world.get(&job_id).await;
    assert_eq!((&job["instance"], &job["host"], &job["port_mappings"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_body_that_is_no_small_json_object_claims_nothing() {
    let world = World::new().await;
    let job_id = world.create().await;
    let path = format!("/jobs/{job_id}/claim");
    let send = async |body: &[u8]| world.miner.send(Method::PUT, &path, body.to_vec(), &[]).await;
    for (body, kind) in [
        (&b"{"[..], "json_invalid"),
        (b"{\"host\":NaN}", "json_invalid"),
        (b"{\"host\":\"\xff\"}", "json_invalid"),
        (b"[]", "dict_type"),
        (b"null", "dict_type"),
    ] {
        let (status, detail) = send(body).await.error();
        assert_eq!((status, &detail[0]["type"]), (422, &kind.into()), "{}", body.escape_ascii());
    }
    let long = format!("{{\"host\":\"{}\"}}", "x".repeat(16 << 10));
    send(long.as_bytes()).await.is_error(413, "Request body is larger than 16384 bytes");
    assert_eq!(world.get(&job_id).await["status"], "pending");
    assert_eq!(send(b"{}").await.ok()["attempt"], 1);
}

#[tokio::test]
async fn a_port_may_be_written_as_any_whole_number() {
    let world = World::new().await;
    let job_id = text(&world.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"]);
    let claim =
        |port: f64| json!({"port_mappings": [{"internal_port": 2222.0, "external_port": port, "proto": "tcp"}]});
    for port in [0.5, -1.0, 65536.0] {
        let (status, _) = world.miner.put(&format!("/jobs/{job_id}/claim"), claim(port)).await.error();
        assert_eq!(status, 422, "{port}");
    }
    world.claim_with(&job_id, claim(30022.0)).await;
    let mapping = &world.get(&job_id).await["port_mappings"][0];
    assert_eq!(*mapping, json!({"internal_port": 2222, "external_port": 30022, "proto": "tcp"}));
}
