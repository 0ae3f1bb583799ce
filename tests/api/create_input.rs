//! `POST /inputs`.

use std::time::Duration;

use local::{Fault, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Client, Night, World, dynamodb,
    input::{declared, uploaded},
    item, objects, stack, text, upload_to,
};
use uuid::Uuid;

/// Milliseconds of a day.
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_file_with_a_hash_is_one_input_and_uploaded_once() {
    let world = World::new().await;
    let file = declared("weights/model.bin", b"hello");
    let first = world.user.post("/inputs", file.clone()).await;
    assert_eq!(first.engine_calls(), (2, 0), "the caller with the row, and the row's write");
    let first = first.ok();
    let input_id = text(&first["input_id"]);
    assert_eq!(first["uri"], format!("jobchute://inputs/{input_id}"));
    let upload = &first["upload"];
    assert_eq!((&upload["filename"], &upload["file_id"]), (&json!("weights/model.bin"), &json!(input_id)));
    assert_eq!(upload["renew_url"], format!("{}/inputs/{input_id}", stack().url()));
    assert_eq!((&upload["parts"], &upload["headers"]["content-length"]), (&Value::Null, &json!("5")));

    // The same before it is there, and after.
    let again = world.user.post("/inputs", file.clone()).await;
    assert_eq!(again.engine_calls(), (1, 1), "what was declared, and whether it is there");
    let again = again.ok();
    assert_eq!((&again["input_id"], &again["upload"]["method"]), (&first["input_id"], &json!("PUT")));
    assert_eq!(upload_to(&again["upload"], b"hello").await.status, 200);
    let there = world.user.post("/inputs", file.clone()).await;
    assert_eq!(there.engine_calls(), (1, 1));
    assert_eq!(there.ok(), json!({"input_id": input_id, "uri": first["uri"], "upload": null, "expires_at": first["expires_at"]}));

    // Whatever else is said of it makes another one, and so does somebody else who says the same.
    let mut others = vec![World::new().await.user.post("/inputs", file.clone()).await.ok()];
    for (field, value) in [("filename", json!("model.bin")), ("content_type", json!("a/b")), ("part_size", json!(5 << 20))] {
        let mut other = file.clone();
        other[field] = value;
        others.push(world.user.post("/inputs", other).await.ok());
    }
    for other in others {
        assert!(other["input_id"] != first["input_id"] && other["upload"]["url"].is_string(), "{other}");
    }
    // Without a hash nobody knows whether it is the same.
    let unhashed = json!({"filename": "weights/model.bin", "size": 5});
    let (one, other) = (world.user.post("/inputs", unhashed.clone()).await, world.user.post("/inputs", unhashed).await);
    assert_ne!(one.ok()["input_id"], other.ok()["input_id"]);
}

