//! The secret header of a CDN: without it, no function answers a request that API Gateway hands to it.

use local::Stack;
use reqwest::Method;
use serde_json::json;
use tests::{Client, functions};

const NEW: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const OLD: &str = "00f1e2d3c4b5a69788796a5b4c3d2e1f";

/// Every route's answer to a request that brings this and nothing else.
async fn answers(stack: &Stack, header: Option<&str>) -> Vec<(String, u16)> {
    let mut answers = Vec::new();
    for function in functions() {
        for (method, path) in function.routes {
            let method: Method = method.parse().unwrap();
            let url = format!("{}{}", stack.url(), path.replace(['{', '}'], ""));
            let headers: Vec<_> = header.map(|secret| ("x-origin-verify", secret)).into_iter().collect();
            let answer = Client::nobody().send(method.clone(), &url, Vec::new(), &headers).await;
            if answer.status == 403 {
                answer.is_error(403, "X-Origin-Verify is missing or wrong");
                assert_eq!(answer.engine_calls(), (0, 0));
            }
            answers.push((format!("{method} {path}"), answer.status));
        }
    }
    assert!(answers.len() > 12, "{answers:?}");
    answers
}

#[tokio::test]
async fn whoever_goes_around_the_cdn_is_refused_by_every_route() {
    let builder = Stack::builder().parameter("OriginSecret", NEW).parameter("OriginSecretPrevious", OLD);
    let stack = builder.start().await.unwrap();
    let longer = format!("{NEW}0");
    let twice = format!("{NEW},{NEW}");
    for wrong in [None, Some(""), Some("none"), Some(&NEW[1..]), Some(&longer), Some(&twice)] {
        for (route, status) in answers(&stack, wrong).await {
            assert_eq!(status, 403, "{route} with {wrong:?}");
        }
    }
    // As everywhere: pages are there, and nobody has credentials.
    let with_none = answers(tests::stack(), None).await;
    for known in [NEW, OLD] {
        assert_eq!(answers(&stack, Some(known)).await, with_none);
    }
    assert!(with_none.iter().all(|(_, status)| *status != 403), "{with_none:?}");

    // Neither the schedule nor the administrator comes through a CDN.
    stack.run_schedule("reap-jobs").await.unwrap();
    stack.invoke("admin", json!({"command": "create_user"})).await.unwrap();
    for line in stack.shutdown().await {
        assert!(!line.text.contains(NEW) && !line.text.contains(OLD), "{line:?}");
    }
}

#[tokio::test]
async fn without_a_secret_there_is_none_to_bring() {
    let stack = Stack::builder().parameter("OriginSecret", "none").start().await.unwrap();
    assert_eq!(answers(&stack, None).await, answers(tests::stack(), None).await);
    stack.shutdown().await;
}
