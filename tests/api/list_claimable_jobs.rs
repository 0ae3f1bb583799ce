//! `GET /jobs/claimable?chute_id=`.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Night, World, chute, redacted, text};
use uuid::Uuid;

async fn list(world: &World, more: &str) -> Value {
    ask(world, &format!("chute_id={}{more}", world.chute_id)).await.ok()
}

async fn ask(world: &World, query: &str) -> Answer {
    world.miner.get(&format!("/jobs/claimable?{query}")).await
}

fn ids(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| text(&job["job_id"])).collect()
}

async fn create(world: &World, jobs: usize) -> Vec<String> {
    let mut created = Vec::new();
    for _ in 0..jobs {
        created.push(world.create().await);
    }
    created
}

#[tokio::test]
async fn pending_jobs_are_listed_with_what_a_miner_needs_to_choose() {
    let world = World::new().await;
    let train = world.create().await;
    let serve = text(&world.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"]);
    let names = [("train", train.as_str()), ("serve", &serve), ("chute", &world.chute_id)];
    insta::assert_snapshot!(redacted(&list(&world, "").await, &names), @r#"
    {
      "jobs": [
        {
          "job_id": "[train]",
          "chute_id": "[chute]",
          "method": "train",
          "created_at": "[time]",
          "timeout": 3600,
          "ports": [],
          "node_selector": {
            "gpu_count": 1
          }
        },
        {
          "job_id": "[serve]",
          "chute_id": "[chute]",
          "method": "serve",
          "created_at": "[time]",
          "timeout": null,
          "ports": [
            {
              "name": "ssh",
              "port": 2222,
              "proto": "tcp"
            }
          ],
          "node_selector": {
            "gpu_count": 1
          }
        }
      ],
      "next_cursor": null
    }
    "#);
}

#[tokio::test]
async fn a_chute_without_pending_jobs_has_an_empty_list() {
    let world = World::new().await;
    let nothing = json!({"jobs": [], "next_cursor": null});
    assert_eq!(list(&world, "").await, nothing);
}

#[tokio::test]
async fn a_chute_that_does_not_exist_is_not_found() {
    let world = World::new().await;
    let nowhere = Uuid::new_v4();
    ask(&world, &format!("chute_id={nowhere}")).await.is_error(404, &format!("Chute {nowhere} not found"));
}

#[tokio::test]
async fn the_oldest_come_first_page_by_page() {
    let world = World::new().await;
    let created = create(&world, 5).await;
    assert_eq!(ids(&list(&world, "").await), created);

    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = list(&world, &format!("&limit=2{cursor}")).await;
        assert!(ids(&page).len() <= 2);
        listed.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test]
async fn a_cursor_holds_when_its_page_is_claimed_meanwhile() {
    let world = World::new().await;
    let created = create(&world, 4).await;
    let first = list(&world, "&limit=2").await;
    for job_id in ids(&first) {
        world.claim_with(&job_id, Value::Null).await;
    }
    let rest = list(&world, &format!("&cursor={}", text(&first["next_cursor"]))).await;
    assert_eq!(ids(&rest), created[2..]);
}

#[tokio::test]
async fn a_page_has_20_jobs_unless_asked_for_1_to_100() {
    let world = World::new().await;
    join_all((0..21).map(|_| world.create())).await;
    for (limit, jobs) in [("", 20), ("&limit=1", 1), ("&limit=20", 20), ("&limit=100", 21)] {
        assert_eq!(ids(&list(&world, limit).await).len(), jobs, "{limit}");
    }
    let second = list(&world, &format!("&cursor={}", text(&list(&world, "").await["next_cursor"]))).await;
    assert_eq!(ids(&second).len(), 1);
}

#[tokio::test]
async fn a_claimed_or_deleted_job_is_no_longer_listed() {
    let world = World::new().await;
    let [claimed, deleted, stays] = &create(&world, 3).await[..] else { panic!("three jobs") };
    world.claim_with(claimed, Value::Null).await;
    world.user.delete(&format!("/jobs/{deleted}")).await.ok();
    assert_eq!(ids(&list(&world, "").await), std::slice::from_ref(stays));
}

#[tokio::test]
async fn a_miner_sees_the_jobs_of_private_chutes_and_of_the_one_it_asks_for_only() {
    let world = World::new().await;
    let mut private = chute(&Uuid::new_v4().to_string(), &world.user_id);
    private["public"] = false.into();
    World::admin(json!({"command": "put_chute", "chute": private})).await;
    let other = text(&private["chute_id"]);
    let hidden = text(&world.user.post(&format!("/jobs/{other}/train"), json!({})).await.ok()["job_id"]);
    let job_id = world.create().await;
    assert_eq!(ids(&list(&world, "").await), [job_id]);
    assert_eq!(ids(&ask(&world, &format!("chute_id={other}")).await.ok()), [hidden]);
}

#[tokio::test]
async fn every_bad_parameter_is_named() {
    let world = World::new().await;
    insta::assert_snapshot!(ask(&world, "").await.body, @r#"{"detail":[{"type":"missing","loc":["query","chute_id"],"msg":"Field required","input":null}]}"#);
    let (_, detail) = ask(&world, "chute_id=nonsense&limit=101&cursor=1.x").await.error();
    let line = |error: &Value| format!("{} {} {} {}", error["type"], error["loc"], error["msg"], error["input"]);
    insta::assert_snapshot!(detail.as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    "value_error" ["query","chute_id"] "Input should be a valid UUID" "nonsense"
    "value_error" ["query","limit"] "Input should be an integer from 1 to 100" "101"
    "value_error" ["query","cursor"] "Input should be a cursor of this list" "1.x"
    "#);
    let (_, detail) = ask(&world, "limit=0&cursor=x").await.error();
    assert_eq!(detail.as_array().map(Vec::len), Some(3), "{detail}");
    for limit in ["0", "-1", "101", "1.0", "1e1", "ten", "", "99999999999", "%C2%B2"] {
        let (status, detail) = ask(&world, &format!("chute_id={}&limit={limit}", world.chute_id)).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", "limit"])), "{limit}");
    }
    let id = Uuid::new_v4().simple();
    for cursor in ["", "x", ".", "1", "1.", &format!(".{id}"), &format!("1,{id}"), &format!("9999999999999999999.{id}")]
    {
        let (status, detail) = ask(&world, &format!("chute_id={}&cursor={cursor}", world.chute_id)).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", "cursor"])), "{cursor}");
    }
    for chute_id in ["", "nonsense", &format!("{}x", world.chute_id), &format!("{0},{0}", world.chute_id)] {
        let (status, detail) = ask(&world, &format!("chute_id={chute_id}")).await.error();
        assert_eq!((status, &detail[0]["loc"]), (422, &json!(["query", "chute_id"])), "{chute_id}");
    }
}

#[tokio::test]
async fn any_cursor_of_the_right_form_is_a_place_in_the_list() {
    let world = World::new().await;
    let created = create(&world, 1).await;
    let id = Uuid::new_v4().simple();
    for (time, found) in [(0, true), (-1, true), (i64::MIN, true), (i64::MAX, false)] {
        let page = list(&world, &format!("&cursor={time}.{id}")).await;
        assert_eq!(ids(&page) == created, found, "{time}");
    }
}

#[tokio::test]
async fn who_finds_no_work_is_told_when_to_look_again() {
    let night = Night::begin().await;
    night.stack.clock().set(1_795_000_000_000);
    let miner = night.miner().await;
    let path = night.url(&format!("/jobs/claimable?chute_id={}", night.chute_id));
    let after = async |second: i64| {
        night.stack.clock().set(1_795_000_000_000 + second * 1000);
        let answer = miner.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("retry-after").map(|seconds| seconds.parse::<i64>().unwrap())
    };
    // Longer the longer there was none.
    assert_eq!((after(0).await, after(8).await), (Some(2), Some(4)));
    assert!((14..=15).contains(&after(30).await.unwrap()));
    assert!((14..=15).contains(&after(5000).await.unwrap()));
    // Where there is work, it is there now.
    let job_id = night.create("train").await;
    assert_eq!(after(5001).await, None);
    night.claim(&miner, &job_id).await;
    assert_eq!(after(5002).await, Some(2));
    // The end of a list says nothing about the queue.
    let end = miner.get(&format!("{path}&cursor=9999999999999.{}", Uuid::nil().simple())).await;
    assert_eq!((end.body["jobs"].as_array().unwrap().len(), end.header("retry-after")), (0, Some("2")));
    night.stack.shutdown().await;
}