#[tokio::test]
async fn only_the_bytes_that_were_declared_are_taken_and_they_are_never_replaced() {
    let world = World::new().await;
    let input = world.user.post("/inputs", declared("a", b"hello")).await.ok();
    let input_id = text(&input["input_id"]);
    assert_eq!(upload_to(&input["upload"], b"HELLO").await.status, 400, "other bytes");
    assert_eq!(upload_to(&input["upload"], b"hello!").await.status, 403, "more bytes");
    // Whoever leaves out that nothing may be there yet has not what was signed.
    let mut replacing = input["upload"].clone();
    replacing["headers"].as_object_mut().unwrap().remove("if-none-match");
    assert_eq!(upload_to(&replacing, b"hello").await.status, 403);
    assert_eq!(objects(stack(), &input_id).await, [""; 0]);

    let unhashed = world.user.post("/inputs", json!({"filename": "a", "size": 5})).await.ok();
    for (content, status) in [(b"first", 200), (b"other", 412), (b"first", 412)] {
        assert_eq!(upload_to(&unhashed["upload"], content).await.status, status);
    }
    assert_eq!(objects(stack(), &text(&unhashed["input_id"])).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_named() {
    let world = World::new().await;
    let refused = async |body: Value| {
        let (status, detail) = world.user.post("/inputs", body).await.error();
        assert_eq!(status, 422, "{detail}");
        detail.as_array().unwrap().iter().map(|wrong| json!([wrong["loc"][1], wrong["msg"]])).collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({})).await, [
        json!(["filename", "Field required"]),
        json!(["size", "Field required"])
    ]);
    for name in ["", "/a", "../a", "a//b", "a\\b", "a\n", &"x".repeat(927)] {
        let wrong = refused(json!({"filename": name, "size": 1})).await;
        assert!(wrong.len() == 1 && text(&wrong[0][1]).starts_with("Filename must "), "{name}: {wrong:?}");
    }
    for (field, value) in [
        ("size", json!(-1)),
        ("size", json!("5")),
        ("size", json!(1.5)),
        ("size", json!((5_u64 << 40) + 1)),
        ("sha256", json!("abc")),
        ("content_type", json!("text")),
        ("part_size", json!(1)),
        ("filename", json!(5)),
    ] {
        let mut body = json!({"filename": "a", "size": 1});
        body[field] = value.clone();
        let wrong = refused(body).await;
        assert_eq!((wrong.len(), &wrong[0][0]), (1, &json!(field)), "{value}: {wrong:?}");
    }
    assert_eq!(refused(json!({"filename": "a", "size": null})).await, [json!(["size", "Field required"])]);
    let much = json!({"filename": "a", "size": (100_u64 << 30) + 1});
    let detail = "The declared files have 107374182401 bytes together, and a job may have 107374182400";
    world.user.post("/inputs", much).await.is_error(413, detail);
    assert_eq!(Client::nobody().post("/inputs", json!({"filename": "a", "size": 1})).await.status, 401);
    // The longest name, and nothing in it.
    let longest = json!({"filename": "é".repeat(463), "size": 0});
    let empty = world.user.post("/inputs", longest).await.ok();
    assert_eq!(upload_to(&empty["upload"], b"").await.status, 200);
}

#[tokio::test]
async fn a_row_lives_as_long_as_jobs_can_name_it_and_is_in_no_list_of_what_a_user_owns() {
    let stack = Stack::builder().parameter("InputRetentionDays", "10").start().await.unwrap();
    let night = Night::on(stack).await;
    // The first day of a period of five.
    night.stack.clock().set(5 * DAY.as_millis() as i64 * 4200);
    let first = uploaded(night.stack.url(), &night.user, "a", b"hello").await;
    let input_id = first.rsplit('/').next().unwrap().to_owned();
    let row = item(&night.stack, "RegistryTable", "pk", &format!("input#{}#{input_id}", night.user_id)).await;
    assert_eq!(row["expires_at"]["N"], (86_400 * (5 * 4200 + 10)).to_string());
    assert!(row.get("user_id").is_none(), "{row}");

    // What is given back lives for half of the time at least.
    night.stack.clock().advance(5 * DAY - Duration::from_secs(1));
    let known = night.user.post(&night.url("/inputs"), declared("a", b"hello")).await.ok();
    assert_eq!((&known["upload"], &known["expires_at"]), (&Value::Null, &json!("2027-07-11T00:00:00.000Z")));
    let renewed = night.user.put(&night.url(&format!("/inputs/{input_id}")), Value::Null).await.ok();
    assert_eq!(renewed, known);
    night.stack.clock().advance(Duration::from_secs(1));
    let later = night.user.post(&night.url("/inputs"), declared("a", b"hello")).await.ok();
    assert!(later["uri"] != first.as_str() && later["upload"].is_object(), "{later}");

    // The table removes what has expired when it likes.
    let create = night.url(&format!("/jobs/{}/train", night.chute_id));
    night.stack.clock().advance(5 * DAY - Duration::from_secs(1));
    night.user.post(&create, json!({"a": first})).await.ok();
    night.stack.clock().advance(Duration::from_secs(1));
    assert_eq!(night.user.post(&create, json!({"a": first})).await.status, 422);
    assert_eq!(night.user.put(&night.url(&format!("/inputs/{input_id}")), Value::Null).await.status, 404);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn requests_for_one_file_at_once_and_a_lost_answer_make_one_input() {
    let night = Night::begin().await;
    let create = async || night.user.post(&night.url("/inputs"), declared("a", b"hello")).await;
    // Both have read that there is none.
    night.fail(Some("PutItem"), Fault::Delay(Duration::from_millis(500)));
    let (one, other) = tokio::join!(create(), create());
    let (one, other) = (one.ok(), other.ok());
    assert_eq!(one["input_id"], other["input_id"]);
    for fault in [Fault::KillAfter, Fault::FailAfter, Fault::Cut] {
        night.fail_once("PutItem", fault);
        create().await;
        assert_eq!(create().await.ok()["input_id"], one["input_id"]);
    }
    night.fail(None, Fault::None);
    let scan = json!({"TableName": night.stack.resource("RegistryTable").unwrap()});
    let rows = dynamodb(&night.stack, "Scan", scan).await["Items"].take();
    let inputs = rows.as_array().unwrap().iter().filter(|row| text(&row["pk"]["S"]).starts_with("input#"));
    assert_eq!(inputs.count(), 1);
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_signature_is_good_for_one_input() {
    let world = World::new().await;
    let hotkey = World::hotkey(&world.user_id).await;
    let body = declared("a", b"hello").to_string().into_bytes();
    let headers = hotkey.headers("POST", "/inputs", &body);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let send = async |path: &str| Client::nobody().send(Method::POST, path, body.clone(), &headers).await;
    let first = send("/inputs").await.ok();
    assert_eq!(send("/inputs").await.ok()["input_id"], first["input_id"], "a repeat");
    let path = format!("/inputs/{}", Uuid::new_v4());
    assert_eq!(Client::nobody().send(Method::PUT, &path, body.clone(), &headers).await.status, 404);
    let create = format!("/jobs/{}/train", world.chute_id);
    send(&create).await.is_error(401, "This signature has been used already");
}
