//! `PUT /jobs/claim?chute_id=…`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use local::Fault;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Night, World, chute, patient, redacted, stack, text};
use uuid::Uuid;

const TEN: i64 = 1_795_000_000_000;

async fn next(miner: &Client, chutes: &[&str], body: Value) -> Answer {
    let query: Vec<_> = chutes.iter().map(|chute_id| format!("chute_id={chute_id}")).collect();
    miner.put(&format!("/jobs/claim?{}", query.join("&")), body).await
}

/// The same on a stack of the test's own.
async fn next_of(night: &Night, miner: &Client, worker: Option<&str>) -> Answer {
    let path = format!("/jobs/claim?chute_id={}", night.chute_id);
    miner.put(&night.url(&path), json!({"worker": worker})).await
}

fn id(answer: Answer) -> String {
    text(&answer.ok()["job_id"])
}

#[track_caller]
fn is_nothing(answer: &Answer) -> i64 {
    assert_eq!((answer.status, answer.bytes.len()), (204, 0), "{}", answer.body);
    answer.header("retry-after").expect("when to ask again").parse().unwrap()
}

/// Another chute of the world's user.
async fn another_chute(world: &World, more: Value) -> String {
    let mut other = chute(&Uuid::new_v4().to_string(), &world.user_id);
    for (name, value) in more.as_object().unwrap() {
        other[name] = value.clone();
    }
    World::admin(json!({"command": "put_chute", "chute": other})).await;
    text(&other["chute_id"])
}

async fn create(world: &World, chute_id: &str, method: &str) -> String {
    text(&world.user.post(&format!("/jobs/{chute_id}/{method}"), json!({})).await.ok()["job_id"])
}

#[tokio::test]
async fn the_longest_waiting_job_is_claimed_as_if_it_had_been_asked_for() {
    let world = World::new().await;
    let (first, second) = (world.create().await, world.create().await);
    let answer = next(&world.miner, &[&world.chute_id], json!({"host": "192.0.2.7"})).await;
    // The caller, whose hotkey it is, the queue, the job, and the claim.
    assert_eq!(answer.engine_calls(), (5, 0));
    let assignment = answer.ok();
    let url = text(&assignment["job_status_url"]);
    let token = url.split_once("?token=").unwrap().1;
    let names = [("token", token), ("job", first.as_str()), ("api", stack().url())];
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
    let job = world.get(&first).await;
    assert_eq!((&job["status"], &job["host"]), (&"running".into(), &"192.0.2.7".into()));
    assert_eq!(job["miner_hotkey"], world.hotkey.address);
    let again = world.miner.put(&format!("/jobs/{first}/claim"), Value::Null).await.ok();
    assert_eq!(again, assignment);
    assert_eq!(Client::nobody().post(&url, json!({"status": "complete"})).await.ok()["status"], "complete");
    assert_eq!(world.get(&second).await["status"], "pending");
}

#[tokio::test]
async fn one_after_the_other_they_come_in_the_order_of_their_creation_over_all_chutes() {
    let world = World::new().await;
    let other = another_chute(&world, json!({"public": false})).await;
    let mut created = Vec::new();
    for number in 0..12 {
        created.push(create(&world, if number % 3 == 1 { &other } else { &world.chute_id }, "train").await);
    }
    let unrelated = World::new().await.create().await;
    let mut taken = Vec::new();
    for _ in 0..12 {
        taken.push(id(next(&world.miner, &[&world.chute_id, &other, &other], Value::Null).await));
    }
    assert_eq!(taken, created);
    is_nothing(&next(&world.miner, &[&world.chute_id, &other], Value::Null).await);
    assert!(!taken.contains(&unrelated));
}

