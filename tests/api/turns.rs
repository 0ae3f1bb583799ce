//! Users of one chute in turn: one who has many jobs waiting keeps nobody else's one waiting behind them.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use local::Fault;
use serde_json::{Value, json};
use tests::{Client, Night, chute, item, text};
use uuid::Uuid;

/// Another user of the deployment.
async fn another_user(night: &Night) -> Client {
    let user = night.stack.invoke("admin", json!({"command": "create_user"})).await.unwrap();
    let key = night.stack.invoke("admin", json!({"command": "create_key", "user_id": user["user_id"]})).await;
    let quotas = json!({"command": "set_quotas", "user_id": user["user_id"], "quotas": {"*": 1_000_000}});
    night.stack.invoke("admin", quotas).await.unwrap();
    Client::with_key(text(&key.unwrap()["key"]))
}

async fn put_chute(night: &Night, chute_id: &str, more: Value) {
    let mut chute = chute(chute_id, &night.user_id);
    for (name, value) in more.as_object().unwrap() {
        chute[name] = value.clone();
    }
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();
}

async fn create(night: &Night, user: &Client, chute_id: &str) -> String {
    let job = user.post(&night.url(&format!("/jobs/{chute_id}/train")), json!({})).await.ok();
    night.stack.clock().advance(Duration::from_millis(1));
    text(&job["job_id"])
}

/// One after the other.
async fn create_many(night: &Night, user: &Client, number: usize) -> Vec<String> {
    let mut created = Vec::new();
    for _ in 0..number {
        created.push(create(night, user, &night.chute_id).await);
    }
    created
}

async fn next_of(night: &Night, miner: &Client, chutes: &[&str]) -> Value {
    night.stack.clock().advance(Duration::from_millis(1));
    let query: Vec<_> = chutes.iter().map(|chute_id| format!("chute_id={chute_id}")).collect();
    miner.put(&night.url(&format!("/jobs/claim?{}", query.join("&"))), json!({})).await.ok()
}

async fn next(night: &Night, miner: &Client) -> String {
    text(&next_of(night, miner, &[&night.chute_id]).await["job_id"])
}

#[tokio::test]
async fn users_are_served_in_turn_and_each_ones_jobs_in_their_order() {
    let night = Night::begin().await;
    let (b, c, miner) = (another_user(&night).await, another_user(&night).await, night.miner().await);
    let many = create_many(&night, &night.user, 40).await;
    let of_b = create_many(&night, &b, 3).await;
    let of_c = create_many(&night, &c, 1).await;
    let expected = [&many[0], &of_b[0], &of_c[0], &many[1], &of_b[1], &many[2], &of_b[2], &many[3], &many[4]];
    for (number, expected) in expected.into_iter().enumerate() {
        assert_eq!(next(&night, &miner).await, *expected, "{number}");
    }
    // What is created while others' wait comes behind its user's own, and in turn with theirs.
    let more = create(&night, &b, &night.chute_id).await;
    let last = create(&night, &night.user, &night.chute_id).await;
    let mut rest = Vec::new();
    for _ in 0..many.len() - 5 + 2 {
        rest.push(next(&night, &miner).await);
    }
    assert!(rest[..2].contains(&more), "{rest:?}");
    rest.retain(|job_id| *job_id != more);
    assert_eq!(rest, [&many[5..], &[last]].concat());
    night.stack.shutdown().await;
}

