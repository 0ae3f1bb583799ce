//! `admin`: lists of users, keys, hotkeys, chutes and jobs.

use std::collections::BTreeSet;

use local::Stack;
use serde_json::{Value, json};
use tests::{World, chute, dynamodb, item, stack, text};
use uuid::Uuid;

/// Every page of a list, each with this many entries at most: the pages' entries.
async fn pages(stack: &Stack, mut command: Value, limit: usize) -> Vec<Vec<Value>> {
    command["limit"] = limit.into();
    let mut pages = Vec::new();
    loop {
        let mut page = stack.invoke("admin", command.clone()).await.unwrap();
        let name = page.as_object().unwrap().keys().next().unwrap().clone();
        pages.push(page[&name].as_array().unwrap().clone());
        assert!(pages.last().unwrap().len() <= limit, "{page}");
        match page["next_cursor"].take() {
            Value::Null => return pages,
            next => command["cursor"] = next,
        }
    }
}

fn of(kind: &str, user_id: &str) -> Value {
    json!({"command": format!("list_{kind}"), "user_id": user_id})
}

async fn one(command: Value, name: &str) -> Vec<Value> {
    let page = World::admin(command).await;
    assert_eq!(page["next_cursor"], Value::Null);
    page[name].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_a_user_has_is_listed_and_shows_no_secret() {
    let (user_id, key) = World::account(json!(["miner"])).await;
    let hotkey = World::hotkey(&user_id).await;
    let second = World::admin(json!({"command": "create_key", "user_id": user_id})).await;
    World::admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": 3}})).await;
    let chute_id = Uuid::new_v4().to_string();
    World::admin(json!({"command": "put_chute", "chute": chute(&chute_id, &user_id)})).await;

    let mut told = String::new();
    let users = one(of("users", &user_id), "users").await;
    assert_eq!(
        users,
        [json!({
            "user_id": user_id, "roles": ["miner"], "quotas": {"*": 3}, "running_limit": null, "disabled": false, "disabled_at": null,
            "busy_since": null, "created_at": users[0]["created_at"],
        })]
    );
    assert!(text(&users[0]["created_at"]).ends_with('Z'));
    // What was revoked a moment ago shows as revoked.
    World::admin(json!({"command": "revoke_key", "key_id": second["key_id"]})).await;
    World::admin(json!({"command": "revoke_hotkey", "hotkey": hotkey.address})).await;
    let keys = one(of("keys", &user_id), "keys").await;
    let shown: BTreeSet<_> = keys.iter().map(|key| (text(&key["key_id"]), key["revoked"] == true)).collect();
    let first = Uuid::try_parse(&key[4..36]).unwrap().to_string();
    assert_eq!(shown, BTreeSet::from([(first, false), (text(&second["key_id"]), true)]));
    let fields: Vec<_> = keys[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["key_id", "user_id", "name", "roles", "revoked", "expires_at", "created_at"]);
    let hotkeys = one(of("hotkeys", &user_id), "hotkeys").await;
    assert_eq!((&hotkeys[0]["hotkey"], &hotkeys[0]["revoked"]), (&json!(hotkey.address), &json!(true)));
    // As it is listed, it can be put back.
    let chutes = one(of("chutes", &user_id), "chutes").await;
    assert_eq!((chutes.len(), &chutes[0]["chute_id"]), (1, &json!(chute_id)));
    let row = item(stack(), "RegistryTable", "pk", &format!("chute#{chute_id}")).await;
    World::admin(json!({"command": "put_chute", "chute": chutes[0]})).await;
    assert_eq!(item(stack(), "RegistryTable", "pk", &format!("chute#{chute_id}")).await, row);

    for list in [users, keys, hotkeys, chutes] {
        told += &json!(list).to_string();
    }
    let hash = item(stack(), "RegistryTable", "pk", &format!("key#{}", &key[4..36])).await["hash"]["B"].take();
    for secret in [key.rsplit('.').next().unwrap(), &text(&hash)] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[tokio::test]
async fn everything_is_listed_once_page_by_page() {
    let stack = Stack::start().await.unwrap();
    let admin = async |command| stack.invoke("admin", command).await.unwrap();
    let mut made = BTreeSet::new();
    for _ in 0..5 {
        let user_id = text(&admin(json!({"command": "create_user"})).await["user_id"]);
        for _ in 0..3 {
            admin(json!({"command": "create_key", "user_id": user_id})).await;
        }
        admin(json!({"command": "put_chute", "chute": chute(&Uuid::new_v4().to_string(), &user_id)})).await;
        made.insert(user_id);
    }
    for (list, id, all) in [("users", "user_id", 5_usize), ("keys", "key_id", 15), ("chutes", "chute_id", 5), ("hotkeys", "", 0)] {
        for limit in [2, 100] {
            let pages = pages(&stack, json!({"command": format!("list_{list}")}), limit).await;
            let listed = pages.concat();
            let ids: BTreeSet<_> = listed.iter().map(|row| text(&row[id])).collect();
            assert_eq!((listed.len(), ids.len(), pages.len()), (all, all, all.div_ceil(limit).max(1)), "{list}");
            if list == "users" {
                assert_eq!(ids, made);
            }
        }
    }
    let user_id = made.first().unwrap();
    let keys = pages(&stack, of("keys", user_id), 2).await;
    assert_eq!(keys.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert!(keys.concat().iter().all(|key| key["user_id"] == **user_id));
    stack.shutdown().await;
}

#[tokio::test]
async fn jobs_are_listed_of_a_user_and_of_a_chute() {
    let (world, other) = (World::new().await, World::new().await);
    let [first, second, third] = [world.create().await, world.create().await, world.create().await];
    let theirs = other.user.post(&format!("/jobs/{}/train", world.chute_id), json!({})).await.ok();
    let theirs = text(&theirs["job_id"]);
    let elsewhere = world.user.post(&format!("/jobs/{}/train", other.chute_id), json!({})).await.ok();
    let elsewhere = text(&elsewhere["job_id"]);
    World::admin(json!({"command": "cancel_job", "job_id": first})).await;
    let ids = |pages: Vec<Vec<Value>>| -> Vec<String> { pages.concat().iter().map(|job| text(&job["job_id"])).collect() };

    // A user's, the newest first, as the user sees them.
    let listed = pages(stack(), of("jobs", &world.user_id), 2).await;
    assert_eq!(listed.concat(), *world.user.get("/jobs").await.ok()["jobs"].as_array().unwrap());
    assert_eq!(ids(listed), [&elsewhere, &third, &second, &first].map(String::as_str));
    let mut open = of("jobs", &world.user_id);
    open["chute_id"] = world.chute_id.as_str().into();
    open["terminal"] = false.into();
    assert_eq!(ids(pages(stack(), open, 100).await), [&third, &second].map(String::as_str));

    // A chute's, whoever's.
    let mut of_chute = json!({"command": "list_jobs", "chute_id": world.chute_id});
    for limit in [1, 100] {
        let listed = pages(stack(), of_chute.clone(), limit).await.concat();
        let owners: BTreeSet<_> = listed.iter().map(|job| (text(&job["job_id"]), text(&job["user_id"]))).collect();
        let own = [&first, &second, &third].map(|job_id| (job_id.clone(), world.user_id.clone()));
        let expected: BTreeSet<_> = own.into_iter().chain([(theirs.clone(), other.user_id.clone())]).collect();
        assert_eq!((owners, listed.len()), (expected, 4));
    }
    of_chute["status"] = "cancelled".into();
    assert_eq!(ids(pages(stack(), of_chute, 100).await), [first.as_str()]);

    // A busy user's jobs are the same user's.
    World::admin(json!({"command": "set_busy_user", "user_id": other.user_id})).await;
    let busy = text(&other.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"]);
    let listed = pages(stack(), json!({"command": "list_jobs", "chute_id": world.chute_id}), 2).await.concat();
    let found = listed.iter().find(|job| job["job_id"] == *busy).expect("it is listed");
    assert_eq!(found["user_id"], *other.user_id);
}

#[tokio::test]
async fn a_cursor_or_a_limit_that_is_none_of_the_list_is_refused() {
    let (user_id, _) = World::account(json!([])).await;
    let (other, _) = World::account(json!([])).await;
    World::admin(json!({"command": "create_key", "user_id": user_id})).await;
    let mut page = of("keys", &user_id);
    page["limit"] = 1.into();
    let cursor = World::admin(page).await["next_cursor"].take();
    for (mut command, cursor) in [
        (of("keys", &other), cursor.clone()),
        (of("chutes", &user_id), cursor.clone()),
        (of("keys", &user_id), json!("")),
        (of("keys", &user_id), json!("x.key#1")),
        (of("users", &user_id), json!(format!("{user_id}."))),
        (json!({"command": "list_users"}), json!("1")),
        (of("jobs", &user_id), cursor.clone()),
        (json!({"command": "list_jobs"}), cursor),
        (json!({"command": "list_jobs"}), json!("a.1.b")),
        (json!({"command": "list_jobs"}), json!(format!(".1.{user_id}"))),
    ] {
        command["cursor"] = cursor.clone();
        assert_eq!(World::refused(command).await, format!("{cursor} is no cursor of this list"));
    }
    for limit in [0, 101] {
        let command = json!({"command": "list_users", "limit": limit});
        assert_eq!(World::refused(command).await, "limit is not from 1 to 100");
    }
}

#[tokio::test]
async fn a_row_of_a_newer_release_keeps_no_other_from_being_listed() {
    let stack = Stack::start().await.unwrap();
    let admin = async |command| stack.invoke("admin", command).await.unwrap();
    let user_id = text(&admin(json!({"command": "create_user"})).await["user_id"]);
    let newer = json!({
        "pk": {"S": "user#3f0a1f6e-0000-4000-8000-00000000000a"}, "user_id": {"S": "3f0a1f6e-0000-4000-8000-00000000000a"},
        "v": {"N": "1000"},
    });
    dynamodb(&stack, "PutItem", json!({"TableName": stack.resource("RegistryTable").unwrap(), "Item": newer})).await;
    let listed = pages(&stack, json!({"command": "list_users"}), 100).await.concat();
    assert_eq!(listed.iter().map(|user| text(&user["user_id"])).collect::<Vec<_>>(), [user_id]);
    let lines = stack.shutdown().await;
    assert!(lines.iter().any(|line| line.function == "admin" && line.text.contains("a row is not listed")));
}
