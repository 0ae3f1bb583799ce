//! Events that a function puts on a bus.

mod observed;

use anyhow::{Context, Result};
use local::{Fault, Service, Stack};
use observed::{STORES, observed, start, template};
use reqwest::{Client, Response};
use serde_json::{Value, json};

/// Puts one event, with the key of the stack's first environment.
async fn put(stack: &Stack, bus: &str) -> Result<Response> {
    let entry = json!({"Source": "jobchute", "DetailType": "job.complete", "Detail": "{\"a\":1}", "EventBusName": bus});
    let credential = "Credential=ASIALOCAL00000000000/20260101/us-east-1/events/aws4_request";
    let request = Client::new().post(stack.aws_url()).header("x-amz-target", "AWSEvents.PutEvents");
    let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {credential}, Signature=0"));
    Ok(request.body(json!({"Entries": [entry]}).to_string()).send().await?)
}

#[tokio::test]
async fn a_function_puts_events_on_the_bus_that_its_role_allows() -> Result<()> {
    let policies = format!("      Policies: [{STORES}, {{EventBridgePutEventsPolicy: {{EventBusName: jobs}}}}]");
    let stack = start(Stack::builder(), &template(&policies, "")).await?;
    stack.invoke("observe-event", json!({})).await?;
    assert_eq!(observed(&stack).await?.len(), 1);

    let answer: Value = put(&stack, "jobs").await?.json().await?;
    assert_eq!(answer["FailedEntryCount"], 0);
    let refused: Value = put(&stack, "others").await?.json().await?;
    assert_eq!(refused["__type"], "AccessDeniedException");
    let message = refused["message"].as_str().context("a message")?;
    assert!(message.contains("events:PutEvents on resource: arn:aws:events:us-east-1:123456789012:event-bus/others"));
    let put_so_far = stack.take_events();
    assert_eq!(
        put_so_far.iter().map(|put| (put.bus.as_str(), &put.event["detail"])).collect::<Vec<_>>(),
        [("jobs", &json!({"a": 1}))]
    );

    stack.set_faults(|call| if call.service == Service::Events { Fault::FailAfter } else { Fault::None });
    assert_eq!(put(&stack, "jobs").await?.status(), 500);
    assert_eq!(stack.take_events().len(), 1, "the answer was lost, the event was not");
    Ok(())
}

#[tokio::test]
async fn a_function_is_told_where_lambda_and_eventbridge_are() -> Result<()> {
    let stack = start(Stack::builder(), &template(&format!("      Policies: [{STORES}]"), "")).await?;
    let variables = stack.environment();
    for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL_EVENTBRIDGE"] {
        assert_eq!(variables[name], stack.aws_url());
    }
    Ok(())
}
