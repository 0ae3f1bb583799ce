//! `admin`: `disable_user` closes what the account has left open.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use local::{Fault, Stack};
use serde_json::{Value, json};
use tests::{Client, Job, Night, World, chute, dynamodb, item, stack, text, upload};
use tokio::{runtime::Handle, task::block_in_place};
use uuid::Uuid;

async fn disable(user_id: &str) -> Value {
    World::admin(json!({"command": "disable_user", "user_id": user_id})).await
}

async fn enable(user_id: &str) {
    World::admin(json!({"command": "enable_user", "user_id": user_id})).await;
}

/// What a miner sees of a chute's queue. An empty address is the shared stack's.
async fn claimable(miner: &Client, api: &str, chute_id: &str) -> Vec<String> {
    let list = miner.get(&format!("{api}/jobs/claimable?chute_id={chute_id}&limit=100")).await.ok();
    list["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

/// Copies of a job in the table, under other ids.
async fn copies(stack: &Stack, job_id: &str, jobs: usize) {
    let job = item(stack, "JobsTable", "job_id", job_id).await;
    let copy = |_| {
        let mut job = job.clone();
        job["job_id"]["S"] = Uuid::new_v4().to_string().into();
        json!({"PutRequest": {"Item": job}})
    };
    let copies: Vec<_> = (0..jobs).map(copy).collect();
    for batch in copies.chunks(25) {
        let request = json!({"RequestItems": {stack.resource("JobsTable").unwrap(): batch}});
        dynamodb(stack, "BatchWriteItem", request).await;
    }
}

#[tokio::test]
async fn jobs_that_wait_are_cancelled_wherever_they_wait() {
    let (world, other) = (World::new().await, World::new().await);
    let own = world.create().await;
    let elsewhere = world.user.post(&format!("/jobs/{}/train", other.chute_id), json!({})).await.ok();
    let elsewhere = text(&elsewhere["job_id"]);
    let theirs = other.create().await;

    let answer = disable(&world.user_id).await;
    assert_eq!(
        (&answer["cancelled"], &answer["last_attempts"], &answer["failed"], &answer["next_cursor"]),
        (&json!(2), &json!(0), &json!(0), &Value::Null)
    );
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, Vec::<String>::new());
    assert_eq!(claimable(&world.miner, "", &other.chute_id).await, [theirs]);
    for job_id in [&own, &elsewhere] {
        assert_eq!(world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await.status, 409);
    }

    // Enabled again, the user finds them ended, and goes on.
    enable(&world.user_id).await;
    let job = world.get(&own).await;
    assert_eq!((&job["status"], &job["error_detail"]), (&json!("cancelled"), &json!("The account was disabled")));
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, Vec::<String>::new());
    let next = world.create().await;
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, [next]);
}

#[tokio::test]
async fn chutes_take_no_new_jobs_of_others_until_their_owner_is_enabled() {
    let (world, other) = (World::new().await, World::new().await);
    let shared = Uuid::new_v4().to_string();
    let mut private = chute(&shared, &world.user_id);
    private["public"] = false.into();
    private["shared_with"] = json!([other.user_id]);
    World::admin(json!({"command": "put_chute", "chute": private})).await;
    let create = async |chute_id: &str| other.user.post(&format!("/jobs/{chute_id}/train"), json!({})).await;
    // Of a chute that a process has seen before, it remembers the owner, and of the other it does not.
    let before = text(&create(&world.chute_id).await.ok()["job_id"]);

    disable(&world.user_id).await;
    for chute_id in [&world.chute_id, &shared] {
        for _ in 0..2 {
            create(chute_id).await.is_error(404, &format!("Chute {chute_id} not found"));
        }
    }
    // What others have created before may run.
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, std::slice::from_ref(&before));
    assert_eq!(world.miner.put(&format!("/jobs/{before}/claim"), Value::Null).await.status, 200);

    enable(&world.user_id).await;
    for chute_id in [&world.chute_id, &shared] {
        create(chute_id).await.ok();
    }
    // Whose it is now decides, and not whose it was when it was seen.
    disable(&world.user_id).await;
    World::admin(json!({"command": "put_chute", "chute": chute(&world.chute_id, &world.miner_id)})).await;
    create(&world.chute_id).await.ok();
}