/// The conditional writes of so many workers on as many jobs, which each get one.
async fn writes_of(number: usize, busy: bool, with_hotkeys: bool) -> usize {
    // They come at once, and the local stack has 16 of them under way at a time: as many as two processors have room for.
    let stack = patient().start().await.unwrap();
    let night = Night::on(stack).await;
    if busy {
        let mut own = chute(&night.chute_id, &night.user_id);
        own["busy"] = true.into();
        night.stack.invoke("admin", json!({"command": "put_chute", "chute": own})).await.unwrap();
    }
    let miner = night.miner().await;
    let mut jobs = BTreeSet::new();
    for _ in 0..number {
        jobs.insert(night.create("train").await);
    }
    let writes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&writes);
    night.stack.set_faults(move |call| {
        let is_write = ["UpdateItem", "TransactWriteItems"].contains(&call.operation.as_str());
        counter.fetch_add((is_write && call.function.as_deref() == Some("claim-next-job")).into(), Ordering::Relaxed);
        Fault::None
    });
    let mut miners = Vec::new();
    for _ in 0..number {
        miners.push(if with_hotkeys { Client::with_hotkey(night.hotkey(None).await) } else { miner.clone() });
    }
    let workers: Vec<_> = (0..number).map(|number| format!("gpu-{number}")).collect();
    let asked = workers.iter().zip(&miners).map(|(worker, miner)| next_of(&night, miner, Some(worker)));
    let taken: BTreeSet<_> = join_all(asked).await.into_iter().map(id).collect();
    assert_eq!(taken, jobs, "each gets a job of its own");
    let writes = writes.load(Ordering::Relaxed);
    println!("{writes} conditional writes for {number} jobs, busy: {busy}, with hotkeys: {with_hotkeys}");
    is_nothing(&next_of(&night, &miner, Some("late")).await);
    night.stack.shutdown().await;
    writes
}

#[tokio::test]
async fn of_64_workers_on_64_jobs_each_gets_one_for_little_more_than_a_write() {
    // Of a busy chute, each asks 16 shards at the same time.
    let (mut jobs, mut writes) = (0, 0);
    for (number, busy, with_hotkeys) in [(64, false, false), (64, false, true), (24, true, false)] {
        jobs += number;
        writes += writes_of(number, busy, with_hotkeys).await;
    }
    assert!(writes >= jobs && writes * 10 <= jobs * 13, "{writes} conditional writes for {jobs} jobs");
}

#[tokio::test]
async fn workers_on_one_job_leave_it_to_one_and_go_away_without_a_409() {
    let world = World::new().await;
    let job_id = world.create().await;
    let workers: Vec<_> = (0..16).map(|number| json!({"worker": number.to_string()})).collect();
    let chutes = [world.chute_id.as_str()];
    let answers = join_all(workers.iter().map(|body| next(&world.miner, &chutes, body.clone()))).await;
    let (winners, losers): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((winners.len(), &winners[0].body["job_id"]), (1, &job_id.into()));
    for loser in losers {
        is_nothing(&loser);
    }
}

#[tokio::test]
async fn every_shard_of_a_busy_chute_is_looked_into() {
    let world = World::new().await;
    let busy = another_chute(&world, json!({"busy": true})).await;
    let created: Vec<_> = join_all((0..40).map(|_| create(&world, &busy, "train"))).await;
    let mut taken = Vec::new();
    for _ in 0..40 {
        taken.push(id(next(&world.miner, &[&busy], Value::Null).await));
    }
    assert_eq!(taken.iter().collect::<BTreeSet<_>>(), created.iter().collect());
    is_nothing(&next(&world.miner, &[&busy], Value::Null).await);
}

