//! The local stack itself, over HTTP and with the real functions: limits, processes, faults and what survives a restart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use local::{Fault, Service, Stack};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A path that a function serves, and that no job has.
const JOB: &str = "/jobs/3f0a1f6e-0000-4000-8000-000000000001";

async fn get(stack: &Stack, path: &str) -> Result<Response> {
    Ok(Client::new().get(format!("{}{path}", stack.url())).send().await?)
}

/// A user's API key.
async fn api_key(stack: &Stack) -> Result<String> {
    let user = stack.invoke("admin", json!({"command": "create_user"})).await?;
    let key = stack.invoke("admin", json!({"command": "create_key", "user_id": user["user_id"]})).await?;
    Ok(key["key"].as_str().context("no key")?.to_owned())
}

async fn get_job(stack: &Stack, key: &str) -> Result<Response> {
    Ok(Client::new().get(format!("{}{JOB}", stack.url())).bearer_auth(key).send().await?)
}

fn calls(answer: &Response) -> &str {
    answer.headers().get("x-local-engine-calls").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn requests_over_api_gateways_limits_never_reach_a_function() -> Result<()> {
    let stack = Stack::start().await?;
    let client = Client::new();
    let url = format!("{}{JOB}", stack.url());
    let message =
        async |answer: Response| Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.json::<Value>().await?));

    let long = client.get(&url).header("x-long", "x".repeat(10_240)).send().await?;
    assert_eq!(message(long).await?, (431, json!({"message": "Request Header Fields Too Large"})));
    let body = client.post(&url).body(vec![b' '; (10 << 20) + 1]).send().await?;
    assert_eq!(message(body).await?, (413, json!({"message": "Request Entity Too Large"})));
    let event = client.post(&url).body(vec![b' '; 7 << 20]).send().await?;
    assert_eq!(message(event).await?, (413, json!({"message": "Request Entity Too Large"})));
    let method = client.request(Method::PATCH, &url).send().await?;
    assert_eq!(message(method).await?, (404, json!({"message": "Not Found"})));
    assert_eq!(message(get(&stack, "/nowhere").await?).await?, (404, json!({"message": "Not Found"})));
    assert!(stack.logs().is_empty(), "no function ran");
    Ok(())
}

