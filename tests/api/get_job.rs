//! `GET /jobs/{job_id}`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Night, World, redacted, text, upload_to};

#[tokio::test]
async fn the_owner_sees_every_field_of_the_contract() {
    let world = World::new().await;
    let job = world.get(&world.create().await).await;
    let fields: Vec<_> = job.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(fields.join(" "), @"job_id user_id chute_id version chutes_version method instance_id host active verified created_at last_queried_at updated_at finished_at job_args inputs result output_files port_mappings chute instance output_storage_urls status terminal error_detail started_at deadline_at expires_at kept_until labels webhook cancel_requested_at attempt max_attempts progress log_bytes miner_hotkey");
    assert_eq!(job["status"], "pending");
    assert_eq!(job["terminal"], false);
    assert_eq!(job["user_id"], world.user_id);
    assert_eq!(job["job_args"], json!({"epochs": 3, "_disk_gb": 10}));
    assert_eq!(job["output_storage_urls"], json!({}));
}

#[tokio::test]
async fn a_complete_job_shows_its_miner_its_result_and_its_files() {
    let world = World::new().await;
    let job_id = text(&world.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"]);
    let claim = json!({
        "instance_id": "gpu-7", "region": "eu", "host": "192.0.2.7",
        "port_mappings": [{"internal_port": 2222, "external_port": 30022, "proto": "tcp"}],
    });
    let job = world.claim_with(&job_id, claim).await;
    let files = json!([{"filename": "a/model.bin", "size": 3, "content_type": "model/x"}]);
    let report = json!({"status": "complete", "result": {"loss": 0.5}, "output_files": files});
    let finished = job.finish(report).await.ok();
    let target = &finished["uploads"][0];
    assert_eq!(upload_to(target, b"abc").await.status, 200);
    job.complete().await.ok();

    let seen = world.get(&job_id).await;
    let file_id = text(&target["file_id"]);
    let day = &text(&seen["created_at"])[..10];
    let names = [
        ("job", job_id.as_str()),
        ("user", &world.user_id),
        ("chute", &world.chute_id),
        ("hotkey", &world.hotkey.address),
        ("day", day),
        ("file", &file_id),
    ];
    insta::assert_snapshot!(redacted(&seen, &names), @r#"
    {
      "job_id": "[job]",
      "user_id": "[user]",
      "chute_id": "[chute]",
      "version": "v1",
      "chutes_version": "0.3.1",
      "method": "serve",
      "instance_id": "gpu-7",
      "host": "192.0.2.7",
      "active": false,
      "verified": true,
      "created_at": "[time]",
      "last_queried_at": null,
      "updated_at": "[time]",
      "finished_at": "[time]",
      "job_args": {
        "_disk_gb": 10
      },
      "inputs": null,
      "result": {
        "loss": 0.5
      },
      "output_files": {
        "[file]": {
          "filename": "a/model.bin",
          "path": "jobs/[chute]/[day]/[job]/outputs/a/model.bin",
          "uploaded": true,
          "size": 3,
          "sha256": null,
          "content_type": "model/x"
        }
      },
      "port_mappings": [
        {
          "internal_port": 2222,
          "external_port": 30022,
          "proto": "tcp"
        }
      ],
      "chute": {
        "chute_id": "[chute]",
        "name": "trainer",
        "public": true,
        "version": "v1",
        "slug": "acme-trainer",
        "chutes_version": "0.3.1",
        "preemptible": false,
        "image": {
          "image_id": "00000000-0000-0000-0000-000000000000",
          "name": "trainer",
          "tag": "1.0",
          "public": true,
          "patch_version": "initial"
        }
      },
      "instance": {
        "instance_id": "gpu-7",
        "region": "eu",
        "active": false,
        "verified": true,
        "last_verified_at": "[time]"
      },
      "output_storage_urls": {},
      "status": "complete",
      "terminal": true,
      "error_detail": null,
      "started_at": "[time]",
      "deadline_at": "[time]",
      "expires_at": null,
      "kept_until": "[time]",
      "labels": [],
      "webhook": null,
      "cancel_requested_at": null,
      "attempt": 1,
      "max_attempts": 3,
      "progress": null,
      "log_bytes": null,
      "miner_hotkey": "[hotkey]"
    }
    "#);
    assert!(seen["updated_at"].as_str() >= seen["finished_at"].as_str(), "{seen}");
    assert!(seen["finished_at"].as_str() >= seen["started_at"].as_str(), "{seen}");
}

#[tokio::test]
async fn defect_3_a_result_of_any_json_is_shown_as_it_was_reported() {
    let world = World::new().await;
    for result in
        [json!({"z": [1, {"a": null}]}), json!([1, "two"]), json!("text"), json!(7), json!(false), Value::Null]
    {
        let job = world.claimed().await;
        job.finish(json!({"status": "complete", "result": result})).await.ok();
        assert_eq!(world.get(&job.job_id).await["result"], result);
    }
}

#[tokio::test]
async fn nobody_else_sees_the_job() {
    let world = World::new().await;
    let job_id = world.create().await;
    let path = format!("/jobs/{job_id}");
    let detail = format!("Job {job_id} not found or does not belong to you");
    let (_, key) = World::account(json!([])).await;
    Client::with_key(key).get(&path).await.is_error(404, &detail);
    world.miner.get(&path).await.is_error(404, &detail);
    world.miner.put(&format!("{path}/claim"), Value::Null).await.ok();
    world.miner.get(&path).await.is_error(404, &detail);
    Client::nobody().get(&path).await.is_error(401, "Missing or invalid authorization header(s)");
}

#[tokio::test]
async fn an_id_that_names_no_job_is_not_found() {
    let world = World::new().await;
    for (id, shown) in [
        ("00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000"),
        ("nonsense", "nonsense"),
        ("1", "1"),
        ("%00", "\0"),
        ("%C3%BC", "ü"),
        ("a%20b", "a b"),
        ("%22%0D%0A", "\"\r\n"),
        ("..%2Fjobs", "../jobs"),
        (&"x".repeat(1900), &"x".repeat(1900)),
    ] {
        let detail = format!("Job {shown} not found or does not belong to you");
        world.user.get(&format!("/jobs/{id}")).await.is_error(404, &detail);
    }
    // As much of a longer one comes back as tells which it was.
    let (status, detail) = world.user.get(&format!("/jobs/{}", "x".repeat(8000))).await.error();
    assert_eq!((status, text(&detail)), (404, format!("Job {}…", "x".repeat(1996))));
}

#[tokio::test]
async fn a_job_is_found_by_any_spelling_of_its_id() {
    let world = World::new().await;
    let job_id = world.create().await;
    for spelling in [job_id.to_uppercase(), job_id.replace('-', "")] {
        assert_eq!(world.get(&spelling).await["job_id"], job_id);
    }
}

#[tokio::test]
async fn an_answer_is_kept_by_no_cache() {
    let world = World::new().await;
    let answer = world.user.get(&format!("/jobs/{}", world.create().await)).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn the_view_of_the_status_leaves_out_what_the_job_carries() {
    let world = World::new().await;
    let (running, (complete, _)) = (world.claimed().await, world.completed(&[("a", b"x")]).await);
    for job_id in [world.create().await, running.job_id, complete.job_id] {
        let mut whole = world.get(&job_id).await;
        let status = world.user.get(&format!("/jobs/{job_id}?view=status")).await;
        assert_eq!(status.engine_calls(), (1, 0));
        assert_ne!(whole["job_args"], Value::Null);
        for field in ["job_args", "result", "output_files"] {
            whole[field] = Value::Null;
        }
        assert_eq!(status.ok(), whole);
    }
}

#[tokio::test]
async fn an_unknown_view_is_named() {
    let world = World::new().await;
    let path = format!("/jobs/{}", world.create().await);
    for view in ["", "whole", "STATUS", "status,status"] {
        let (status, detail) = world.user.get(&format!("{path}?view={view}")).await.error();
        let named = json!([{
            "type": "value_error", "loc": ["query", "view"], "msg": "Input should be 'status'", "input": view,
        }]);
        assert_eq!((status, detail), (422, named));
    }
    Client::nobody().get(&format!("{path}?view=x")).await.is_error(401, "Missing or invalid authorization header(s)");
    let (_, key) = World::account(json!([])).await;
    assert_eq!(Client::with_key(key).get(&format!("{path}?view=x")).await.status, 404);
}

#[tokio::test]
async fn whoever_polls_is_told_how_often() {
    let night = Night::begin().await;
    // The clock stands still.
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    let again = async || {
        let path = night.url(&format!("/jobs/{job_id}"));
        let (whole, status) = (night.user.get(&path).await, night.user.get(&format!("{path}?view=status")).await);
        assert_eq!(whole.header("retry-after"), status.header("retry-after"));
        whole.header("retry-after").map(str::to_owned)
    };
    let after = async |seconds: u64| {
        night.stack.clock().advance(Duration::from_secs(seconds));
        again().await
    };
    let told = |seconds: &str| Some(seconds.to_owned());
    // A tenth of the time since the last change, 1 to 300.
    assert_eq!((again().await, after(19).await, after(1).await), (told("1"), told("1"), told("2")));
    assert_eq!((after(2990).await, after(20_000).await), (told("300"), told("300")));
    let url = night.claim(&miner, &job_id).await;
    assert_eq!((again().await, after(50).await), (told("1"), told("5")));
    // A heartbeat, and a file that arrives, are no change of its state.
    Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await.ok();
    assert_eq!(again().await, told("5"));
    let report = json!({"status": "complete", "output_filenames": ["a", "b"]});
    Client::nobody().post(&url, report).await.ok();
    assert_eq!((again().await, after(40).await), (told("1"), told("4")));
    let form = tests::Form::of("a", b"x");
    let headers = [("content-type", tests::Form::CONTENT_TYPE)];
    let upload = url.replace("?token=", "/upload?token=");
    assert_eq!(Client::nobody().send(reqwest::Method::PUT, &upload, form, &headers).await.status, 200);
    assert_eq!(again().await, told("4"));
    Client::nobody().put(&url, Value::Null).await.ok();
    assert_eq!((again().await, after(100).await), (None, None));
    night.stack.shutdown().await;
}
