//! Invocations that nobody waits for, as a function makes them.

mod observed;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use local::{Fault, Service, Stack};
use observed::{STORES, observed, start, template};
use reqwest::{Client, Response};
use serde_json::{Value, json};

fn storing() -> String {
    template(&format!("      Policies: [{STORES}]"), "")
}

async fn invoke(stack: &Stack, kind: &str, body: impl Into<reqwest::Body>, key: Option<&str>) -> Result<Response> {
    let url = format!("{}/2015-03-31/functions/jobchute-ObserveEventFunction/invocations", stack.aws_url());
    let mut request = Client::new().post(url).header("x-amz-invocation-type", kind).body(body);
    if let Some(key) = key {
        let credential = format!("Credential={key}/20260101/us-east-1/lambda/aws4_request");
        request = request.header("authorization", format!("AWS4-HMAC-SHA256 {credential}, Signature=0"));
    }
    Ok(request.send().await?)
}

/// Every run of the function is killed; counts them.
fn kill_every_run(stack: &Stack) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    stack.set_faults(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Fault::KillFunction
    });
    runs
}

#[tokio::test]
async fn an_event_is_accepted_at_once_and_run_later() -> Result<()> {
    let stack = start(Stack::builder(), &storing()).await?;
    let accepted = invoke(&stack, "Event", r#"{"a":1}"#, None).await?;
    assert_eq!(accepted.status(), 202);
    assert_eq!(accepted.text().await?, "");
    stack.events_at_rest().await;
    assert_eq!(observed(&stack).await?, [json!({"a": 1})]);

    for (body, status, kind) in [
        (format!("\"{}\"", "x".repeat(1 << 20)), 413, "RequestTooLargeException"),
        ("{".to_owned(), 400, "InvalidRequestContentException"),
    ] {
        let refused = invoke(&stack, "Event", body, None).await?;
        assert_eq!((refused.status().as_u16(), refused.headers()["x-amzn-errortype"].to_str()?), (status, kind));
    }
    stack.events_at_rest().await;
    assert_eq!(observed(&stack).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_run_that_fails_is_tried_again_after_one_minute_and_after_two_more() -> Result<()> {
    let stack = start(Stack::builder(), &storing()).await?;
    stack.clock().set(1_795_000_000_000);
    let runs = kill_every_run(&stack);
    invoke(&stack, "Event", "{}", None).await?;
    for (milliseconds, expected) in [(0, 1), (59_999, 1), (1, 2), (119_999, 2), (1, 3), (86_400_000, 3)] {
        stack.clock().advance(Duration::from_millis(milliseconds));
        stack.events_at_rest().await;
        assert_eq!(runs.load(Ordering::SeqCst), expected);
    }
    assert!(stack.logs().iter().any(|line| line.text.contains("failed for the last time")));
    Ok(())
}

#[tokio::test]
async fn a_template_says_how_often_an_event_is_tried() -> Result<()> {
    let config = "      EventInvokeConfig: {MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60}";
    let stack = start(Stack::builder(), &template(&format!("      Policies: [{STORES}]\n{config}"), "")).await?;
    stack.clock().set(1_795_000_000_000);
    let runs = kill_every_run(&stack);
    invoke(&stack, "Event", "{}", None).await?;
    stack.events_at_rest().await;
    stack.clock().advance(Duration::from_secs(61));
    stack.events_at_rest().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "it is too old for its second run");
    Ok(())
}

#[tokio::test]
async fn an_event_without_room_waits_for_it() -> Result<()> {
    let stack = start(Stack::builder().concurrency(1).queue_time(Duration::ZERO), &storing()).await?;
    for event in ["1", "2"] {
        invoke(&stack, "Event", event, None).await?;
    }
    stack.events_at_rest().await;
    let mut events = observed(&stack).await?;
    events.sort_by_key(Value::as_u64);
    assert_eq!(events, [json!(1), json!(2)]);
    Ok(())
}

#[tokio::test]
async fn an_event_outlives_the_stack_that_accepted_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = start(Stack::builder().data_dir(folder.path()), &storing()).await?;
    let runs = kill_every_run(&stack);
    invoke(&stack, "Event", r#"{"a":1}"#, None).await?;
    stack.events_at_rest().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    stack.shutdown().await;

    let again = start(Stack::builder().data_dir(folder.path()), &storing()).await?;
    assert_eq!(observed(&again).await?, [] as [Value; 0]);
    again.clock().advance(Duration::from_secs(60));
    again.events_at_rest().await;
    assert_eq!(observed(&again).await?, [json!({"a": 1})]);
    again.shutdown().await;

    let later = start(Stack::builder().data_dir(folder.path()), &storing()).await?;
    later.clock().advance(Duration::from_secs(3600));
    later.events_at_rest().await;
    assert_eq!(observed(&later).await?.len(), 1, "it has gone through");
    Ok(())
}

#[tokio::test]
async fn a_function_invokes_what_its_role_allows_and_its_call_is_one_of_an_engine() -> Result<()> {
    // The first environment's key.
    let key = Some("ASIALOCAL00000000000");
    for (policy, status) in [
        ("", 403),
        (", {LambdaInvokePolicy: {FunctionName: jobchute-OtherFunction}}", 403),
        (", {LambdaInvokePolicy: {FunctionName: jobchute-ObserveEventFunction}}", 202),
    ] {
        let stack = start(Stack::builder(), &template(&format!("      Policies: [{STORES}{policy}]"), "")).await?;
        stack.invoke("observe-event", json!({"first": true})).await?;
        let answer = invoke(&stack, "Event", "{}", key).await?;
        assert_eq!(answer.status(), status, "{policy}");
        if status == 403 {
            assert_eq!(answer.headers()["x-amzn-errortype"], "AccessDeniedException");
            assert!(answer.text().await?.contains("lambda:InvokeFunction on resource: arn:aws:lambda:us-east-1:"));
        }
        stack.events_at_rest().await;
        assert_eq!(observed(&stack).await?.len(), if status == 202 { 2 } else { 1 });

        stack.set_faults(|call| {
            let invokes = (call.service, call.operation.as_str()) == (Service::Lambda, "Invoke");
            if invokes { Fault::Throttle } else { Fault::None }
        });
        let throttled = invoke(&stack, "Event", "{}", key).await?;
        assert_eq!(throttled.headers()["x-amzn-errortype"], "TooManyRequestsException");
    }
    Ok(())
}