#[tokio::test]
async fn somebody_elses_chute_costs_one_read_more_once() {
    let night = Night::on(Stack::start().await.unwrap()).await;
    let miner = night.miner().await;
    let create = async |client: &Client| {
        let answer = client.post(&night.url(&format!("/jobs/{}/train", night.chute_id)), json!({})).await;
        (answer.status, answer.engine_calls())
    };
    assert_eq!(create(&night.user).await, (200, (2, 0)));
    assert_eq!(create(&miner).await, (200, (3, 0)));
    for client in [&miner, &night.user, &miner] {
        assert_eq!(create(client).await, (200, (2, 0)));
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_runs_may_end() {
    let world = World::new().await;
    let (running, reported) = (world.claimed().await, world.finished(&["a"]).await);
    disable(&world.user_id).await;
    let answer = running.finish(json!({"status": "complete", "output_filenames": ["a"]})).await.ok();
    for (job, answer) in [(&running, &answer), (&reported.0, &reported.1)] {
        assert_eq!(upload(&text(&answer["output_storage_urls"]["a"]), b"hello").await.status, 200);
        assert_eq!(job.complete().await.ok()["status"], "complete");
    }
    enable(&world.user_id).await;
    for job in [&running, &reported.0] {
        assert_eq!(job.download("a").await.bytes, b"hello");
    }
}

#[tokio::test]
async fn a_job_that_is_lost_is_not_tried_again() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let job_id = night.create("serve").await;
    let url = night.claim(&miner, &job_id).await;
    let answer = night.stack.invoke("admin", json!({"command": "disable_user", "user_id": night.user_id})).await.unwrap();
    assert_eq!((&answer["cancelled"], &answer["last_attempts"]), (&json!(0), &json!(1)));
    // It may still end; but its miner falls silent.
    let heartbeat = url.replace("?token=", "/heartbeat?token=");
    assert_eq!(Client::nobody().put(&heartbeat, json!({})).await.ok()["cancelled"], false);
    night.stack.clock().advance(Duration::from_secs(120));
    assert_eq!(night.reap().await, json!({"timed_out": 1}));
    night.stack.invoke("admin", json!({"command": "enable_user", "user_id": night.user_id})).await.unwrap();
    let job = night.get(&job_id).await;
    assert_eq!((&job["status"], &job["error_detail"]), (&json!("timeout"), &json!("No result after 1 of 1 attempts")));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_creation_was_under_way_is_found_by_the_repeat() {
    let world = World::new().await;
    let job = item(stack(), "JobsTable", "job_id", &world.create().await).await;
    let first = disable(&world.user_id).await;
    let repeat_after = text(&first["repeat_after"]);
    // A create that was let in before is written now.
    let mut late = job.clone();
    let late_id = Uuid::new_v4().to_string();
    late["job_id"]["S"] = late_id.as_str().into();
    dynamodb(stack(), "PutItem", json!({"TableName": stack().resource("JobsTable").unwrap(), "Item": late})).await;
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, [late_id]);
    let again = disable(&world.user_id).await;
    assert_eq!((&again["cancelled"], text(&again["repeat_after"])), (&json!(1), repeat_after), "{again}");
    assert_eq!(claimable(&world.miner, "", &world.chute_id).await, Vec::<String>::new());

    let page = json!({"command": "list_jobs", "user_id": world.user_id, "limit": 1});
    let cursor = World::admin(page).await["next_cursor"].take();

    // Long after, no create can be under way; but a walk that goes on began before.
    let long_ago = json!({
        "TableName": stack().resource("RegistryTable").unwrap(), "Key": {"pk": {"S": format!("user#{}", world.user_id)}},
        "UpdateExpression": "SET disabled_at = :at", "ExpressionAttributeValues": {":at": {"N": "1000"}},
    });
    dynamodb(stack(), "UpdateItem", long_ago).await;
    let last = json!({"command": "disable_user", "user_id": world.user_id, "cursor": cursor});
    assert!(World::admin(last).await["repeat_after"].is_string());
    assert_eq!(disable(&world.user_id).await["repeat_after"], Value::Null);
}

#[tokio::test]
async fn all_of_many_jobs_are_closed_and_a_cursor_goes_on_where_it_says() {
    for busy in [false, true] {
        let world = World::new().await;
        if busy {
            World::admin(json!({"command": "set_busy_user", "user_id": world.user_id})).await;
        }
        copies(stack(), &world.create().await, 230).await;
        let newest = world.create().await;
        let page = json!({"command": "list_jobs", "user_id": world.user_id, "limit": 1});
        let cursor = World::admin(page).await["next_cursor"].take();
        let command = json!({"command": "disable_user", "user_id": world.user_id, "cursor": cursor});
        assert_eq!(World::admin(command).await["cancelled"], 231, "{busy}");
        assert_eq!(claimable(&world.miner, "", &world.chute_id).await, [newest]);
        assert_eq!(disable(&world.user_id).await["cancelled"], 1, "{busy}");
        assert_eq!(claimable(&world.miner, "", &world.chute_id).await, Vec::<String>::new());
    }
}

/// From its second on, each UpdateItem of the administrator's function meets this fault: the first disables the account.
fn fail_closing(stack: &Stack, fault: Fault) {
    let updates = AtomicUsize::new(0);
    stack.set_faults(move |call| {
        let meant = call.function.as_deref() == Some("admin") && call.operation == "UpdateItem";
        if meant && updates.fetch_add(1, Ordering::SeqCst) > 0 { fault } else { Fault::None }
    });
}

#[tokio::test]
async fn what_could_not_be_closed_is_counted_and_closed_by_the_repeat() {
    let night = Night::begin().await;
    let jobs = [night.create("train").await, night.create("train").await];
    let command = json!({"command": "disable_user", "user_id": night.user_id});
    fail_closing(&night.stack, Fault::FailBefore(500));
    let answer = night.stack.invoke("admin", command.clone()).await.unwrap();
    assert_eq!((&answer["cancelled"], &answer["failed"]), (&json!(0), &json!(2)));
    // Killed at a job: the account is disabled already.
    fail_closing(&night.stack, Fault::KillAfter);
    assert!(night.stack.invoke("admin", command.clone()).await.is_err());
    assert_eq!(night.user.get(&night.url("/jobs")).await.status, 401);
    night.stack.set_faults(|_| Fault::None);
    night.stack.invoke("admin", command).await.unwrap();
    let miner = night.miner().await;
    assert_eq!(claimable(&miner, &night.url(""), &night.chute_id).await, Vec::<String>::new());
    let lines = night.stack.shutdown().await;
    for job_id in jobs {
        assert!(lines.iter().any(|line| line.text.contains("was not closed") && line.text.contains(&job_id)), "{job_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_enabled_meanwhile_keeps_its_other_jobs() {
    // For the hook, which outlives the test.
    let stack: &Stack = Box::leak(Box::new(Stack::start().await.unwrap()));
    let (job_id, _) = Job::created_on(stack).await;
    copies(stack, &job_id, 130).await;
    let job = item(stack, "JobsTable", "job_id", &job_id).await;
    let (user_id, armed) = (text(&job["user_id"]["S"]), AtomicBool::new(true));
    let pk = format!("user#{user_id}");
    let enable = json!({
        "TableName": stack.resource("RegistryTable").unwrap(), "Key": {"pk": {"S": pk}},
        "UpdateExpression": "SET disabled = :no", "ExpressionAttributeValues": {":no": {"BOOL": false}},
    });
    // When the function has found the first page of jobs.
    stack.set_faults(move |call| {
        let meant = call.function.as_deref() == Some("admin") && call.operation == "Query";
        if meant && armed.swap(false, Ordering::SeqCst) {
            block_in_place(|| Handle::current().block_on(dynamodb(stack, "UpdateItem", enable.clone())));
        }
        Fault::None
    });
    let refused = stack.invoke("admin", json!({"command": "disable_user", "user_id": user_id})).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("User {user_id} was enabled meanwhile")), "{refused}");
    let open = json!({"command": "list_jobs", "user_id": user_id, "terminal": false});
    let open = stack.invoke("admin", open).await.unwrap();
    assert_eq!(open["jobs"].as_array().unwrap().len(), 131 - 100);
}