#[tokio::test]
async fn jobs_of_many_users_who_have_one_each_come_in_the_order_of_their_creation() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let mut created = Vec::new();
    for number in 0..12 {
        let user = another_user(&night).await;
        night.stack.clock().advance(Duration::from_secs(number * 7));
        created.push(create(&night, &user, &night.chute_id).await);
    }
    let shown = miner.get(&night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id))).await.ok();
    let shown: Vec<_> = shown["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect();
    assert_eq!(shown, created);
    for job_id in created {
        assert_eq!(next(&night, &miner).await, job_id);
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_job_that_waits_again_keeps_its_turn() {
    let night = Night::begin().await;
    let (b, miner, other) = (another_user(&night).await, night.miner().await, night.miner().await);
    create_many(&night, &night.user, 40).await;
    let of_b = create(&night, &b, &night.chute_id).await;
    next(&night, &miner).await;
    let given = next_of(&night, &miner, &[&night.chute_id]).await;
    assert_eq!(given["job_id"], of_b);
    let release = text(&given["job_status_url"]).replace("?token=", "/release?token=");
    Client::nobody().put(&release, json!({})).await.ok();
    let mut given = next_of(&night, &other, &[&night.chute_id]).await;
    if given["job_id"] != of_b {
        given = next_of(&night, &other, &[&night.chute_id]).await;
    }
    assert_eq!(given["job_id"], of_b);
    // Its owner has it tried again: that is a turn like a new job's.
    Client::nobody().post(&text(&given["job_status_url"]), json!({"status": "error"})).await.ok();
    let answer = b.put(&night.url(&format!("/jobs/{of_b}/retry")), json!({})).await.ok();
    assert_eq!(answer["status"], "pending");
    night.stack.clock().advance(Duration::from_secs(301));
    let claimed = [next(&night, &miner).await, next(&night, &miner).await];
    assert!(claimed.contains(&of_b), "{claimed:?}");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn of_several_chutes_the_users_are_served_in_turn_too() {
    let night = Night::begin().await;
    let (b, miner, quiet) = (another_user(&night).await, night.miner().await, Uuid::new_v4().to_string());
    put_chute(&night, &quiet, json!({})).await;
    let many = create_many(&night, &night.user, 20).await;
    night.stack.clock().advance(Duration::from_secs(3600));
    let of_b = create(&night, &b, &quiet).await;
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.push(text(&next_of(&night, &miner, &[&night.chute_id, &quiet]).await["job_id"]));
    }
    assert_eq!(claimed, [&many[0], &of_b, &many[1]].map(Clone::clone));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn turns_outlast_the_day_in_which_they_were_given() {
    let night = Night::begin().await;
    let (b, miner) = (another_user(&night).await, night.miner().await);
    let mut many = create_many(&night, &night.user, 5).await;
    night.stack.clock().advance(Duration::from_secs(86_400));
    many.extend(create_many(&night, &night.user, 3).await);
    let of_b = create(&night, &b, &night.chute_id).await;
    let mut claimed = Vec::new();
    for _ in 0..9 {
        claimed.push(next(&night, &miner).await);
    }
    assert_eq!(claimed.remove(1), of_b);
    assert_eq!(claimed, many);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn many_that_come_at_once_keep_nobody_waiting() {
    let night = Night::begin().await;
    let (b, miner) = (another_user(&night).await, night.miner().await);
    for _ in 0..2 {
        join_all((0..64).map(|_| create(&night, &night.user, &night.chute_id))).await;
    }
    let of_b = create(&night, &b, &night.chute_id).await;
    let mut claimed = BTreeSet::new();
    // Those that came before the chute was seen to be crowded are before it, as they were created. It would be the 97th that is in sight.
    for _ in 0..80 {
        claimed.insert(next(&night, &miner).await);
    }
    assert!(claimed.contains(&of_b));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_chute_is_crowded_for_as_long_as_jobs_wait() {
    let night = Night::begin().await;
    let (b, miner) = (another_user(&night).await, night.miner().await);
    let crowded = async || {
        let row = item(&night.stack, "RegistryTable", "pk", &format!("crowded#{}", night.chute_id)).await;
        row["crowded"]["BOOL"].as_bool()
    };
    let calls = async |user: &Client| {
        let path = format!("/jobs/{}/train", night.chute_id);
        let answer = user.post(&night.url(&path), json!({})).await;
        night.stack.clock().advance(Duration::from_millis(1));
        (answer.status, answer.engine_calls().0)
    };
    create_many(&night, &night.user, 15).await;
    assert_eq!(crowded().await, None);
    // The sixteenth looks, and tells.
    assert_eq!((calls(&night.user).await, crowded().await), ((200, 4), Some(true)));
    // A user's first one of a day reads where the last one of the day before stood, and here whose the chute is.
    assert_eq!([calls(&night.user).await, calls(&b).await, calls(&b).await], [(200, 3), (200, 5), (200, 3)]);
    for _ in 0..19 {
        next(&night, &miner).await;
    }
    assert_eq!((calls(&b).await, crowded().await), ((200, 4), Some(false)));
    assert_eq!(calls(&b).await, (200, 2));
    // Where nobody waits, a sixteenth one changes nothing.
    for _ in 0..2 {
        next(&night, &miner).await;
    }
    for expected in [2; 11].into_iter().chain([3, 2]) {
        assert_eq!(calls(&b).await, (200, expected));
        next(&night, &miner).await;
    }
    assert_eq!(crowded().await, Some(false));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_asked_keeps_no_job_from_being_created() {
    let night = Night::begin().await;
    let (b, miner) = (another_user(&night).await, night.miner().await);
    let many = create_many(&night, &night.user, 40).await;
    night.fail("Query".into(), Fault::FailBefore(500));
    let of_b = create(&night, &b, &night.chute_id).await;
    night.fail(None, Fault::FailBefore(500));
    let mut claimed = BTreeSet::new();
    for _ in 0..41 {
        claimed.insert(next(&night, &miner).await);
    }
    assert!(claimed.remove(&of_b));
    assert_eq!(claimed, many.into_iter().collect());
    night.stack.shutdown().await;
}

#[tokio::test]
async fn what_waited_before_a_chute_was_crowded_comes_before_what_is_created_then() {
    let night = Night::begin().await;
    let miner = night.miner().await;
    let [b, c] = [another_user(&night).await, another_user(&night).await];
    create_many(&night, &night.user, 12).await;
    night.stack.clock().advance(Duration::from_secs(3600));
    let of_b = create(&night, &b, &night.chute_id).await;
    // From here on users have turns.
    create_many(&night, &night.user, 4).await;
    night.stack.clock().advance(Duration::from_secs(60));
    let many = create_many(&night, &c, 60).await;
    let mut claimed = Vec::new();
    for _ in 0..6 {
        claimed.push(next(&night, &miner).await);
    }
    assert!(claimed.contains(&of_b), "B's has waited longest of all that are not A's");
    // Nobody had seen C's before.
    assert!(claimed.contains(&many[0]));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_user_who_has_enough_running_is_passed_over_once_and_not_by_each_claim() {
    let night = Night::begin().await;
    let (b, miner) = (another_user(&night).await, night.miner().await);
    let most = json!({"command": "set_running_limit", "user_id": night.user_id, "most": 1});
    night.stack.invoke("admin", most).await.unwrap();
    let many = create_many(&night, &night.user, 3).await;
    let of_b = create_many(&night, &b, 3).await;
    let calls = async |expected: &str| {
        let path = format!("/jobs/claim?chute_id={}", night.chute_id);
        night.stack.clock().advance(Duration::from_millis(1));
        let answer = miner.put(&night.url(&path), json!({})).await;
        let calls = answer.engine_calls().0;
        assert_eq!(answer.ok()["job_id"], expected);
        calls
    };
    calls(&many[0]).await;
    calls(&of_b[0]).await;
    // It is the other's turn, who may have no more.
    let passes_over = calls(&of_b[1]).await;
    assert!(calls(&of_b[2]).await < passes_over);
    night.stack.shutdown().await;
}