#[tokio::test]
async fn a_worker_that_asks_again_gets_the_job_that_it_was_given() {
    let night = Night::begin().await;
    night.stack.clock().set(TEN);
    let miner = night.miner().await;
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(night.create("train").await);
        night.stack.clock().advance(Duration::from_millis(1));
    }
    let first = next_of(&night, &miner, Some("a")).await;
    // The caller, the queue, the two times of the worker's, the job, and the claim.
    assert_eq!(first.engine_calls(), (6, 0));
    let first = first.ok();
    night.stack.clock().advance(Duration::from_secs(60));
    let again = next_of(&night, &miner, Some("a")).await;
    // Instead of the claim, the job with the row of its heartbeats.
    assert_eq!(again.engine_calls(), (5, 0));
    assert_eq!(again.ok(), first);
    // Other workers of the same miner's, and other miners' of the same name, are somebody else.
    assert_eq!(id(next_of(&night, &miner, Some("b")).await), created[1]);
    assert_eq!(id(next_of(&night, &night.miner().await, Some("a")).await), created[2]);
    is_nothing(&next_of(&night, &night.miner().await, Some("a")).await);
    assert_eq!(next_of(&night, &miner, Some("a")).await.ok(), first, "also when nothing waits");
    night.stack.clock().advance(Duration::from_millis(1));
    is_nothing(&next_of(&night, &miner, Some("a")).await);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_has_shown_that_it_knows_of_its_job_gets_another() {
    let night = Night::begin().await;
    night.stack.clock().set(TEN);
    let (miner, nobody) = (night.miner().await, Client::nobody());
    for request in ["heartbeat", "finish", "report files", "release"] {
        for _ in 0..2 {
            night.create("train").await;
        }
        let first = next_of(&night, &miner, Some("a")).await.ok();
        let url = text(&first["job_status_url"]);
        let route = |name: &str| url.replace("?token=", &format!("/{name}?token="));
        match request {
            "heartbeat" => nobody.put(&route("heartbeat"), Value::Null).await.ok(),
            "finish" => nobody.post(&url, json!({"status": "complete"})).await.ok(),
            "report files" => nobody.post(&url, json!({"status": "complete", "output_filenames": ["a"]})).await.ok(),
            _ => nobody.put(&route("release"), Value::Null).await.ok(),
        };
        let second = next_of(&night, &miner, Some("a")).await.ok();
        assert_ne!(second["job_id"], first["job_id"], "{request}");
        // And a third, when it has told of the second.
        nobody.post(&text(&second["job_status_url"]), json!({"status": "complete"})).await.ok();
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn without_a_worker_each_request_is_for_another_job() {
    let world = World::new().await;
    let created = [world.create().await, world.create().await];
    for job_id in created {
        assert_eq!(id(next(&world.miner, &[&world.chute_id], Value::Null).await), job_id);
    }
    is_nothing(&next(&world.miner, &[&world.chute_id], Value::Null).await);
}

#[tokio::test]
async fn a_worker_whose_answer_was_lost_finds_its_job() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let (first, second) = (night.create("train").await, night.create("train").await);
    // The claim is made, and its answer is lost, so often that the function gives up.
    night.fail(Some("UpdateItem"), Fault::FailAfter);
    assert_eq!(next_of(&night, &miner, Some("a")).await.status, 503);
    night.fail(None, Fault::None);
    assert_eq!(id(next_of(&night, &miner, Some("a")).await), first);
    assert_eq!(night.get(&second).await["status"], "pending");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_arguments_cannot_be_read_keeps_nobody_from_the_next_one() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let path = night.url(&format!("/jobs/{}/train", night.chute_id));
    let large = json!({"a": "x".repeat(100 << 10)});
    night.user.post(&path, large.clone()).await.ok();
    let small = text(&night.user.post(&path, json!({"a": 1})).await.ok()["job_id"]);
    night.fail(Some("GetObject"), Fault::FailBefore(503));
    assert_eq!(next_of(&night, &miner, None).await.ok()["job_id"], json!(small));
    // It is told of where there is no other, and where two are so.
    for _ in 0..2 {
        assert_eq!(next_of(&night, &miner, None).await.status, 503);
        night.user.post(&path, large.clone()).await.ok();
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_claim_whose_arguments_cannot_be_read_takes_no_job_from_who_could_not_ask_again() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let path = night.url(&format!("/jobs/{}/train", night.chute_id));
    let job_id = text(&night.user.post(&path, json!({"a": "x".repeat(100 << 10)})).await.ok()["job_id"]);
    night.fail(Some("GetObject"), Fault::FailBefore(503));
    assert_eq!(next_of(&night, &miner, None).await.status, 503);
    night.fail(None, Fault::None);
    assert_eq!(night.get(&job_id).await["status"], "pending");
    let answer = next_of(&night, &miner, None).await;
    // The caller with the chute, the chute's queue, the job and the write; the arguments.
    assert_eq!(answer.engine_calls(), (4, 1));
    let assigned = answer.ok();
    assert_eq!((&assigned["job_id"], &assigned["attempt"]), (&json!(job_id), &json!(1)));
    assert_eq!(assigned["job_data"]["a"].as_str().unwrap().len(), 100 << 10);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_signature_is_good_for_one_job() {
    let night = Night::begin().await;
    let (first, second) = (night.create("train").await, night.create("train").await);
    let hotkey = night.hotkey(None).await;
    let path = format!("/jobs/claim?chute_id={}", night.chute_id);
    let body = br#"{"worker":"a"}"#;
    let signed = hotkey.headers("PUT", &path, body);
    let headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = async || Client::nobody().send(Method::PUT, &night.url(&path), body.to_vec(), &headers).await;
    let assignment = send().await.ok();
    assert_eq!(assignment["job_id"], first);
    assert_eq!(send().await.ok(), assignment, "the very same request may be repeated");
    Client::nobody().post(&text(&assignment["job_status_url"]), json!({"status": "complete"})).await.ok();
    send().await.is_error(401, "This signature has been used already");
    assert_eq!(night.get(&second).await["status"], "pending");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_lost_job_is_kept_from_the_account_that_lost_it_and_others_are_not() {
    let night = Night::begin().await;
    night.stack.clock().set(TEN);
    let (miner, other) = (night.miner().await, night.miner().await);
    let lost = night.create("train").await;
    night.stack.clock().advance(Duration::from_millis(1));
    let waits = night.create("train").await;
    let first = next_of(&night, &miner, Some("a")).await.ok();
    assert_eq!(first["job_id"], lost);
    let release = text(&first["job_status_url"]).replace("?token=", "/release?token=");
    Client::nobody().put(&release, Value::Null).await.ok();
    assert_eq!(id(next_of(&night, &miner, Some("a")).await), waits);
    assert!(is_nothing(&next_of(&night, &miner, Some("b")).await) >= 12, "nothing will be there for long");
    night.stack.clock().advance(Duration::from_secs(300));
    assert_eq!(id(next_of(&night, &miner, Some("b")).await), lost);
    let late = night.create("train").await;
    assert_eq!(id(next_of(&night, &other, None).await), late);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_ports_are_not_mapped_is_passed_over() {
    let world = World::new().await;
    let mut with_ports = Vec::new();
    for _ in 0..10 {
        with_ports.push(create(&world, &world.chute_id, "serve").await);
    }
    let without = world.create().await;
    assert_eq!(id(next(&world.miner, &[&world.chute_id], Value::Null).await), without);
    assert!(is_nothing(&next(&world.miner, &[&world.chute_id], Value::Null).await) >= 12);
    let mapping = |proto: &str| json!([{"internal_port": 2222, "external_port": 30022, "proto": proto}]);
    is_nothing(&next(&world.miner, &[&world.chute_id], json!({"port_mappings": mapping("udp")})).await);
    let body = json!({"port_mappings": mapping("tcp")});
    assert_eq!(id(next(&world.miner, &[&world.chute_id], body).await), with_ports[0]);
    assert_eq!(world.get(&with_ports[0]).await["port_mappings"], mapping("tcp"));
}

#[tokio::test]
async fn who_finds_nothing_is_told_when_to_ask_again() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let after = async |second: i64| {
        night.stack.clock().set(TEN + second * 1000);
        let answer = next_of(&night, &miner, Some("a")).await;
        // The caller, the queue, and the two times of the worker's.
        assert_eq!(answer.engine_calls(), (4, 0));
        is_nothing(&answer)
    };
    assert_eq!((after(0).await, after(8).await), (2, 4));
    assert!((14..=15).contains(&after(30).await));
    assert!((14..=15).contains(&after(5000).await));
    let job_id = night.create("train").await;
    assert_eq!(id(next_of(&night, &miner, Some("a")).await), job_id);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn one_to_sixteen_chutes_are_asked_for() {
    let world = World::new().await;
    let job_id = world.create().await;
    let missing = next(&world.miner, &[], Value::Null).await;
    insta::assert_snapshot!(missing.body, @r#"{"detail":[{"type":"missing","loc":["query","chute_id"],"msg":"Field required","input":null}]}"#);
    let many: Vec<_> = (0..17).map(|_| world.chute_id.as_str()).collect();
    let (status, detail) = next(&world.miner, &many, Value::Null).await.error();
    assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", "chute_id"])));
    assert_eq!((&detail[0]["msg"], &detail[0]["input"]), (&"Input should be 1 to 16 chutes".into(), &17.into()));
    let both = format!("{0},{0}", world.chute_id);
    for wrong in ["", "nonsense", &both] {
        let (status, detail) = next(&world.miner, &[&world.chute_id, wrong], Value::Null).await.error();
        assert_eq!((status, &detail[0]["input"]), (422, &wrong.into()));
        assert_eq!(detail[0]["msg"], "Input should be a valid UUID");
    }
    assert_eq!(id(next(&world.miner, &many[..16], Value::Null).await), job_id);
}

#[tokio::test]
async fn sixteen_chutes_are_looked_into() {
    let world = World::new().await;
    let mut chutes = vec![world.chute_id.clone()];
    for _ in 0..15 {
        chutes.push(another_chute(&world, json!({})).await);
    }
    let chutes: Vec<_> = chutes.iter().map(String::as_str).collect();
    let job_id = create(&world, chutes[15], "train").await;
    assert_eq!(id(next(&world.miner, &chutes, Value::Null).await), job_id);
}

#[tokio::test]
async fn a_chute_that_does_not_exist_is_not_found_and_nothing_is_claimed() {
    let world = World::new().await;
    let job_id = world.create().await;
    let nowhere = Uuid::new_v4().to_string();
    let answer = next(&world.miner, &[&world.chute_id, &nowhere], Value::Null).await;
    answer.is_error(404, &format!("Chute {nowhere} not found"));
    assert_eq!(world.get(&job_id).await["status"], "pending");
}

#[tokio::test]
async fn only_a_miner_gets_a_job() {
    let world = World::new().await;
    let job_id = world.create().await;
    let chutes = [world.chute_id.as_str()];
    next(&world.user, &chutes, Value::Null).await.is_error(403, "Only accounts with the miner role may do this");
    let stranger = next(&Client::nobody(), &chutes, Value::Null).await;
    assert_eq!((stranger.status, stranger.engine_calls()), (401, (0, 0)));
    let (status, detail) = next(&world.miner, &chutes, json!({"worker": ""})).await.error();
    assert_eq!((status, &detail[0]["loc"]), (422, &json!(["body", "worker"])));
    assert_eq!(world.get(&job_id).await["status"], "pending");
}

#[tokio::test]
async fn the_reaper_finds_what_was_claimed_so() {
    let night = Night::begin().await;
    night.stack.clock().set(TEN);
    let miner = night.miner().await;
    let mut jobs = Vec::new();
    for worker in ["a", "b", "c", "d"] {
        night.create("serve").await;
        let ports = json!([{"internal_port": 2222, "external_port": 40000, "proto": "tcp"}]);
        let path = night.url(&format!("/jobs/claim?chute_id={}", night.chute_id));
        let assignment = miner.put(&path, json!({"worker": worker, "port_mappings": ports})).await.ok();
        let beat = text(&assignment["job_status_url"]).replace("?token=", "/heartbeat?token=");
        Client::nobody().put(&beat, Value::Null).await.ok();
        jobs.push(text(&assignment["job_id"]));
    }
    // A minute after the first lease, at the latest.
    night.stack.clock().advance(Duration::from_secs(150));
    assert_eq!(night.reap().await, json!({"requeued": 4}));
    for job_id in jobs {
        assert_eq!(night.get(&job_id).await["status"], "pending");
    }
    night.stack.shutdown().await;
}
