//! `events/`: one event per function, of an HTTP API, for `cargo lambda invoke`. Each is answered by its real binary.

use std::{collections::BTreeSet, fs};

use local::{Front, Stack};
use serde_json::{Value, json};
use tests::{chute, functions, repository, text};

fn event(package: &str) -> Value {
    let text = fs::read_to_string(repository(&format!("events/{package}.json"))).expect("an event for every function");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn every_event_is_answered() {
    // Of its own: what an event does is nobody else's concern.
    let stack = Stack::builder().front(Front::HttpApi).parameter("EventBusName", "default").start().await.unwrap();
    for function in functions().into_iter().filter(|function| function.package != "admin") {
        let package = function.package.as_str();
        let answer = stack.invoke(package, event(package)).await.expect(package);
        if function.routes.is_empty() {
            assert!(answer.is_object(), "{package}: {answer}");
            continue;
        }
        let status = answer["statusCode"].as_u64().expect(package);
        if package == "docs" {
            assert_eq!((status, &answer["isBase64Encoded"]), (200, &Value::from(true)));
            continue;
        }
        // The credentials of an event that is in a repository are nobody's.
        assert_eq!(status, 401, "{package}: {answer}");
        assert_eq!(answer["headers"]["content-type"], "application/json");
        assert_eq!(answer["isBase64Encoded"], false);
        let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
        assert!(body["detail"].is_string(), "{package}: {body}");
    }
}

#[tokio::test]
async fn with_credentials_that_are_good_the_events_are_a_jobs_life() {
    const USER: &str = "3f0a1f6e-0000-4000-8000-00000000000a";
    const CHUTE: &str = "3f0a1f6e-0000-4000-8000-000000000001";
    let stack = Stack::builder().front(Front::HttpApi).start().await.unwrap();
    let admin = async |command| stack.invoke("admin", command).await.unwrap();
    admin(json!({"command": "create_user", "user_id": USER, "roles": ["miner"]})).await;
    let key = text(&admin(json!({"command": "create_key", "user_id": USER})).await["key"]);
    admin(json!({"command": "put_chute", "chute": chute(CHUTE, USER)})).await;

    // What nobody knows before, in the place of what the files have.
    let own = event("create-job");
    let mut known = vec![(text(&own["headers"]["authorization"]), format!("Bearer {key}"))];
    let job = event("download-output-file")["pathParameters"].take();
    let input = event("renew-input")["pathParameters"].take();
    let token = text(&event("complete-job")["queryStringParameters"]["token"]);
    for (package, status) in [
        ("create-input", 200),
        ("renew-input", 200),
        ("create-job", 200),
        ("list-claimable-jobs", 200),
        ("claim-job", 200),
        ("claim-next-job", 204),
        ("heartbeat-job", 200),
        ("list-logs", 200),
        // It names none.
        ("download-input", 404),
        ("list-jobs", 200),
        ("get-usage", 200),
        ("finish-job", 200),
        ("upload-job-file", 200),
        ("cancel-job", 200),
        ("retry-job", 409),
        ("complete-job", 200),
        ("get-job", 200),
        ("download-output-file", 307),
        ("delete-job", 200),
        // It has reported.
        ("release-job", 404),
    ] {
        let mut event = event(package).to_string();
        for (from, to) in &known {
            event = event.replace(from, to);
        }
        let answer = stack.invoke(package, serde_json::from_str(&event).unwrap()).await.expect(package);
        assert_eq!(answer["statusCode"], status, "{package}: {answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
        match package {
            "create-input" => known.push((text(&input["input_id"]), text(&body["input_id"]))),
            "create-job" => known.push((text(&job["job_id"]), text(&body["job_id"]))),
            "list-claimable-jobs" | "list-jobs" => assert_eq!(body["jobs"].as_array().unwrap().len(), 1, "{package}"),
            "claim-job" => {
                let url = text(&body["job_status_url"]);
                known.push((token.clone(), url.split_once("?token=").unwrap().1.to_owned()));
            }
            "complete-job" => {
                assert_eq!(body["status"], "complete");
                let file_id = body["output_files"].as_object().unwrap().keys().next().unwrap().clone();
                known.push((text(&job["file_id"]), file_id));
            }
            _ => {}
        }
    }
    stack.shutdown().await;
}

/// In an order in which each finds what it needs.
const ADMIN: [&str; 20] = [
    "create-user",
    "create-key",
    "set-roles",
    "set-quotas",
    "set-running-limit",
    "register-hotkey",
    "revoke-hotkey",
    "put-chute",
    "list-users",
    "list-keys",
    "list-hotkeys",
    "list-chutes",
    "list-jobs",
    "cancel-job",
    "delete-job",
    "disable-user",
    "enable-user",
    "update-key",
    "revoke-key",
    "set-busy-user",
];

#[tokio::test]
async fn every_command_of_the_administrator_has_an_event_that_succeeds() {
    let stack = Stack::start().await.unwrap();
    for name in ADMIN {
        let event = event(&format!("admin-{name}"));
        assert_eq!(event["command"], name.replace('-', "_"));
        let answer = stack.invoke("admin", event).await;
        match name {
            // Nobody knows the id of a key or a job before it is made.
            "update-key" | "revoke-key" | "cancel-job" | "delete-job" => assert!(answer.unwrap_err().to_string().contains("not found")),
            _ => assert!(answer.expect(name).is_object()),
        }
    }
    // The function knows no others.
    let unknown = stack.invoke("admin", serde_json::json!({"command": ""})).await.unwrap_err().to_string();
    let known: Vec<_> = unknown.split('`').skip(3).step_by(2).map(|name| name.replace('_', "-")).collect();
    assert_eq!(known.iter().collect::<BTreeSet<_>>(), ADMIN.map(str::to_owned).iter().collect::<BTreeSet<_>>());
}

#[test]
fn an_event_is_of_its_functions_route() {
    for function in functions().into_iter().filter(|function| function.package != "admin") {
        let event = event(&function.package);
        let keys: Vec<_> = function.routes.iter().map(|(method, path)| format!("{method} {path}")).collect();
        match event["routeKey"].as_str() {
            Some(key) => assert!(keys.iter().any(|it| it == key), "{}: {key}", function.package),
            None => assert!(keys.is_empty(), "{} has routes", function.package),
        }
        let Some((_, path)) = function.routes.first() else { continue };
        let (method, raw_path) = (&event["requestContext"]["http"]["method"], event["rawPath"].as_str().unwrap());
        assert_eq!(event["requestContext"]["routeKey"], event["routeKey"]);
        assert_eq!(method, &function.routes[0].0.as_str());
        // The path's parameters are the ones that the event names.
        for (pattern, given) in path.split('/').zip(raw_path.split('/')) {
            match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => assert_eq!(event["pathParameters"][name], given, "{}", function.package),
                None => assert_eq!(pattern, given, "{}", function.package),
            }
        }
    }
}
