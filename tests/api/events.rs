//! `events/`: one event per function, for `cargo lambda invoke`. Each is answered by its real binary.

use std::fs;

use local::Stack;
use serde_json::Value;
use tests::{functions, repository};

fn event(package: &str) -> Value {
    let text = fs::read_to_string(repository(&format!("events/{package}.json"))).expect("an event for every function");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn every_event_is_answered() {
    // Of its own: what an event does is nobody else's concern.
    let stack = Stack::start().await.unwrap();
    for function in functions() {
        let package = function.package.as_str();
        let answer = stack.invoke(package, event(package)).await.expect(package);
        if function.routes.is_empty() {
            assert!(answer.is_object(), "{package}: {answer}");
            continue;
        }
        let status = answer["statusCode"].as_u64().expect(package);
        // The credentials of an event that is in a repository are nobody's.
        assert_eq!(status, 401, "{package}: {answer}");
        assert_eq!(answer["headers"]["content-type"], "application/json");
        assert_eq!(answer["isBase64Encoded"], false);
        let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
        assert!(body["detail"].is_string(), "{package}: {body}");
    }
}

#[test]
fn an_event_is_of_its_functions_route() {
    for function in functions() {
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
