//! `POST /jobs/{chute_id}/{method}`.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use local::{Front, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Night, World, chute, item, redacted, stack, text};
use uuid::Uuid;

/// Creates a job of `train` with this body, as it stands.
async fn create(world: &World, body: &[u8]) -> Answer {
    world.user.send(Method::POST, &train(world), body.to_vec(), &[("content-type", "application/json")]).await
}

fn train(world: &World) -> String {
    format!("/jobs/{}/train", world.chute_id)
}

async fn set_quotas(world: &World, quotas: Value) {
    World::admin(json!({"command": "set_quotas", "user_id": world.user_id, "quotas": quotas})).await;
}

async fn claimable(world: &World) -> usize {
    let path = format!("/jobs/claimable?limit=100&chute_id={}", world.chute_id);
    world.miner.get(&path).await.ok()["jobs"].as_array().unwrap().len()
}

fn exceeded(of_chute: u32, total: u32, job_quota: u32, total_quota: u32) -> String {
    format!(
        "Daily job quota exceeded: chute_job_count={of_chute} total_job_count={total} of job_quota={job_quota} and \
         total_quota={total_quota}"
    )
}

#[tokio::test]
async fn a_job_is_created_pending() {
    let world = World::new().await;
    let answer = create(&world, b"{\"epochs\": 3, \"_disk_gb\": 50}").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let job = answer.ok();
    let names = [("user", world.user_id.as_str()), ("chute", world.chute_id.as_str())];
    insta::assert_snapshot!(redacted(&job, &names), @r#"
    {
      "job_id": "[id]",
      "user_id": "[user]",
      "chute_id": "[chute]",
      "version": "v1",
      "chutes_version": "0.3.1",
      "method": "train",
      "instance_id": null,
      "host": null,
      "active": false,
      "verified": false,
      "created_at": "[time]",
      "last_queried_at": null,
      "updated_at": "[time]",
      "finished_at": null,
      "job_args": {
        "epochs": 3,
        "_disk_gb": 50
      },
      "inputs": null,
      "result": null,
      "output_files": null,
      "port_mappings": null,
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
      "instance": null,
      "output_storage_urls": {},
      "status": "pending",
      "terminal": false,
      "error_detail": null,
      "started_at": null,
      "deadline_at": null,
      "expires_at": "[time]",
      "kept_until": null,
      "labels": [],
      "webhook": null,
      "cancel_requested_at": null,
      "attempt": 0,
      "max_attempts": 1,
      "progress": null,
      "log_bytes": null,
      "miner_hotkey": null
    }
    "#);
    assert_eq!(world.get(job["job_id"].as_str().unwrap()).await, job);
}

#[tokio::test]
async fn an_empty_body_is_an_empty_object() {
    let world = World::new().await;
    for body in ["", "{}", " {\n} "] {
        assert_eq!(create(&world, body.as_bytes()).await.ok()["job_args"], json!({"_disk_gb": 10}));
    }
    let answer = world.user.send(Method::POST, &train(&world), Vec::new(), &[]).await;
    assert_eq!(answer.ok()["job_args"], json!({"_disk_gb": 10}));
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let world = World::new().await;
    for kind in ["text/plain", "application/octet-stream", "nonsense"] {
        let answer =
            world.user.send(Method::POST, &train(&world), b"{\"a\":1}".to_vec(), &[("content-type", kind)]).await;
        assert_eq!(answer.ok()["job_args"]["a"], 1, "{kind}");
    }
}

#[tokio::test]
async fn arguments_stay_as_they_were_written() {
    let world = World::new().await;
    let args = r#"{"z":123456789012345678901234567890,"a":1.10,"nul":"\u0000","e":1E+2,"_disk_gb":11,"o":{"k" :[ 1,-0]},"ü":"é\n"}"#;
    let answer = create(&world, args.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.bytes).contains(&format!("\"job_args\":{args},")), "{}", answer.body);
    let job = world.user.get(&format!("/jobs/{}", text(&answer.body["job_id"]))).await;
    assert_eq!(job.bytes, answer.bytes);
}

