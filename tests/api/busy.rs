//! Busy users and chutes: their keys are cut in shards, and clients see no difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use local::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use shared::item::shards::{SHARDS, USAGE_SHARDS};
use tests::{Answer, Client, Night, chute, dynamodb, item, text};
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(86_400);
/// To a day on which a user who becomes busy now is counted in shards, at whichever hour that is.
const SLICED: Duration = Duration::from_secs(2 * 86_400);

/// A deployment whose user is busy since the day before yesterday, and whose chute is busy.
async fn busy_night() -> Night {
    let night = Night::begin().await;
    admin(&night, json!({"command": "set_busy_user", "user_id": night.user_id})).await;
    put_busy(&night, &night.chute_id, true).await.unwrap();
    night.stack.clock().advance(SLICED);
    night
}

async fn set_quotas(night: &Night, quotas: Value) {
    admin(night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": quotas})).await;
}

async fn admin(night: &Night, command: Value) -> Value {
    night.stack.invoke("admin", command).await.unwrap()
}

async fn put_busy(night: &Night, chute_id: &str, busy: bool) -> anyhow::Result<Value> {
    let mut chute = chute(chute_id, &night.user_id);
    chute["busy"] = busy.into();
    night.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await
}

async fn create_on(night: &Night, chute_id: &str) -> Answer {
    night.user.post(&night.url(&format!("/jobs/{chute_id}/train")), json!({})).await
}

/// Ids of new jobs, one after the other.
async fn create(night: &Night, jobs: usize) -> Vec<String> {
    let mut created = Vec::new();
    for _ in 0..jobs {
        created.push(night.create("serve").await);
    }
    created
}

async fn stored(night: &Night, job_id: &str) -> Value {
    item(&night.stack, "JobsTable", "job_id", job_id).await
}

async fn store(night: &Night, job: Value) {
    let table = night.stack.resource("JobsTable").unwrap();
    dynamodb(&night.stack, "PutItem", json!({"TableName": table, "Item": job})).await;
}

/// What each shard has counted today: all jobs, and those on each chute.
async fn usage(night: &Night) -> Vec<Value> {
    let day = shared::time::Timestamp::from_millis(night.stack.clock().now()).date();
    let row = async |shard: u8| {
        let shard = if shard == 0 { String::new() } else { format!("#{shard}") };
        item(&night.stack, "RegistryTable", "pk", &format!("usage#{}#{day}{shard}", night.user_id)).await
    };
    join_all((0..USAGE_SHARDS).map(row)).await
}

fn count(row: &Value, attribute: &str) -> u64 {
    row[attribute]["N"].as_str().map_or(0, |count| count.parse().unwrap())
}

fn ids(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

/// Every page from a path on.
async fn pages(night: &Night, client: &Client, path: &str, limit: usize) -> Vec<String> {
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&night.url(&format!("{path}&limit={limit}{cursor}"))).await.ok();
        assert!(ids(&page).len() <= limit, "{page}");
        listed.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return listed,
        }
    }
}

fn exceeded(of_chute: u64, total: u64, quota: u64, total_quota: u64) -> String {
    format!(
        "Daily job quota exceeded: chute_job_count={of_chute} total_job_count={total} of job_quota={quota} and \
         total_quota={total_quota}"
    )
}

/// Sends this many creates at once: those that were refused.
async fn refused(night: &Night, chute_id: &str, creates: usize, created: usize) -> Vec<Answer> {
    let answers = join_all((0..creates).map(|_| create_on(night, chute_id))).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    let texts: BTreeSet<_> = refused.iter().map(|answer| answer.body.to_string()).collect();
    assert_eq!(done.len(), created, "{texts:?}");
    refused
}

