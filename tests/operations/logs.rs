//! What functions write: one line for a request, and never a secret.

use std::fs;

use local::Fault;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Client, functions, repository};
use uuid::Uuid;

use crate::day::Day;

#[tokio::test(flavor = "multi_thread")]
async fn no_line_has_a_secret() {
    let mut day = Day::begin().await;
    day.live().await;
    // The lines that say why: every call to an engine fails, in one way and then in another.
    let job = day.reported("train").await;
    for fault in [Fault::FailBefore(500), Fault::Cut] {
        day.stack.set_faults(move |_| fault);
        for (method, path) in [
            ("GET", ""),
            ("DELETE", ""),
            ("PUT", "/claim"),
            ("PUT", "/cancel"),
            ("PUT", "/retry"),
            ("GET", "/download/x"),
            ("GET", "/webhook"),
            ("GET", "/logs"),
            ("PUT", "/webhook"),
        ] {
            let answer = day.sign(method.parse().unwrap(), &format!("/jobs/{}{path}", job.job_id), b"").await;
            assert_eq!(answer.status, 503, "{method} {path}");
        }
        let next = format!("/jobs/claim?chute_id={}", day.chute_id);
        assert_eq!(day.sign(Method::PUT, &next, b"").await.status, 503);
        for list in [format!("/jobs/claimable?chute_id={}", day.chute_id), "/jobs".to_owned(), "/usage".to_owned()] {
            assert_eq!(day.sign(Method::GET, &list, b"").await.status, 503, "{list}");
        }
        let create = format!("/jobs/{}/train", day.chute_id);
        assert_eq!(day.user().post(&day.at(&create), json!({})).await.status, 503);
        assert_eq!(Client::nobody().post(&job.url, json!({"status": "error"})).await.status, 503);
        assert_eq!(Client::nobody().put(&job.url, Value::Null).await.status, 503);
        assert_eq!(Client::nobody().put(&job.route("heartbeat"), json!({})).await.status, 503);
        assert_eq!(Client::nobody().put(&job.route("release"), json!({})).await.status, 503);
        assert_eq!(Client::nobody().put(&job.route("upload"), json!({"path": "twice"})).await.status, 503);
        let input = format!("/inputs/{}", Uuid::nil());
        assert_eq!(Client::nobody().get(&job.route(&input[1..])).await.status, 503);
        assert_eq!(day.sign(Method::PUT, &input, b"").await.status, 503);
        let declared = json!({"filename": "a", "size": 1});
        assert_eq!(day.user().post(&day.at("/inputs"), declared).await.status, 503);
        assert_eq!(day.stack.run_schedule("reap-jobs").await.unwrap()["more"], true);
        for method in [Method::GET, Method::PUT] {
            assert_eq!(day.sign(method, "/webhooks/secret", b"").await.status, 503);
        }
        for follower in ["queue-webhooks", "publish-events"] {
            let event = fs::read_to_string(repository(&format!("events/{follower}.json"))).unwrap();
            let outcome = day.stack.invoke(follower, serde_json::from_str(&event).unwrap()).await.unwrap();
            assert_eq!(outcome["batchItemFailures"].as_array().unwrap().len(), 1, "{follower}");
        }
        let event = json!({"at": day.stack.clock().now(), "jobs": [job.job_id]});
        assert_eq!(day.stack.invoke("deliver-webhooks", event).await.unwrap()["later"], 1);
        let command = json!({"command": "create_key", "user_id": day.user_id});
        assert!(day.stack.invoke("admin", command).await.is_err());
    }

    day.stack.set_faults(|_| Fault::None);
    // A client that takes the whole URL for a path, and one that takes a key for an id.
    let taken = job.url.replacen("?token=", "%3Ftoken=", 1);
    assert_eq!(Client::nobody().put(&taken, Value::Null).await.status, 422);
    let key = day.key.clone();
    assert_eq!(day.user().get(&day.at(&format!("/jobs/{key}"))).await.status, 404);

    let lines = day.stack.shutdown().await;
    // `docs` calls no engine.
    for function in functions().iter().filter(|function| function.package != "docs") {
        let mut own = lines.iter().filter(|line| line.function == function.package);
        assert!(own.any(|line| line.text.contains("doing")), "{} has not said what failed", function.package);
    }
    for secret in &day.secrets {
        assert!(secret.len() >= 32, "too short to be found by chance");
        for line in &lines {
            assert!(
                !line.text.contains(secret.as_str()),
                "{}: {}",
                line.function,
                line.text.replace(secret, "[SECRET]")
            );
        }
    }
}

#[tokio::test]
async fn every_command_of_an_administrator_is_a_line_with_its_target_and_who_asked() {
    let day = Day::begin().await;
    let (user, job) = (day.user_id.as_str(), uuid::Uuid::new_v4().to_string());
    day.admin(json!({"command": "set_roles", "by": "alice@example.com", "user_id": user, "roles": []})).await;
    let key = day.admin(json!({"command": "create_key", "by": "Bjørn, on call", "user_id": user})).await;
    let made = day.admin(json!({"command": "create_user"})).await;
    day.admin(json!({"command": "list_jobs", "chute_id": day.chute_id, "by": null})).await;
    let refused = |command: Value| day.stack.invoke("admin", command);
    assert!(refused(json!({"command": "cancel_job", "by": "eve", "job_id": job})).await.is_err());
    assert!(refused(json!({"command": "drop_tables", "by": "eve"})).await.is_err());
    for by in [json!(""), json!("x".repeat(129)), json!("two\nlines"), json!({"a": 1}), json!(7)] {
        let refusal =
            refused(json!({"command": "disable_user", "by": by, "user_id": user})).await.unwrap_err().to_string();
        assert!(refusal.contains("by is not a text of 1 to 128 printable characters"), "{refusal}");
    }
    assert_eq!(day.user().get(&day.at("/jobs")).await.status, 200, "nobody was disabled");

    let chute_id = day.chute_id.clone();
    let lines = day.stack.shutdown().await;
    let lines = lines.iter().filter(|line| line.function == "admin");
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_str(&line.text).unwrap()).collect();
    // A refusal is also a line of the runtime's own.
    lines.retain(|line| line["route"] == "invoke");
    let told = |line: &Value| {
        assert!(line["request.id"].is_string() && line["timestamp"].is_string(), "{line}");
        json!([line["command"], line["target"], line["by"], line["status"]])
    };
    let told: Vec<_> = lines.iter().map(told).collect();
    // The first five are the beginning's.
    assert_eq!(
        told[5..],
        [
            json!(["set_roles", {"user_id": user}, "alice@example.com", 200]),
            json!(["create_key", {"user_id": user, "key_id": key["key_id"]}, "Bjørn, on call", 200]),
            json!(["create_user", {"user_id": made["user_id"]}, null, 200]),
            json!(["list_jobs", {"chute_id": chute_id}, null, 200]),
            json!(["cancel_job", {"job_id": job}, "eve", 404]),
            json!(["unreadable", null, "eve", 422]),
            json!(["disable_user", null, null, 422]),
            json!(["disable_user", null, null, 422]),
            json!(["disable_user", null, null, 422]),
            json!(["disable_user", null, null, 422]),
            json!(["disable_user", null, null, 422]),
        ]
    );
}
