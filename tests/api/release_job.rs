//! `PUT /jobs/{job_id}/release?token=`.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Answer, Client, Job, Night, World, item, text};

async fn release(path: &str) -> Answer {
    Client::nobody().put(&path.replace("?token=", "/release?token="), json!({"reason": "spot shutdown"})).await
}

fn released(job_id: &str) -> Value {
    json!({"released": true, "job_id": job_id})
}

async fn claimable(night: &Night, miner: &Client) -> Vec<String> {
    let list = miner.get(&night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id))).await.ok();
    list["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

#[tokio::test]
async fn a_released_job_is_pending_at_once_and_its_attempt_does_not_count() {
    let world = World::new().await;
    // It is tried once.
    let before = world.create().await;
    let job = world.claimed().await;
    let answer = release(&job.path).await;
    assert_eq!(answer.engine_calls(), (2, 0));
    assert_eq!(answer.ok(), released(&job.job_id));
    let now = world.get(&job.job_id).await;
    assert_eq!((&now["status"], &now["attempt"], &now["max_attempts"]), (&"pending".into(), &1.into(), &2.into()));
    for gone in ["started_at", "deadline_at", "miner_hotkey", "instance", "host", "error_detail"] {
        assert_eq!(now[gone], Value::Null, "{gone}");
    }
    let list = format!("/jobs/claimable?chute_id={}", world.chute_id);
    let list = world.miner.get(&list).await.ok();
    let list: Vec<_> = list["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect();
    assert_eq!(list, [before, job.job_id.clone()], "in its old place");

    let other = World::another_miner().await;
    let again = other.put(&format!("/jobs/{}/claim", job.job_id), Value::Null).await.ok();
    assert_eq!(again["attempt"], 2);
    let done = Client::nobody().post(&text(&again["job_status_url"]), json!({"status": "complete"})).await.ok();
    assert_eq!(done["status"], "complete");
}

#[tokio::test]
async fn a_released_job_that_is_lost_then_has_as_many_attempts_as_before() {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let job = night.claim(&night.miner().await, &job_id).await;
    release(&job).await.ok();
    let job = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&job.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(200));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    assert_eq!(night.get(&job_id).await["error_detail"], "No result after 2 of 2 attempts");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn who_released_a_job_is_refused_it_for_five_minutes() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let (miner, job_id) = (night.miner().await, night.create("train").await);
    let job = night.claim(&miner, &job_id).await;
    release(&job).await.ok();
    let detail = format!("Your hotkey has already attempted to claim job_id='{job_id}'");
    night.try_claim(&miner, &job_id).await.is_error(403, &detail);
    night.is_withheld_for_five_minutes(&miner, &job_id).await;
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_release_may_be_repeated_also_when_another_miner_has_the_job() {
    let world = World::new().await;
    let job = world.claimed().await;
    for _ in 0..2 {
        assert_eq!(release(&job.path).await.ok(), released(&job.job_id));
    }
    let other = World::another_miner().await;
    let claim = format!("/jobs/{}/claim", job.job_id);
    let again = other.put(&claim, Value::Null).await.ok();
    let running = world.get(&job.job_id).await;
    assert_eq!(release(&job.path).await.ok(), released(&job.job_id));
    assert_eq!(world.get(&job.job_id).await, running, "the other miner keeps it");
    // On all its other routes the token is worth nothing.
    job.finish(json!({"status": "complete"})).await.is_error(401, "Missing or invalid JWT");
    Client::nobody().post(&text(&again["job_status_url"]), json!({"status": "complete"})).await.ok();
    assert_eq!(release(&job.path).await.ok(), released(&job.job_id));
}

#[tokio::test]
async fn a_job_that_was_lost_is_not_released_by_who_lost_it() {
    let night = Night::begin().await;
    let job_id = night.create("serve").await;
    let job = night.claim(&night.miner().await, &job_id).await;
    Client::nobody().put(&job.replace("?token=", "/heartbeat?token="), Value::Null).await.ok();
    night.stack.clock().advance(Duration::from_secs(200));
    assert_eq!(night.reap().await, json!({"requeued": 1}));
    release(&job).await.is_error(401, "Missing or invalid JWT");
    let other = night.claim(&night.miner().await, &job_id).await;
    release(&job).await.is_error(401, "Missing or invalid JWT");
    assert_eq!(night.get(&job_id).await["status"], "running");
    assert_eq!(release(&other).await.ok(), released(&job_id));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn after_the_report_it_is_too_late() {
    let world = World::new().await;
    let (uploading, _) = world.finished(&["a"]).await;
    let (complete, _) = world.completed(&[]).await;
    let cancelled = world.claimed().await;
    World::admin(json!({"command": "cancel_job", "job_id": cancelled.job_id})).await;
    for job in [&uploading, &complete, &cancelled] {
        let before = world.get(&job.job_id).await;
        release(&job.path).await.is_error(400, "Job already finished");
        assert_eq!(world.get(&job.job_id).await, before);
    }
}

#[tokio::test]
async fn a_job_that_is_gone_is_not_found() {
    let world = World::new().await;
    let (running, given_back) = (world.claimed().await, world.claimed().await);
    release(&given_back.path).await.ok();
    for job in [&running, &given_back] {
        world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
        release(&job.path).await.is_error(404, &format!("job_id='{}' not found!", job.job_id));
    }
}

#[tokio::test]
async fn only_the_jobs_own_token_releases_it() {
    let world = World::new().await;
    let (job, other) = (world.claimed().await, world.claimed().await);
    let missing = Client::nobody().put(&format!("/jobs/{}/release", job.job_id), Value::Null).await;
    assert_eq!((missing.status, &missing.body["detail"][0]["loc"]), (422, &json!(["query", "token"])));
    for token in ["nonsense", &other.token] {
        release(&job.with_token(token).path).await.is_error(401, "Missing or invalid JWT");
    }
    let (reported, answer) = world.finished(&["a"]).await;
    let renew = text(&answer["uploads"][0]["renew_url"]);
    let of_file = renew.split_once("?token=").unwrap().1;
    release(&reported.with_token(of_file).path).await.is_error(401, "Missing or invalid JWT");
    assert_eq!(world.get(&job.job_id).await["status"], "running");
}

#[tokio::test]
async fn a_body_that_is_wrong_releases_nothing() {
    let world = World::new().await;
    let job = world.claimed().await;
    let path = job.path.replace("?token=", "/release?token=");
    let answer = Client::nobody().put(&path, json!({"reason": 1})).await;
    assert_eq!((answer.status, &answer.body["detail"][0]["loc"]), (422, &json!(["body", "reason"])));
    let answer = Client::nobody().put(&path, json!({"reason": "a\u{1b}b"})).await;
    assert_eq!((answer.status, &answer.body["detail"][0]["loc"]), (422, &json!(["body", "reason"])));
    let long = json!({"reason": "x".repeat(4 << 10)});
    Client::nobody().put(&path, long).await.is_error(413, "Request body is larger than 4096 bytes");
    assert_eq!(world.get(&job.job_id).await["status"], "running");
    assert_eq!(Client::nobody().put(&path, Value::Null).await.ok(), released(&job.job_id));
}

#[tokio::test]
async fn a_heartbeat_after_the_release_holds_nothing() {
    let world = World::new().await;
    let job = world.claimed().await;
    let beat = job.path.replace("?token=", "/heartbeat?token=");
    Client::nobody().put(&beat, json!({"progress": 0.5})).await.ok();
    release(&job.path).await.ok();
    let pending = world.get(&job.job_id).await;
    Client::nobody().put(&beat, json!({"progress": 0.9})).await;
    assert_eq!(world.get(&job.job_id).await["status"], "pending");
    let other = World::another_miner().await;
    let again = other.put(&format!("/jobs/{}/claim", job.job_id), Value::Null).await.ok();
    let next = text(&again["job_status_url"]).replace("?token=", "/heartbeat?token=");
    assert_eq!(Client::nobody().put(&next, json!({"progress": 0.1})).await.ok()["cancelled"], false);
    Client::nobody().put(&beat, json!({"progress": 0.9})).await.is_error(401, "Missing or invalid JWT");
    assert_eq!((&pending["status"], &world.get(&job.job_id).await["progress"]), (&"pending".into(), &0.1.into()));
}

#[tokio::test]
async fn a_job_whose_owner_was_disabled_ends_where_it_would_wait() {
    for method in ["train", "serve"] {
        let night = Night::begin().await;
        let (miner, job_id) = (night.miner().await, night.create(method).await);
        let job = night.claim(&miner, &job_id).await;
        let disable = json!({"command": "disable_user", "user_id": night.user_id});
        night.stack.invoke("admin", disable).await.unwrap();
        for _ in 0..2 {
            assert_eq!(release(&job).await.ok(), released(&job_id));
        }
        let stored = item(&night.stack, "JobsTable", "job_id", &job_id).await;
        assert_eq!((&stored["status"]["S"], &stored["terminal"]["BOOL"]), (&"timeout".into(), &true.into()), "{method}");
        assert_eq!(claimable(&night, &miner).await, Vec::<String>::new());
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn of_a_release_and_a_report_at_once_one_is_done() {
    let world = World::new().await;
    for _ in 0..8 {
        let job: Job = world.claimed().await;
        let (given_back, reported) = tokio::join!(release(&job.path), job.finish(json!({"status": "complete"})));
        let status = text(&world.get(&job.job_id).await["status"]);
        match given_back.status {
            200 => assert_eq!((reported.status, status.as_str()), (401, "pending"), "{}", reported.body),
            _ => {
                given_back.is_error(400, "Job already finished");
                assert_eq!((reported.status, status.as_str()), (200, "complete"));
            }
        }
    }
}