#[tokio::test]
async fn a_key_given_twice_counts_as_given_last() {
    let world = World::new().await;
    let answer = create(&world, b"{\"_disk_gb\":5,\"a\":1,\"a\":2,\"_disk_gb\":20}").await;
    assert_eq!(answer.ok()["job_args"], json!({"a": 2, "_disk_gb": 20}));
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_invalid_and_creates_nothing() {
    let world = World::new().await;
    let bodies: [&[u8]; 13] = [
        b"{",
        b"{\"a\":}",
        b"{\"a\":1,\n\"b\" 2}",
        b"{\"a\":NaN}",
        b"{\"a\":-Infinity}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xc3\"}",
        b"{\"a\":\"\0\"}",
        b"{\"a\":01}",
        b"{\"a\":1}}",
        b"{'a':1}",
        b"nonsense",
        b" ",
    ];
    let mut told = String::new();
    for body in bodies {
        let (status, detail) = create(&world, body).await.error();
        let name = body.escape_ascii();
        assert_eq!((status, detail.as_array().map(Vec::len)), (422, Some(1)), "{name}");
        assert_eq!((&detail[0]["type"], &detail[0]["loc"][0]), (&"json_invalid".into(), &"body".into()), "{name}");
        told += &format!("{name}  {} {}\n", detail[0]["loc"][1], detail[0]["ctx"]["error"]);
    }
    insta::assert_snapshot!(told, @r#"
    {  1 "EOF while parsing an object"
    {\"a\":}  5 "expected value"
    {\"a\":1,\n\"b\" 2}  12 "expected `:`"
    {\"a\":NaN}  5 "expected value"
    {\"a\":-Infinity}  6 "invalid number"
    {\"a\":\"\xff\"}  6 "invalid unicode code point"
    {\"a\":\"\xc3\"}  6 "invalid unicode code point"
    {\"a\":\"\x00\"}  6 "control character (\\u0000-\\u001F) found while parsing a string"
    {\"a\":01}  6 "invalid number"
    {\"a\":1}}  7 "trailing characters"
    {\'a\':1}  1 "key must be a string"
    nonsense  1 "expected ident"
       1 "EOF while parsing a value"
    "#);
    let answer = create(&world, b"{\"a\":}").await;
    insta::assert_snapshot!(answer.body, @r#"{"detail":[{"type":"json_invalid","loc":["body",5],"msg":"JSON decode error","input":{},"ctx":{"error":"expected value"}}]}"#);
    for body in ["[]", "[{}]", "1", "\"text\"", "null", "true"] {
        let (status, detail) = create(&world, body.as_bytes()).await.error();
        assert_eq!(
            (status, &detail[0]["type"], &detail[0]["loc"]),
            (422, &json!("dict_type"), &json!(["body"])),
            "{body}"
        );
    }
    let answer = create(&world, b"[1]").await;
    insta::assert_snapshot!(answer.body, @r#"{"detail":[{"type":"dict_type","loc":["body"],"msg":"Input should be a valid dictionary","input":[1]}]}"#);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(create(&world, deep.as_bytes()).await.status, 422);
    assert_eq!(claimable(&world).await, 0);
}

#[tokio::test]
async fn half_a_surrogate_pair_and_a_number_out_of_range_are_invalid() {
    let world = World::new().await;
    for body in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, r#"{"a":1e999}"#] {
        assert_eq!(create(&world, body.as_bytes()).await.error().1[0]["type"], "json_invalid", "{body}");
    }
}

#[tokio::test]
async fn a_body_may_have_4_mib() {
    let world = World::new().await;
    let body = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
    assert_eq!(body(9).len(), 9);
    let job = create(&world, &body(4 << 20)).await.ok();
    assert_eq!(text(&job["job_args"]["a"]).len(), (4 << 20) - 8);
    create(&world, &body((4 << 20) + 1)).await.is_error(413, "Request body is larger than 4194304 bytes");
    // A third more as base64.
    let larger = if Front::of_environment() == Front::RestApi { 35 << 17 } else { 5 << 20 };
    create(&world, &vec![b'x'; larger]).await.is_error(413, "Request body is larger than 4194304 bytes");
    // What Lambda or the front does not take, they refuse in their own words.
    for bytes in [7 << 20, 11 << 20] {
        assert!(create(&world, &vec![b' '; bytes]).await.is_too_large(), "{bytes}");
    }
    assert_eq!(claimable(&world).await, 1);
}

#[tokio::test]
async fn a_disk_is_more_than_10_and_less_than_1000_gigabytes() {
    let world = World::new().await;
    for (asked, stored) in [("null", 10), ("10.5", 10), ("10.000001", 10), ("11", 11), ("1e2", 100), ("999.9", 999)] {
        let answer = create(&world, format!("{{\"_disk_gb\":{asked},\"a\":1}}").as_bytes()).await;
        assert_eq!(answer.ok()["job_args"], json!({"_disk_gb": stored, "a": 1}), "{asked}");
    }
    for (asked, shown) in [
        ("10", "10"),
        ("10.0", "10.0"),
        ("1000", "1000"),
        ("1000.0", "1000.0"),
        ("0", "0"),
        ("-50", "-50"),
        ("1e300", "1e300"),
        ("\"50\"", "50"),
        ("\"\"", ""),
        ("true", "true"),
        ("[50]", "[50]"),
        ("{}", "{}"),
    ] {
        let answer = create(&world, format!("{{\"_disk_gb\":{asked}}}").as_bytes()).await;
        answer.is_error(400, &format!("Invalid disk size specified: {shown}"));
    }
    assert_eq!(create(&world, b"{\"_disk_gb\":NaN}").await.status, 422);
    assert_eq!(claimable(&world).await, 6);
}

#[tokio::test]
async fn an_unknown_chute_or_job_is_not_found() {
    let world = World::new().await;
    let nowhere = Uuid::new_v4().to_string();
    for (chute_id, method) in [(nowhere.as_str(), "train"), (nowhere.as_str(), "nonsense"), ("nonsense", "train"), ("1", "train")] {
        let answer = world.user.post(&format!("/jobs/{chute_id}/{method}"), json!({})).await;
        answer.is_error(404, &format!("Chute {chute_id} not found"));
    }
    for (method, shown) in [("nonsense", "nonsense"), ("Train", "Train"), ("train%20", "train "), ("%00", "\0")] {
        let answer = world.user.post(&format!("/jobs/{}/{method}", world.chute_id), json!({})).await;
        answer.is_error(404, &format!("Chute {} has no job named '{shown}'", world.chute_id));
    }
    assert_eq!(world.user.post(&format!("/jobs/{}/%C3%BC%2F..", world.chute_id), json!({})).await.error().0, 404);
}

#[tokio::test]
async fn an_unknown_chute_or_job_comes_before_the_quota() {
    let world = World::new().await;
    set_quotas(&world, json!({"*": 0})).await;
    let nowhere = Uuid::new_v4().to_string();
    let answer = world.user.post(&format!("/jobs/{nowhere}/train"), json!({})).await;
    answer.is_error(404, &format!("Chute {nowhere} not found"));
    let answer = world.user.post(&format!("/jobs/{}/nonsense", world.chute_id), json!({})).await;
    answer.is_error(404, &format!("Chute {} has no job named 'nonsense'", world.chute_id));
    create(&world, b"").await.is_error(429, &exceeded(0, 0, 0, 0));
}

#[tokio::test]
async fn the_deployments_quota_in_all_is_not_its_quota_per_chute() {
    for (defaults, per_chute, total) in [(r#"{"global":1,"*":2}"#, 2, 1), (r#"{"global":2,"*":1}"#, 1, 2)] {
        let night = Night::on(Stack::builder().parameter("DefaultQuotas", defaults).start().await.unwrap()).await;
        let none = json!({"command": "set_quotas", "user_id": night.user_id, "quotas": {}});
        night.stack.invoke("admin", none).await.unwrap();
        night.create("train").await;
        let refused = night.user.post(&night.url(&format!("/jobs/{}/train", night.chute_id)), json!({})).await;
        refused.is_error(429, &exceeded(1, 1, per_chute, total));
        night.stack.shutdown().await;
    }
}

#[tokio::test]
async fn a_private_chute_is_its_owners_and_of_those_it_is_shared_with() {
    let world = World::new().await;
    let (friend_id, friend_key) = World::account(json!([])).await;
    let (_, stranger_key) = World::account(json!([])).await;
    let mut private = chute(&world.chute_id, &world.user_id);
    private["public"] = false.into();
    private["shared_with"] = json!([friend_id]);
    World::admin(json!({"command": "put_chute", "chute": private})).await;

    let job = create(&world, b"").await.ok();
    assert_eq!((&job["user_id"], &job["chute"]["public"]), (&world.user_id.into(), &false.into()));
    let path = format!("/jobs/{}/train", world.chute_id);
    assert_eq!(Client::with_key(friend_key).post(&path, json!({})).await.ok()["user_id"], friend_id);
    let stranger = Client::with_key(stranger_key);
    for method in ["train", "nonsense"] {
        let refused = stranger.post(&format!("/jobs/{}/{method}", world.chute_id), json!({})).await;
        refused.is_error(404, &format!("Chute {} not found", world.chute_id));
    }
    assert_eq!(world.miner.post(&path, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_job_keeps_the_chute_as_it_was_when_it_was_created() {
    let world = World::new().await;
    let job_id = text(&world.user.post(&format!("/jobs/{}/serve", world.chute_id), json!({})).await.ok()["job_id"]);
    let mut changed = chute(&world.chute_id, &world.user_id);
    changed["version"] = "v2".into();
    changed["methods"] = json!([]);
    World::admin(json!({"command": "put_chute", "chute": changed})).await;
    let job = world.get(&job_id).await;
    assert_eq!(
        (&job["version"], &job["chute"]["version"], &job["max_attempts"]),
        (&"v1".into(), &"v1".into(), &3.into())
    );
    assert_eq!(create(&world, b"").await.status, 404);
}

#[tokio::test]
async fn the_days_quota_is_the_users_own_else_its_star_else_the_deployments() {
    let world = World::new().await;
    let star = |chute: u32, star: u32| json!({world.chute_id.clone(): chute, "*": star});
    for (quotas, job_quota, total_quota) in [
        (json!({world.chute_id.clone(): 0}), 0, 100),
        (json!({"global": 0}), 100, 0),
        (star(0, 7), 0, 7),
        (json!({"global": 0, "*": 7}), 7, 0),
        (json!({"*": 0}), 0, 0),
        (json!({Uuid::new_v4().to_string(): 7, "global": 0}), 100, 0),
    ] {
        set_quotas(&world, quotas).await;
        create(&world, b"").await.is_error(429, &exceeded(0, 0, job_quota, total_quota));
    }
    set_quotas(&world, json!({})).await;
    assert_eq!(create(&world, b"").await.status, 200);
}

#[tokio::test]
async fn a_quota_counts_per_chute_and_in_all() {
    let world = World::new().await;
    let other = Uuid::new_v4().to_string();
    World::admin(json!({"command": "put_chute", "chute": chute(&other, &world.user_id)})).await;
    set_quotas(&world, json!({world.chute_id.clone(): 1, "*": 2})).await;
    let create_other = async || world.user.post(&format!("/jobs/{other}/train"), json!({})).await;
    assert_eq!(create(&world, b"").await.status, 200);
    create(&world, b"").await.is_error(429, &exceeded(1, 1, 1, 2));
    assert_eq!(create_other().await.status, 200);
    create_other().await.is_error(429, &exceeded(1, 2, 2, 2));
    assert_eq!(claimable(&world).await, 1);
}

#[tokio::test]
async fn the_quota_comes_before_the_body_and_what_is_refused_costs_none() {
    let world = World::new().await;
    set_quotas(&world, json!({"*": 1})).await;
    assert_eq!(create(&world, b"{").await.status, 422);
    assert_eq!(create(&world, b"{\"_disk_gb\":5}").await.status, 400);
    assert_eq!(create(&world, &vec![b'x'; (4 << 20) + 1]).await.status, 413);
    assert_eq!(create(&world, b"").await.status, 200);
    assert_eq!(create(&world, b"{").await.status, 429);
}

#[tokio::test]
async fn deleting_a_job_does_not_give_its_slot_back() {
    let world = World::new().await;
    set_quotas(&world, json!({"*": 1})).await;
    let job_id = world.create().await;
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    create(&world, b"").await.is_error(429, &exceeded(1, 1, 1, 1));
}

#[tokio::test]
async fn a_new_day_in_utc_has_a_new_quota() {
    let stack = Stack::start().await.unwrap();
    let admin = async |command: Value| stack.invoke("admin", command).await.unwrap();
    let user_id = admin(json!({"command": "create_user"})).await["user_id"].take();
    let chute_id = Uuid::new_v4().to_string();
    admin(json!({"command": "put_chute", "chute": chute(&chute_id, user_id.as_str().unwrap())})).await;
    admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": 1}})).await;
    let user = Client::with_key(text(&admin(json!({"command": "create_key", "user_id": user_id})).await["key"]));
    let create = async || user.post(&format!("{}/jobs/{chute_id}/train", stack.url()), json!({})).await;

    // 2026-11-18T23:59:50Z
    stack.clock().set(1_795_046_390_000);
    assert_eq!(create().await.ok()["created_at"], "2026-11-18T23:59:50.000Z");
    let refused = create().await;
    refused.is_error(429, &exceeded(1, 1, 1, 1));
    assert_eq!(refused.header("retry-after"), Some("10"));
    stack.clock().set(1_795_046_400_000);
    assert_eq!(create().await.ok()["created_at"], "2026-11-19T00:00:00.000Z");
    assert_eq!(create().await.header("retry-after"), Some("86400"));
}

#[tokio::test]
async fn defect_11_many_creates_at_once_never_exceed_the_quota() {
    let world = World::new().await;
    set_quotas(&world, json!({"global": 2})).await;
    create(&world, b"").await.ok();
    let answers = join_all((0..32).map(|_| create(&world, b""))).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((created.len(), refused.len()), (1, 31));
    for answer in refused {
        assert!(answer.header("retry-after").is_some());
        answer.is_error(429, &exceeded(2, 2, 100, 2));
    }
    assert_eq!(claimable(&world).await, 2);
    let day = &text(&created[0].body["created_at"])[..10];
    let usage = item(stack(), "RegistryTable", "pk", &format!("usage#{}#{day}", world.user_id)).await;
    assert_eq!(usage["total"], json!({"N": "2"}));
}

/// The same bytes in gzip.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory")
}

#[tokio::test]
async fn a_body_may_begin_with_a_byte_order_mark_and_come_in_gzip() {
    let world = World::new().await;
    let path = format!("/jobs/{}/train", world.chute_id);
    let marked = "\u{feff}{\"epochs\":3}".as_bytes();
    let in_gzip = [("content-encoding", "gzip"), ("content-type", "application/json")];
    for (body, headers) in [
        (marked.to_vec(), &[("content-type", "application/json")][..]),
        (gzip(b"{\"epochs\":3}"), &in_gzip[..]),
        (gzip(marked), &in_gzip[..]),
    ] {
        let job = world.user.send(Method::POST, &path, body, headers).await.ok();
        assert_eq!(job["job_args"], json!({"epochs": 3, "_disk_gb": 10}));
    }
    // A hotkey signs what it sends, and the same arguments are the same request.
    let hotkey = Client::with_hotkey(World::hotkey(&world.user_id).await);
    hotkey.send(Method::POST, &path, gzip(b"{\"epochs\":3}"), &in_gzip).await.ok();
    let key = ("idempotency-key", "compressed");
    let plain = world.user.send(Method::POST, &path, b"{}".to_vec(), &[key]).await.ok();
    let replayed = world.user.send(Method::POST, &path, gzip(b"{}"), &[key, in_gzip[0]]).await;
    assert_eq!((replayed.header("idempotent-replayed"), &replayed.body), (Some("true"), &plain));

    let bomb = gzip(&vec![b' '; 8 << 20]);
    let refused = world.user.send(Method::POST, &path, bomb, &in_gzip).await;
    refused.is_error(413, "Request body is larger than 4194304 bytes");
    let refused = world.user.send(Method::POST, &path, b"{}".to_vec(), &in_gzip).await;
    refused.is_error(422, "The request body is no gzip, as Content-Encoding says");
    let refused = world.user.send(Method::POST, &path, b"{}".to_vec(), &[("content-encoding", "br")]).await;
    refused.is_error(422, "Content-Encoding of a request should be gzip, or left out");
}

#[tokio::test]
async fn arguments_nest_no_deeper_than_the_answers_that_hold_them_can_be_read() {
    let world = World::new().await;
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1)).into_bytes();
    let job = create(&world, &nested(100)).await;
    assert!(job.body["job_args"]["a"].is_array(), "{}", job.body);
    let assignment = world.miner.put(&format!("/jobs/{}/claim", text(&job.body["job_id"])), Value::Null).await;
    assert!(assignment.body["job_data"]["a"].is_array(), "{}", assignment.body);
    for levels in [101, 125, 126, 127, 128, 5_000] {
        let (status, detail) = create(&world, &nested(levels)).await.error();
        assert_eq!((status, &detail[0]["type"]), (422, &"json_invalid".into()), "{levels}");
        assert_eq!(detail[0]["ctx"]["error"], "nested more than 100 levels deep", "{levels}");
    }
}

#[tokio::test]
async fn only_a_url_of_a_public_server_is_taken() {
    let world = World::new().await;
    let create = async |query: &str| world.user.post(&format!("/jobs/{}/train?{query}", world.chute_id), json!({})).await;
    let long = format!("https://a.example/{}", "x".repeat(2032));
    for url in [
        "http://a.example/", "", "https://user:word@a.example/", "https://localhost/", "https://127.0.0.1/", "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/",
        "https://2130706433/", "https://0x7f.1/", "https://a.example:22/", "https://m%C3%BCller.example/", &long,
    ] {
        let answer = create(&format!("webhook={url}&cancel_after=5x")).await;
        assert_eq!(answer.status, 422, "{url}");
        let places: Vec<_> = answer.body["detail"].as_array().unwrap().iter().map(|it| it["loc"][1].clone()).collect();
        assert_eq!(json!(places), json!(["cancel_after", "webhook"]), "{url}");
    }
    let answer = create("webhook=https://a.example/hook%3Fa=b").await.ok();
    assert_eq!(answer["webhook"], "https://a.example/hook?a=b");
}
