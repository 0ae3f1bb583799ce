//! `GET /jobs`.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Client, World, chute, dynamodb, item, redacted, stack, text};
use uuid::Uuid;

async fn list(world: &World, query: &str) -> Value {
    ask(world, query).await.ok()
}

async fn ask(world: &World, query: &str) -> Answer {
    world.user.get(&format!("/jobs?{query}")).await
}

fn ids(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

/// Ids of new jobs, the newest first.
async fn create(world: &World, jobs: usize) -> Vec<String> {
    let mut created = Vec::new();
    for _ in 0..jobs {
        created.insert(0, world.create().await);
    }
    created
}

/// Copies of a job in the table, each a second older than the one before.
async fn copies(job_id: &str, jobs: i64) {
    let job = item(stack(), "JobsTable", "job_id", job_id).await;
    let created_at: i64 = text(&job["created_at"]["N"]).parse().unwrap();
    let copy = |older: i64| {
        let mut job = job.clone();
        job["job_id"]["S"] = Uuid::new_v4().to_string().into();
        job["created_at"]["N"] = (created_at - 1000 * older).to_string().into();
        json!({"PutRequest": {"Item": job}})
    };
    let copies: Vec<_> = (1..=jobs).map(copy).collect();
    for batch in copies.chunks(25) {
        let request = json!({"RequestItems": {stack().resource("JobsTable").unwrap(): batch}});
        dynamodb(stack(), "BatchWriteItem", request).await;
    }
}

/// Every page from a query on.
async fn pages(world: &World, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(world, &format!("{query}{cursor}")).await;
        pages.push(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn own_jobs_are_listed_with_what_tells_them_apart() {
    let world = World::new().await;
    let [pending, running, complete] = &create(&world, 3).await[..] else { panic!("three jobs") };
    let job = world.claim_with(running, Value::Null).await;
    let heartbeat = job.path.replace("?token=", "/heartbeat?token=");
    Client::nobody().put(&heartbeat, json!({"progress": 0.25})).await.ok();
    let job = world.claim_with(complete, Value::Null).await;
    job.finish(json!({"status": "complete", "result": 7})).await.ok();

    let names = [("pending", pending.as_str()), ("running", running), ("complete", complete)];
    let page = redacted(&list(&world, "").await, &[&names[..], &[("chute", &world.chute_id)]].concat());
    insta::assert_snapshot!(page, @r#"
    {
      "jobs": [
        {
          "job_id": "[pending]",
          "chute_id": "[chute]",
          "chute_name": "trainer",
          "method": "train",
          "status": "pending",
          "terminal": false,
          "labels": [],
          "attempt": 0,
          "max_attempts": 1,
          "created_at": "[time]",
          "updated_at": "[time]",
          "started_at": null,
          "finished_at": null
        },
        {
          "job_id": "[running]",
          "chute_id": "[chute]",
          "chute_name": "trainer",
          "method": "train",
          "status": "running",
          "terminal": false,
          "labels": [],
          "attempt": 1,
          "max_attempts": 1,
          "created_at": "[time]",
          "updated_at": "[time]",
          "started_at": "[time]",
          "finished_at": null
        },
        {
          "job_id": "[complete]",
          "chute_id": "[chute]",
          "chute_name": "trainer",
          "method": "train",
          "status": "complete",
          "terminal": true,
          "labels": [],
          "attempt": 1,
          "max_attempts": 1,
          "created_at": "[time]",
          "updated_at": "[time]",
          "started_at": "[time]",
          "finished_at": "[time]"
        }
      ],
      "next_cursor": null
    }
    "#);
}

#[tokio::test]
async fn the_newest_come_first_page_by_page() {
    let world = World::new().await;
    let created = create(&world, 5).await;
    assert_eq!(ids(&list(&world, "").await), created);
    assert_eq!(pages(&world, "limit=2").await, [&created[..2], &created[2..4], &created[4..]]);
    // A page that holds the rest says so: nobody has to ask for an empty one.
    assert_eq!(pages(&world, "limit=5").await, [&created[..]]);
}

#[tokio::test]
async fn a_page_has_20_jobs_unless_asked_for_1_to_100() {
    let world = World::new().await;
    copies(&world.create().await, 120).await;
    for (limit, jobs) in [("", 20), ("limit=1", 1), ("limit=20", 20), ("limit=100", 100)] {
        assert_eq!(ids(&list(&world, limit).await).len(), jobs, "{limit}");
    }
}

#[tokio::test]
async fn jobs_of_one_millisecond_are_all_listed_once() {
    let world = World::new().await;
    let time = stack().clock().now();
    let mut created: Vec<_> = join_all((0..6).map(|_| world.create())).await;
    for job_id in &created {
        let mut job = item(stack(), "JobsTable", "job_id", job_id).await;
        job["created_at"]["N"] = time.to_string().into();
        dynamodb(stack(), "PutItem", json!({"TableName": stack().resource("JobsTable").unwrap(), "Item": job})).await;
    }
    let mut listed = pages(&world, "limit=4").await.concat();
    created.sort();
    listed.sort();
    assert_eq!(listed, created);
}

#[tokio::test]
async fn filters_leave_what_passes_them_all() {
    let world = World::new().await;
    let other = Uuid::new_v4().to_string();
    World::admin(json!({"command": "put_chute", "chute": chute(&other, &world.user_id)})).await;
    let elsewhere = text(&world.user.post(&format!("/jobs/{other}/train"), json!({})).await.ok()["job_id"]);
    let [pending, running, complete] = &create(&world, 3).await[..] else { panic!("three jobs") };
    world.claim_with(running, Value::Null).await;
    world.claim_with(complete, Value::Null).await.finish(json!({"status": "complete"})).await.ok();

    let here = &world.chute_id;
    for (query, expected) in [
        ("status=pending", &[pending, &elsewhere][..]),
        ("status=running", &[running]),
        ("status=timeout", &[]),
        ("terminal=true", &[complete]),
        ("terminal=false", &[pending, running, &elsewhere]),
        (&format!("chute_id={other}"), &[&elsewhere]),
        (&format!("chute_id={here}&terminal=false&status=pending"), &[pending]),
        (&format!("chute_id={}", Uuid::new_v4()), &[]),
    ] {
        assert_eq!(ids(&list(&world, query).await).iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(pages(&world, &format!("{query}&limit=1")).await.concat().len(), expected.len(), "{query}");
    }
}

#[tokio::test]
async fn a_deleted_job_is_not_listed() {
    let world = World::new().await;
    let [newest, deleted, oldest] = &create(&world, 3).await[..] else { panic!("three jobs") };
    world.user.delete(&format!("/jobs/{deleted}")).await.ok();
    assert_eq!(ids(&list(&world, "").await), [newest.clone(), oldest.clone()]);
    assert_eq!(pages(&world, "limit=1").await, [[newest.clone()], [oldest.clone()]]);
}

#[tokio::test]
async fn a_filter_that_nothing_passes_costs_no_more_than_two_queries_and_300_jobs_a_page() {
    let world = World::new().await;
    let oldest = world.create().await;
    world.claim_with(&oldest, Value::Null).await;
    let pending = world.create().await;
    let mut job = item(stack(), "JobsTable", "job_id", &oldest).await;
    job["created_at"]["N"] = "0".into();
    dynamodb(stack(), "PutItem", json!({"TableName": stack().resource("JobsTable").unwrap(), "Item": job})).await;
    copies(&pending, 700).await;

    let mut next = Value::Null;
    for found in [0, 0, 1] {
        let cursor = next.as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
        let answer = ask(&world, &format!("status=running{cursor}")).await;
        // The caller, a page's worth beside it, and the rest of what a request may read: each a query, and a read for 100 jobs.
        assert!(answer.engine_calls().0 <= 1 + 2 + 1 + 3, "{:?}", answer.engine_calls());
        let page = answer.ok();
        assert_eq!(ids(&page).len(), found, "{page}");
        next = page["next_cursor"].clone();
    }
    assert_eq!(next, Value::Null);
    // Without a filter one query and one read fill the page, wherever it begins.
    let deep =
        format!("&cursor={}.{}", text(&job["created_at"]["N"]).parse::<i64>().unwrap() + 1, Uuid::nil().simple());
    for cursor in ["", &deep] {
        assert_eq!(ask(&world, &format!("limit=100{cursor}")).await.engine_calls(), (3, 0), "{cursor}");
    }
}

#[tokio::test]
async fn a_cursor_of_somebody_else_leads_to_ones_own_jobs_only() {
    let (world, other) = (World::new().await, World::new().await);
    create(&other, 3).await;
    let own = create(&world, 2).await;
    let cursor = text(&list(&other, "limit=1").await["next_cursor"]);
    let page = list(&world, &format!("cursor={cursor}")).await;
    assert!(ids(&page).iter().all(|job_id| own.contains(job_id)), "{page}");
    // Any place in time is a place in one's own list.
    let id = Uuid::new_v4().simple();
    for (time, found) in [(0, 0), (i64::MIN, 0), (i64::MAX, 2)] {
        assert_eq!(ids(&list(&world, &format!("cursor={time}.{id}")).await).len(), found, "{time}");
    }
}

#[tokio::test]
async fn nobody_lists_anything_without_credentials_or_with_a_key_that_names_another_user() {
    let (world, other) = (World::new().await, World::new().await);
    create(&world, 1).await;
    Client::nobody().get("/jobs").await.is_error(401, "Missing or invalid authorization header(s)");
    let user_id = |world: &World| world.user_id.replace('-', "");
    let forged = other.key.replace(&user_id(&other), &user_id(&world));
    Client::with_key(forged).get("/jobs").await.is_error(401, "Invalid token or user not found");
    let hotkey = Client::with_hotkey(World::hotkey(&world.user_id).await);
    assert_eq!(ids(&hotkey.get("/jobs?limit=5").await.ok()).len(), 1);
}

#[tokio::test]
async fn every_bad_parameter_is_named() {
    let world = World::new().await;
    let (_, detail) = ask(&world, "status=done&terminal=1&chute_id=x&limit=101&cursor=1.x").await.error();
    let line = |error: &Value| format!("{} {} {} {}", error["type"], error["loc"], error["msg"], error["input"]);
    insta::assert_snapshot!(detail.as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    "value_error" ["query","status"] "Input should be a status of a job" "done"
    "value_error" ["query","terminal"] "Input should be true or false" "1"
    "value_error" ["query","chute_id"] "Input should be a valid UUID" "x"
    "value_error" ["query","limit"] "Input should be an integer from 1 to 100" "101"
    "value_error" ["query","cursor"] "Input should be a cursor of this list" "1.x"
    "#);
    for (field, value) in [
        ("status", ""),
        ("status", "Pending"),
        ("status", "pending,running"),
        ("terminal", "True"),
        ("terminal", ""),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "1.0"),
        ("limit", "%C2%B2"),
        ("cursor", ""),
        ("cursor", "x"),
        ("cursor", "9999999999999999999.00000000000040008000000000000000"),
    ] {
        let (status, detail) = ask(&world, &format!("{field}={value}")).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", field])), "{field}={value}");
    }
}