#[tokio::test]
async fn the_first_request_starts_a_process_and_the_next_one_finds_it() -> Result<()> {
    let stack = Stack::start().await?;
    let cold = get(&stack, JOB).await?;
    let started = cold.headers().get("x-local-cold-start-ms").context("a cold start")?.to_str()?;
    assert!(started.parse::<f64>()? > 0.0);
    let warm = get(&stack, JOB).await?;
    assert_eq!(warm.headers().get("x-local-cold-start-ms"), None);
    assert_eq!(warm.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn a_killed_function_fails_one_request_and_is_replaced() -> Result<()> {
    let stack = Stack::start().await?;
    let key = api_key(&stack).await?;
    let armed = AtomicBool::new(true);
    stack.set_faults(move |call| match call.function.as_deref() {
        Some("get-job") if armed.swap(false, Ordering::SeqCst) => Fault::KillFunction,
        _ => Fault::None,
    });
    let killed = get_job(&stack, &key).await?;
    assert_eq!(killed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(killed.json::<Value>().await?, json!({"message": "Internal Server Error"}));
    let replaced = get_job(&stack, &key).await?;
    assert_eq!(replaced.status(), StatusCode::NOT_FOUND);
    assert!(replaced.headers().contains_key("x-local-cold-start-ms"));
    Ok(())
}

#[tokio::test]
async fn every_fault_of_a_call_is_seen_by_the_function_that_made_it() -> Result<()> {
    let stack = Stack::start().await?;
    let key = api_key(&stack).await?;
    assert_eq!(calls(&get_job(&stack, &key).await?), "dynamodb=1 s3=0 secretsmanager=0");
    for fault in [
        Fault::FailBefore(500),
        Fault::FailBefore(503),
        Fault::FailAfter,
        Fault::Throttle,
        Fault::Cut,
        Fault::Delay(Duration::from_millis(20)),
    ] {
        let armed = AtomicBool::new(true);
        stack.set_faults(move |call| {
            assert_eq!((call.service, call.function.as_deref()), (Service::DynamoDb, Some("get-job")));
            if armed.swap(false, Ordering::SeqCst) { fault } else { Fault::None }
        });
        let answer = get_job(&stack, &key).await?;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{fault:?}");
        let expected = if matches!(fault, Fault::Delay(_)) { "dynamodb=1" } else { "dynamodb=2" };
        assert!(calls(&answer).starts_with(expected), "{fault:?}: {}", calls(&answer));
    }
    Ok(())
}

#[tokio::test]
async fn more_requests_than_may_run_wait_for_their_turn() -> Result<()> {
    let stack = Stack::builder().concurrency(2).start().await?;
    let answers = futures_util::future::try_join_all((0..40).map(|_| get(&stack, JOB))).await?;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::UNAUTHORIZED));
    let cold = answers.iter().filter(|answer| answer.headers().contains_key("x-local-cold-start-ms")).count();
    assert!((1..=2).contains(&cold), "{cold} environments");
    Ok(())
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused_as_api_gateway_does() -> Result<()> {
    let stack = Stack::builder().concurrency(1).start().await?;
    let key = api_key(&stack).await?;
    let runs = Arc::new(Notify::new());
    let reached = Arc::clone(&runs);
    stack.set_faults(move |_| {
        reached.notify_one();
        Fault::Delay(Duration::from_secs(6))
    });
    let refused = async {
        runs.notified().await;
        get_job(&stack, &key).await
    };
    let (_, refused) = tokio::try_join!(get_job(&stack, &key), refused)?;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json::<Value>().await?, json!({"message": "Service Unavailable"}));
    Ok(())
}

#[tokio::test]
async fn users_survive_a_restart_with_a_data_folder_and_only_then() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::builder().data_dir(folder.path()).start().await?;
    let key = api_key(&stack).await?;
    stack.shutdown().await;

    let again = Stack::builder().data_dir(folder.path()).start().await?;
    assert_eq!(get_job(&again, &key).await?.status(), StatusCode::NOT_FOUND);
    let other = Stack::start().await?;
    assert_eq!(get_job(&other, &key).await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn a_function_without_its_variables_stops_the_start() {
    let start = Stack::builder().environment("JOBS_TABLE", "").check_functions(true).start().await;
    let error = format!("{:#}", start.expect_err("JOBS_TABLE is empty"));
    assert!(error.contains("JOBS_TABLE"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_port_in_use_stops_the_start() -> Result<()> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    let error = format!("{:#}", Stack::builder().port(port).start().await.expect_err("the port is taken"));
    assert!(error.starts_with(&format!("can't listen on port {port}; choose another one with --port")), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_secret_can_be_rotated() -> Result<()> {
    let stack = Stack::start().await?;
    let secret = stack.resource("JobTokenSecret")?;
    let call = async |operation: &str, body: Value| -> Result<Value> {
        let request = Client::new().post(stack.aws_url()).header("x-amz-target", format!("secretsmanager.{operation}"));
        Ok(request.body(body.to_string()).send().await?.json().await?)
    };
    let first = call("GetSecretValue", json!({"SecretId": secret})).await?;
    let document: Value = serde_json::from_str(first["SecretString"].as_str().context("a value")?)?;
    assert!(document["current"].is_string());
    call("PutSecretValue", json!({"SecretId": secret, "SecretString": "new"})).await?;
    let second = call("GetSecretValue", json!({"SecretId": secret})).await?;
    assert_eq!(second["SecretString"], "new");
    assert_ne!(second["VersionId"], first["VersionId"]);
    Ok(())
}

#[tokio::test]
async fn preflights_to_the_api_and_to_the_bucket_are_answered() -> Result<()> {
    let stack = Stack::start().await?;
    let preflight = async |url: String| {
        let request = Client::new().request(Method::OPTIONS, url).header("origin", "https://example.com");
        request
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "content-type")
            .send()
            .await
    };
    let api = preflight(format!("{}{JOB}", stack.url())).await?;
    assert_eq!((api.status().as_u16(), &api.headers()["access-control-allow-origin"]), (204, &"*".parse()?));
    let bucket = preflight(format!("{}/{}/key", stack.aws_url(), stack.resource("OutputsBucket")?)).await?;
    assert_eq!(
        (bucket.status().as_u16(), &bucket.headers()["access-control-allow-headers"]),
        (200, &"content-type".parse()?)
    );
    Ok(())
}

#[tokio::test]
async fn a_web_page_reaches_no_engine_but_s3_and_that_by_its_rules() -> Result<()> {
    let stack = Stack::start().await?;
    let invoke = format!("{}/2015-03-31/functions/admin/invocations", stack.aws_url());
    let create = json!({"command": "create_user", "roles": ["admin"]}).to_string();
    let post = async |url: &str, headers: &[(&'static str, &str)]| {
        let mut request = Client::new().post(url).body(create.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok::<_, reqwest::Error>(request.send().await?.status().as_u16())
    };
    // DNS rebinding: the page's own name, at this address. A form or a fetch of another site: that site's origin.
    for headers in [
        &[("host", "attacker.example")][..],
        &[("host", "attacker.example:3001")],
        &[("host", "127.0.0.1.attacker.example")],
        &[("origin", "https://attacker.example")],
        &[("origin", "null")],
        &[("origin", "http://localhost:3000")],
    ] {
        assert_eq!(post(&invoke, headers).await?, 403, "{headers:?}");
        for target in ["DynamoDB_20120810.ListTables", "secretsmanager.GetSecretValue"] {
            let headers = [headers, &[("x-amz-target", target)]].concat();
            assert_eq!(post(stack.aws_url(), &headers).await?, 403, "{headers:?}");
        }
    }
    assert!(stack.logs().is_empty(), "no function ran");
    for host in ["localhost", "localhost:3001", "127.0.0.1", "[::1]:3001"] {
        assert_eq!(post(&invoke, &[("host", host)]).await?, 200, "{host}");
    }

    let object = format!("{}/{}/key", stack.aws_url(), stack.resource("OutputsBucket")?);
    let page = Client::new().get(object).header("origin", "https://example.com").send().await?;
    assert_eq!((page.status().as_u16(), &page.headers()["access-control-allow-origin"]), (403, &"*".parse()?));
    assert!(page.text().await?.contains("<Code>AccessDenied</Code>"), "S3's own refusal, for want of a signature");
    Ok(())
}

#[tokio::test]
async fn a_function_runs_anywhere_with_the_stacks_variables() -> Result<()> {
    let stack = Stack::builder().parameter("ApiBaseUrl", "").start().await?;
    let variables = stack.environment();
    assert!(variables.values().all(|value| !value.is_empty() && !value.contains('\n')), "{variables:?}");
    for name in ["JOBS_TABLE", "OUTPUTS_BUCKET", "JOB_TOKEN_SECRET", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_REGION"] {
        assert!(variables.contains_key(name), "{name}");
    }
    // It starts, which it does not without its variables, and looks for a Runtime API that nobody serves.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut function = tokio::process::Command::new(stack.binary("create-job").context("a binary")?)
        .env_clear()
        .envs(&variables)
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
        .envs([("AWS_LAMBDA_FUNCTION_NAME", "f"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")])
        .kill_on_drop(true)
        .spawn()?;
    tokio::select! {
        asked = listener.accept() => asked.map(drop)?,
        ended = function.wait() => anyhow::bail!("it ended: {}", ended?),
    }
    Ok(())
}