#[tokio::test]
async fn a_quota_in_slices_is_exact_however_many_creates_run_at_once() {
    let night = busy_night().await;
    for (quota, before) in [(10, 0), (u64::from(USAGE_SHARDS) + 1, 10)] {
        let quotas = json!({"*": 1000, "global": quota});
        admin(&night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": quotas})).await;
        let refused = refused(&night, &night.chute_id, (quota - before + 12) as usize, (quota - before) as usize).await;
        assert_eq!(refused.len(), 12);
        for answer in refused {
            answer.is_error(429, &exceeded(quota, quota, 1000, quota));
        }
        let rows = usage(&night).await;
        assert_eq!(rows.iter().map(|row| count(row, "total")).sum::<u64>(), quota);
        let most = quota.div_ceil(USAGE_SHARDS.into());
        assert!(rows.iter().all(|row| count(row, "total") <= most), "{rows:?}");
    }
}

#[tokio::test]
async fn a_chutes_quota_is_exact_where_the_users_shards_are_filled_by_another_chute() {
    let night = busy_night().await;
    let other = Uuid::new_v4().to_string();
    put_busy(&night, &other, false).await.unwrap();
    let quotas = json!({night.chute_id.clone(): 7, other.clone(): 60, "global": 64});
    admin(&night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": quotas})).await;
    // 58 of the 64 shards of one slice each: what is left of the total lies where the chute has no slice, mostly.
    assert!(refused(&night, &other, 58, 58).await.is_empty());
    for answer in refused(&night, &night.chute_id, 12, 6).await {
        answer.is_error(429, &exceeded(6, 64, 7, 64));
    }
    let (here, there) = (format!("chute#{}", night.chute_id), format!("chute#{other}"));
    let apart = |row: &Value| count(row, &here) + count(row, &there) > count(row, "total");
    assert!(usage(&night).await.iter().any(apart), "no job was counted in two shards");
    // With room in all, the chute's own quota ends it.
    let quotas = json!({night.chute_id.clone(): 7, "global": 500});
    admin(&night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": quotas})).await;
    for answer in refused(&night, &night.chute_id, 6, 1).await {
        answer.is_error(429, &exceeded(7, 65, 7, 500));
    }
    let rows = usage(&night).await;
    let of = |attribute: &str| rows.iter().map(|row| count(row, attribute)).sum::<u64>();
    assert_eq!((of("total"), of(&here)), (65, 7));
    let nothing = json!({"*": 0});
    admin(&night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": nothing})).await;
    create_on(&night, &night.chute_id).await.is_error(429, &exceeded(7, 65, 0, 0));
}

#[tokio::test]
async fn a_lowered_quota_is_used_up_though_shards_have_room() {
    let night = busy_night().await;
    set_quotas(&night, json!({"*": 1})).await;
    let other = Uuid::new_v4().to_string();
    put_busy(&night, &other, false).await.unwrap();
    create_on(&night, &other).await.ok();
    // As when the quota was higher: another one in the first shard.
    let mut row = usage(&night).await[0].take();
    row["total"]["N"] = "2".into();
    let table = night.stack.resource("RegistryTable").unwrap();
    dynamodb(&night.stack, "PutItem", json!({"TableName": table, "Item": row})).await;
    set_quotas(&night, json!({"*": 1, "global": 2})).await;
    create_on(&night, &night.chute_id).await.is_error(429, &exceeded(0, 2, 1, 2));
}

#[tokio::test]
async fn a_busy_users_second_refusal_costs_one_read() {
    let night = busy_night().await;
    set_quotas(&night, json!({"*": 1})).await;
    // Nobody waits: a job that does costs a mark more where it is in the first shard.
    let job_id = night.create("serve").await;
    night.user.put(&night.url(&format!("/jobs/{job_id}/cancel")), Value::Null).await.ok();
    // The first one also looks whether the user's jobs may hide others.
    for calls in [4, 1, 1] {
        // What was found used up stays so for the day, not for the second.
        night.stack.clock().advance(Duration::from_secs(1));
        let refused = create_on(&night, &night.chute_id).await;
        refused.is_error(429, &exceeded(1, 1, 1, 1));
        assert_eq!(refused.engine_calls(), (calls, 0));
    }
    // Another quota is another question, and so is another day.
    set_quotas(&night, json!({"*": 2})).await;
    create_on(&night, &night.chute_id).await.ok();
    for calls in [2, 1] {
        set_quotas(&night, json!({"*": 0})).await;
        let refused = create_on(&night, &night.chute_id).await;
        refused.is_error(429, &exceeded(2, 2, 0, 0));
        assert_eq!(refused.engine_calls(), (calls, 0));
    }
    set_quotas(&night, json!({"*": 1})).await;
    night.stack.clock().advance(DAY);
    create_on(&night, &night.chute_id).await.ok();
}

#[tokio::test]
async fn a_signed_create_that_two_shards_count_is_good_for_one_job() {
    let night = busy_night().await;
    let other = Uuid::new_v4().to_string();
    put_busy(&night, &other, false).await.unwrap();
    set_quotas(&night, json!({"*": 4})).await;
    // The chute's slices are in the shards that are full then.
    assert!(refused(&night, &other, 4, 4).await.is_empty());
    set_quotas(&night, json!({"*": 4, "global": 8})).await;
    let hotkey = night.hotkey(Some(&night.user_id)).await;
    let path = format!("/jobs/{}/train", night.chute_id);
    let sign = || hotkey.headers_at(night.stack.clock().now() / 1000, "POST", &path, b"{}");
    let send = async |signed: &[(&'static str, String); 3], key: Option<&str>| {
        let mut headers: Vec<_> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(key.map(|key| ("idempotency-key", key)));
        Client::nobody().send(Method::POST, &night.url(&path), b"{}".to_vec(), &headers).await
    };
    let used = "This signature has been used already";
    let signed = sign();
    let answers = join_all((0..4).map(|_| send(&signed, None))).await;
    let (made, replayed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((made.len(), replayed.len()), (1, 3));
    replayed.iter().for_each(|answer| answer.is_error(401, used));
    for at_once in [1, 4] {
        let signed: Vec<_> = (0..at_once).map(|_| sign()).collect();
        let key = format!("k{at_once}");
        let answers = join_all(signed.iter().chain(&signed).map(|signed| send(signed, Some(&key)))).await;
        let same: BTreeSet<_> = answers.into_iter().map(|answer| text(&answer.ok()["job_id"])).collect();
        assert_eq!(same.len(), 1);
        send(&signed[0], Some("another")).await.is_error(401, used);
    }
    send(&sign(), None).await.ok();
    send(&sign(), None).await.is_error(429, &exceeded(4, 8, 4, 8));
    let rows = usage(&night).await;
    let here = format!("chute#{}", night.chute_id);
    let counts = |row: &Value| (count(row, "total"), count(row, &here));
    let counted: Vec<_> = rows.iter().map(counts).collect();
    assert_eq!((&counted[..4], &counted[4..8], counted[8]), (&[(1, 1); 4][..], &[(1, 0); 4][..], (0, 0)));
}

#[tokio::test]
async fn the_day_on_which_a_user_becomes_busy_is_counted_as_it_began() {
    let night = Night::begin().await;
    let quotas = json!({"command": "set_quotas", "user_id": night.user_id, "quotas": {"*": 3}});
    admin(&night, quotas).await;
    create_on(&night, &night.chute_id).await.ok();
    let busy = json!({"command": "set_busy_user", "user_id": night.user_id});
    assert_eq!(admin(&night, busy.clone()).await, json!({"user_id": night.user_id}));
    let row = async || item(&night.stack, "RegistryTable", "pk", &format!("user#{}", night.user_id)).await;
    let since = row().await;
    assert!(since["busy_since"]["N"].is_string(), "{since}");
    assert_eq!(refused(&night, &night.chute_id, 6, 2).await.len(), 4);
    let rows = usage(&night).await;
    assert_eq!((count(&rows[0], "total"), &rows[1..]), (3, &vec![Value::Null; usize::from(USAGE_SHARDS) - 1][..]));

    night.stack.clock().advance(SLICED);
    // A repeat is not a new beginning.
    admin(&night, busy).await;
    assert_eq!(row().await, since);
    for answer in refused(&night, &night.chute_id, 6, 3).await {
        answer.is_error(429, &exceeded(3, 3, 3, 3));
    }
    assert_eq!(usage(&night).await.iter().map(|row| count(row, "total")).max(), Some(1));
}

#[tokio::test]
async fn a_busy_users_jobs_are_listed_once_and_the_newest_first() {
    let night = Night::begin().await;
    let mut created = create(&night, 4).await;
    admin(&night, json!({"command": "set_busy_user", "user_id": night.user_id})).await;
    created.extend(create(&night, 40).await);
    created.reverse();
    let mut owners = BTreeSet::new();
    let mut places = Vec::new();
    for (number, job_id) in created.iter().enumerate() {
        let mut job = stored(&night, job_id).await;
        owners.insert(text(&job["owner"]["S"]));
        // Three of one millisecond each: the shards' order among them is nobody's business.
        let at = 1_795_000_000_000_u64 - number as u64 / 3;
        job["created_at"]["N"] = at.to_string().into();
        if number % 5 == 0 {
            job["status"]["S"] = "running".into();
        }
        store(&night, job).await;
        places.push((at, job_id.clone(), number % 5 == 0));
    }
    assert!(owners.len() > 4 && owners.contains(&night.user_id), "{owners:?}");
    places.sort_by(|a, b| b.cmp(a));
    let expected: Vec<_> = places.iter().map(|(_, job_id, _)| job_id.clone()).collect();
    let running: Vec<_> = places.iter().filter(|place| place.2).map(|(_, job_id, _)| job_id.clone()).collect();
    for limit in [3, 20, 100] {
        assert_eq!(pages(&night, &night.user, "/jobs?", limit).await, expected, "{limit}");
        assert_eq!(pages(&night, &night.user, "/jobs?status=running", limit).await, running, "{limit}");
    }
    // Of whose hotkey it is nothing is known beforehand.
    let hotkey = night.hotkey(Some(&night.user_id)).await;
    let signed = hotkey.headers_at(night.stack.clock().now() / 1000, "GET", "/jobs", b"");
    let signed = signed.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = Client::nobody().send(Method::GET, &night.url("/jobs?limit=5"), Vec::new(), &signed).await;
    assert_eq!(ids(&answer.ok()), expected[..5]);
}

#[tokio::test]
async fn a_busy_users_page_costs_the_same_however_few_jobs_pass_its_filter() {
    let night = busy_night().await;
    let job = stored(&night, &night.create("train").await).await;
    let (table, at) = (night.stack.resource("JobsTable").unwrap(), night.stack.clock().now());
    // Few pass, and one of them is in another shard: the first page, which ends before, may not show it.
    let passing = [50, 100, 1050, 1100, 1150, 1200];
    let copy = |number: i64| {
        let mut job = job.clone();
        job["job_id"]["S"] = Uuid::new_v4().to_string().into();
        job["created_at"]["N"] = (at - 1000 * number).to_string().into();
        let shard = if number == 1100 { "#5" } else { "" };
        job["owner"]["S"] = format!("{}{shard}", night.user_id).into();
        if passing.contains(&number) {
            job["job_id"]["S"] = Uuid::from_u128(number as u128).to_string().into();
            job["status"]["S"] = "running".into();
        }
        json!({"PutRequest": {"Item": job}})
    };
    for batch in (1..=1200).map(copy).collect::<Vec<_>>().chunks(25) {
        dynamodb(&night.stack, "BatchWriteItem", json!({"RequestItems": {table: batch}})).await;
    }
    let (mut found, mut cursor, mut asked) = (Vec::new(), String::new(), 0);
    loop {
        let answer = night.user.get(&night.url(&format!("/jobs?status=running{cursor}"))).await;
        // The caller, a shard beside it, each shard, and the one that has more: a query, and a read for 100 jobs that were found.
        let most = 2 + u32::from(SHARDS) + 2 + 1 + 3;
        assert!(answer.engine_calls().0 <= most, "{:?}", answer.engine_calls());
        let page = answer.ok();
        found.extend(ids(&page));
        asked += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((found, asked), (passing.map(|number| Uuid::from_u128(number as u128).to_string()).to_vec(), 4));
}

#[tokio::test]
async fn a_busy_users_list_gets_on_where_more_jobs_are_of_one_time_than_are_read() {
    let night = busy_night().await;
    let job = stored(&night, &night.create("train").await).await;
    let (mut places, mut batch) = (Vec::new(), Vec::new());
    for number in 0..75 {
        let mut job = job.clone();
        let (at, job_id) = (1_795_000_000_000_u64 + u64::from(number > 60), Uuid::new_v4().to_string());
        job["job_id"]["S"] = job_id.clone().into();
        job["created_at"]["N"] = at.to_string().into();
        job["owner"]["S"] = night.user_id.clone().into();
        places.push((at, job_id));
        batch.push(json!({"PutRequest": {"Item": job}}));
    }
    for batch in batch.chunks(25) {
        let request = json!({"RequestItems": {night.stack.resource("JobsTable").unwrap(): batch}});
        dynamodb(&night.stack, "BatchWriteItem", request).await;
    }
    night.user.delete(&night.url(&format!("/jobs/{}", text(&job["job_id"]["S"])))).await.ok();
    places.sort_by(|a, b| b.cmp(a));
    let expected: Vec<_> = places.into_iter().map(|(_, job_id)| job_id).collect();
    for (filter, expected) in [("", &expected[..]), ("status=pending", &expected), ("status=running", &[])] {
        assert_eq!(pages(&night, &night.user, &format!("/jobs?{filter}"), 7).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_busy_chutes_jobs_are_claimable_once_and_the_oldest_first() {
    let night = Night::begin().await;
    let mut created = create(&night, 4).await;
    put_busy(&night, &night.chute_id, true).await.unwrap();
    created.extend(create(&night, 40).await);
    let (mut shards, mut places) = (BTreeMap::<String, String>::new(), Vec::new());
    for (number, job_id) in created.iter().enumerate() {
        let mut job = stored(&night, job_id).await;
        let shard = job["lane"]["N"].as_str().unwrap_or_default().to_owned();
        shards.insert(shard, text(&job["queue"]["S"]));
        let at = 1_795_000_000_000_u64 + number as u64 / 3;
        job["due_at"]["N"] = at.to_string().into();
        store(&night, job).await;
        places.push((at, job_id.clone()));
    }
    assert!(shards.len() > 4, "{shards:?}");
    for (shard, queue) in shards {
        let shard = if shard.is_empty() { shard } else { format!("#{shard}") };
        assert_eq!(queue, format!("claimable#{}{shard}", night.chute_id));
    }
    places.sort();
    let expected: Vec<_> = places.into_iter().map(|(_, job_id)| job_id).collect();
    let miner = night.miner().await;
    let path = format!("/jobs/claimable?chute_id={}", night.chute_id);
    for limit in [3, 20, 100] {
        assert_eq!(pages(&night, &miner, &path, limit).await, expected, "{limit}");
    }
    // What is claimed leaves its shard, wherever that is.
    for job_id in &expected[..20] {
        night.claim(&miner, job_id).await;
    }
    assert_eq!(pages(&night, &miner, &path, 3).await, expected[20..]);
}

#[tokio::test]
async fn a_lost_job_waits_again_in_its_shard() {
    let night = Night::begin().await;
    put_busy(&night, &night.chute_id, true).await.unwrap();
    let miner = night.miner().await;
    let created = create(&night, 12).await;
    let mut queues = BTreeMap::new();
    for job_id in &created {
        queues.insert(job_id, stored(&night, job_id).await["queue"].take());
        night.claim(&miner, job_id).await;
    }
    assert!(queues.values().any(|queue| text(&queue["S"]).matches('#').count() == 2), "{queues:?}");
    // `serve` has no timeout: a miner may take a month.
    night.stack.clock().advance(31 * DAY);
    assert_eq!(night.reap().await, json!({"requeued": 12}));
    for (job_id, queue) in queues {
        assert_eq!(stored(&night, job_id).await["queue"], queue);
    }
    let path = format!("/jobs/claimable?chute_id={}", night.chute_id);
    assert_eq!(pages(&night, &night.miner().await, &path, 5).await, created);
}

#[tokio::test]
async fn a_busy_chute_stays_busy() {
    let night = Night::begin().await;
    put_busy(&night, &night.chute_id, false).await.unwrap();
    put_busy(&night, &night.chute_id, true).await.unwrap();
    let row = async || item(&night.stack, "RegistryTable", "pk", &format!("chute#{}", night.chute_id)).await;
    let before = row().await;
    assert_eq!(before["busy"], json!({"BOOL": true}));
    let says = format!("Chute {} is busy and stays so: jobs wait in its lanes", night.chute_id);
    let refused = put_busy(&night, &night.chute_id, false).await.unwrap_err().to_string();
    assert!(refused.contains(&says), "{refused}");
    // One that says nothing would take it away just as well.
    let silent = json!({"command": "put_chute", "chute": chute(&night.chute_id, &night.user_id)});
    assert!(night.stack.invoke("admin", silent).await.unwrap_err().to_string().contains(&says));
    assert_eq!(row().await, before);
    put_busy(&night, &night.chute_id, true).await.unwrap();
}

#[tokio::test]
async fn a_deleted_job_costs_its_owners_list_nothing() {
    let night = Night::on(Stack::builder().capacity(true).start().await.unwrap()).await;
    let miner = night.miner().await;
    let list = async || night.user.get(&night.url("/jobs?limit=100")).await;
    let read_of = |answer: &Answer| text(&json!(answer.header("x-local-engine-units").unwrap()));
    let empty = read_of(&list().await);
    let mut deleted = Vec::new();
    for busy in [false, true] {
        if busy {
            admin(&night, json!({"command": "set_busy_user", "user_id": night.user_id})).await;
        }
        for _ in 0..15 {
            let job_id = if deleted.len() % 3 == 0 {
                night.create("train").await
            } else {
                night.finished(&miner, &["a"]).await.0
            };
            night.user.delete(&night.url(&format!("/jobs/{job_id}"))).await.ok();
            assert_eq!(stored(&night, &job_id).await["owner"], Value::Null);
            deleted.push(job_id);
        }
        if !busy {
            assert_eq!(read_of(&list().await), empty);
        }
        assert_eq!(list().await.ok(), json!({"jobs": [], "next_cursor": null}));
    }
    let request = json!({
        "TableName": night.stack.resource("JobsTable").unwrap(), "IndexName": "by_owner", "Select": "COUNT",
    });
    assert_eq!(dynamodb(&night.stack, "Scan", request).await["ScannedCount"], 0);
}

/// `local/src/bench/scale.rs` and docs/limits.md reckon with these.
#[tokio::test]
async fn a_job_writes_the_units_that_the_simulation_counts() {
    let night = Night::on(Stack::builder().capacity(true).start().await.unwrap()).await;
    let (miner, nobody) = (night.miner().await, Client::nobody());
    let written = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        text(&json!(answer.header("x-local-engine-units").unwrap())).split_once(" write=").unwrap().1.to_owned()
    };
    for busy in [false, true] {
        if busy {
            admin(&night, json!({"command": "set_busy_user", "user_id": night.user_id})).await;
            put_busy(&night, &night.chute_id, true).await.unwrap();
            night.stack.clock().advance(SLICED);
        }
        // Two each for the job and the usage row in a transaction, one for each index.
        let create = create_on(&night, &night.chute_id).await;
        assert_eq!(written(&create), "6");
        // One for the job, two for what moves in the queue. Its list holds nothing that changes.
        let claim = night.try_claim(&miner, &text(&create.body["job_id"])).await;
        assert_eq!(written(&claim), "3");
        let url = text(&claim.body["job_status_url"]);
        let beat = nobody.put(&url.replace("?token=", "/heartbeat?token="), json!({"progress": 0.5})).await;
        // A row of its own, in no index.
        assert_eq!(written(&beat), "1");
        let finish = nobody.post(&url, json!({"status": "complete", "output_filenames": ["a"]})).await;
        assert_eq!(written(&finish), "1");
        // It moves in the queue, to where it is kept.
        assert_eq!(written(&nobody.put(&url, Value::Null).await), "3");
    }
}

#[tokio::test]
async fn who_is_not_busy_makes_the_same_calls_as_ever() {
    let night = Night::on(Stack::builder().capacity(true).start().await.unwrap()).await;
    let units = |answer: &Answer| text(&json!(answer.header("x-local-engine-units").unwrap()));
    let create = create_on(&night, &night.chute_id).await;
    assert_eq!((create.engine_calls(), units(&create).as_str()), ((2, 0), "read=5 write=6"));
    let job = stored(&night, &text(&create.ok()["job_id"])).await;
    assert_eq!((text(&job["owner"]["S"]), &job["lane"]), (night.user_id.clone(), &Value::Null));
    assert_eq!(text(&job["queue"]["S"]), format!("claimable#{}", night.chute_id));
    let list = night.user.get(&night.url("/jobs")).await;
    // Two of them are the key's and the user's rows, a half the query, a half each row of the page.
    assert_eq!((list.engine_calls(), units(&list).as_str()), ((3, 0), "read=3 write=0"));
    let miner = night.miner().await;
    let path = format!("/jobs/claimable?chute_id={}", night.chute_id);
    let poll = miner.get(&night.url(&path)).await;
    // Of these the chute's row is one: whether it is busy.
    assert_eq!((poll.engine_calls(), units(&poll).as_str()), ((2, 0), "read=3.5 write=0"));
    // And busy: a create is as cheap, and a list asks every shard.
    let night = busy_night().await;
    admin(&night, json!({"command": "set_quotas", "user_id": night.user_id, "quotas": {"*": 1_000_000}})).await;
    assert_eq!(create_on(&night, &night.chute_id).await.engine_calls(), (2, 0));
    assert_eq!(night.user.get(&night.url("/jobs")).await.engine_calls(), (2 + u32::from(SHARDS), 0));
}
