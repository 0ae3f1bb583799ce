//! Job tokens on the routes that take them: heartbeat, finish, upload one file, complete.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use local::{Fault, Service, Stack};
use serde_json::{Value, json};
use tests::{Answer, Client, Job, World, job_token_keys, parts_of, put_job_token_keys, signed, stack, text, token};
use uuid::Uuid;

const REFUSED: &str = "Missing or invalid JWT";

/// What a miner may send to each route. With a good token none of it is 401.
async fn knock(job: &Job) -> [Answer; 5] {
    let heartbeat = job.path.replace("?token=", "/heartbeat?token=");
    [
        Client::nobody().put(&heartbeat, json!({})).await,
        job.finish(json!({"status": "error"})).await,
        job.upload("a.txt", b"hello").await,
        Client::nobody().put(&job.upload_path(), json!({"path": "a.txt"})).await,
        job.complete().await,
    ]
}

const ROUTES: [&str; 5] = ["heartbeat", "finish", "upload", "renew", "complete"];

async fn is_refused(job: &Job, token: &str) {
    routes_refuse(job, token, &ROUTES).await;
}

async fn routes_refuse(job: &Job, token: &str, routes: &[&str]) {
    for (answer, route) in knock(&job.with_token(token)).await.iter().zip(ROUTES) {
        if routes.contains(&route) {
            assert_eq!(answer.error(), (401, REFUSED.into()), "{route} with {token}");
        }
    }
}

/// `object` with one field replaced, or removed by null.
fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    match value {
        Value::Null => drop(object.as_object_mut().unwrap().remove(field)),
        value => object[field] = value,
    }
    object
}

#[tokio::test]
async fn a_token_has_the_claims_of_the_contract() {
    let world = World::new().await;
    let job = world.claimed().await;
    let (header, claims) = parts_of(&job.token);
    let keys = job_token_keys(stack()).await;
    assert_eq!(header, json!({"typ": "JWT", "alg": "HS256", "kid": keys["current"]}));
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["iss", "sub", "att", "iat", "exp"]);
    assert_eq!((&claims["sub"], &claims["att"]), (&json!(job.job_id), &json!(1)));
    // An hour's timeout and an hour to upload are the deadline; the token outlives it by the hour to upload.
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3 * 3600);
}

#[tokio::test]
async fn what_the_tests_sign_as_the_service_does_opens_every_route() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let keys = job_token_keys(stack()).await;
    let (header, claims) = parts_of(&job.token);
    let mine = token(&header, &with(&claims, "jti", "unknown claims are ignored".into()), &keys["k1"]);
    let [heartbeat, finish, upload, renewal, complete] = knock(&job.with_token(&mine)).await;
    assert_eq!(heartbeat.ok()["cancelled"], false);
    finish.is_error(400, "Job already finished");
    assert_eq!(upload.ok()["uploaded"], true);
    assert!(renewal.ok()["url"].is_string());
    assert_eq!(complete.ok()["status"], "complete");
}

#[tokio::test]
async fn forged_tokens_open_nothing() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let before = job.stored().await;
    let secret = &job_token_keys(stack()).await["k1"];
    let (header, claims) = parts_of(&job.token);

    is_refused(&job, &token(&header, &claims, &json!("another secret"))).await;
    is_refused(&job, &token(&header, &claims, &json!(""))).await;
    for kid in [Value::Null, "".into(), "k2".into(), "current".into(), "../k1".into(), 1.into()] {
        is_refused(&job, &token(&with(&header, "kid", kid), &claims, secret)).await;
    }
    // The name of the current key is not a key.
    is_refused(&job, &token(&with(&header, "kid", "current".into()), &claims, &json!("k1"))).await;
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA", "HS384", "HS512", "hs256", "none", ""] {
        is_refused(&job, &token(&with(&header, "alg", algorithm.into()), &claims, secret)).await;
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        is_refused(&job, &signed(algorithm, &with(&header, "alg", name.into()), &claims, secret)).await;
        is_refused(&job, &signed(algorithm, &header, &claims, secret)).await;
    }
    for none in ["none", "None", "NONE", "nOnE"] {
        let unsigned = token(&with(&header, "alg", none.into()), &claims, secret);
        let unsigned = unsigned.rsplit_once('.').unwrap().0;
        is_refused(&job, &format!("{unsigned}.")).await;
        is_refused(&job, unsigned).await;
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_good_signature_over_the_wrong_claims_opens_nothing() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let before = job.stored().await;
    let secret = &job_token_keys(stack()).await["k1"];
    let (header, claims) = parts_of(&job.token);
    for claim in ["iss", "sub", "att", "iat", "exp"] {
        for value in [Value::Null, "else".into(), json!([]), json!(-1), json!(0), json!(1.5)] {
            // A token that was issued in 1970 is as good as any other.
            if claim != "iat" || !value.is_number() || value.is_f64() {
                let no_attempt = claim == "att" && value == 0;
                let routes = if no_attempt { &ROUTES[1..] } else { &ROUTES[..] };
                routes_refuse(&job, &token(&header, &with(&claims, claim, value), secret), routes).await;
            }
        }
    }
    // Of an attempt to come. A heartbeat does not look at the job: which attempts there are, the signature has told.
    routes_refuse(&job, &token(&header, &with(&claims, "att", 2.into()), secret), &ROUTES[1..]).await;
    // Of another job, of no job.
    let other = world.claimed().await;
    is_refused(&job, &other.token).await;
    is_refused(&job, &token(&header, &with(&claims, "sub", json!(Uuid::nil())), secret)).await;
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn broken_tokens_open_nothing() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let before = job.stored().await;
    let good = &job.token;
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for broken in [
        &good[..good.len() - 1],
        &good[1..],
        &format!("{header}.{claims}"),
        &format!("{claims}.{signature}"),
        &format!("{header}.{claims}."),
        &format!(".{claims}.{signature}"),
        &format!("{header}..{signature}"),
        &format!("{good}."),
        &format!("{good}="),
        &format!("{good}%20"),
        &format!("{good}%00"),
        &format!("Bearer%20{good}"),
        &format!("{header}.{claims}.{}", "A".repeat(signature.len())),
        "",
        ".",
        "..",
        "null",
        "%FF%FE",
        &"a".repeat(8000),
    ] {
        is_refused(&job, broken).await;
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_missing_token_is_a_validation_error() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let before = job.stored().await;
    let path = job.path.split('?').next().unwrap();
    for query in ["", "?", "?Token=x", "?token[]=x", "?access_token=x"] {
        for (method, route) in [("POST", ""), ("PUT", "/upload"), ("PUT", ""), ("PUT", "/heartbeat")] {
            let url = format!("{path}{route}{query}");
            let answer = Client::nobody().send(method.parse().unwrap(), &url, b"{}".to_vec(), &[]).await;
            let missing = json!({"type": "missing", "loc": ["query", "token"], "msg": "Field required", "input": null});
            assert_eq!(answer.error(), (422, json!([missing])), "{method} {url}");
        }
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn of_two_tokens_none_counts() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    let before = job.stored().await;
    for two in [format!("{0}&token={0}", job.token), format!("{}&token=", job.token), format!("&token={}", job.token)] {
        is_refused(&job, &two).await;
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_good_token_of_a_job_that_is_gone_is_not_found() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a.txt"]).await;
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    for answer in knock(&job).await {
        answer.is_error(404, &format!("job_id='{}' not found!", job.job_id));
    }
}

#[tokio::test]
async fn defect_8_a_file_token_opens_its_own_file_only() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a.txt", "b.txt"]).await;
    let target = answer["uploads"].as_array().unwrap().iter().find(|target| target["filename"] == "a.txt").unwrap();
    let renew = text(&target["renew_url"]);
    let only_a = job.with_token(renew.split_once("?token=").unwrap().1);
    assert_eq!(parts_of(&only_a.token).1["filename"], "a.txt");
    let before = job.stored().await;

    only_a.finish(json!({"status": "error"})).await.is_error(401, REFUSED);
    only_a.complete().await.is_error(401, REFUSED);
    let heartbeat = only_a.path.replace("?token=", "/heartbeat?token=");
    Client::nobody().put(&heartbeat, json!({})).await.is_error(401, REFUSED);
    only_a.upload("b.txt", b"not mine").await.is_error(401, REFUSED);
    only_a.upload("c.txt", b"nobody's").await.is_error(401, REFUSED);
    let other = json!({"path": "b.txt"});
    Client::nobody().put(&only_a.upload_path(), other).await.is_error(401, REFUSED);
    assert_eq!(job.stored().await, before);

    let fresh = Client::nobody().put(&only_a.upload_path(), json!({"path": "a.txt"})).await.ok();
    assert_eq!(fresh["filename"], "a.txt");
    only_a.upload("a.txt", b"mine").await.ok();
}

#[tokio::test]
async fn defect_12_a_token_expires_an_upload_window_after_the_jobs_deadline() {
    let stack = Stack::start().await.unwrap();
    let job = Job::on(&stack).await;
    let exp = parts_of(&job.token).1["exp"].as_i64().unwrap();
    stack.clock().set((exp - 1) * 1000);
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.ok();
    job.upload("a.txt", b"in time").await.ok();
    stack.clock().advance(Duration::from_secs(1));
    is_refused(&job, &job.token).await;
}

/// docs/operate.md: "Rotate the key of job tokens".
#[tokio::test]
async fn the_secret_rotates_while_jobs_run() {
    let stack = Stack::start().await.unwrap();
    let report = || json!({"status": "complete", "output_filenames": ["a.txt"]});
    let kid = |job: &Job| text(&parts_of(&job.token).0["kid"]);
    let five_minutes = Duration::from_secs(300);
    let (old, waiting) = (Job::on(&stack).await, Job::on(&stack).await);
    old.finish(report()).await.ok();

    // A new key: it verifies, and the old one still signs.
    let mut keys = job_token_keys(&stack).await;
    keys["k2"] = "a new secret of at least 32 bytes".into();
    put_job_token_keys(&stack, &keys).await;
    stack.clock().advance(five_minutes);
    assert_eq!(kid(&Job::on(&stack).await), "k1");
    old.finish(report()).await.ok();

    // It is current: it signs, and the old one still verifies.
    keys["current"] = "k2".into();
    put_job_token_keys(&stack, &keys).await;
    stack.clock().advance(five_minutes);
    let new = Job::on(&stack).await;
    assert_eq!(kid(&new), "k2");
    new.finish(report()).await.ok();
    old.upload("a.txt", b"hello").await.ok();
    old.complete().await.ok();

    // The old one is removed: what it signed opens nothing, also where a function runs that has known it.
    waiting.finish(report()).await.ok();
    keys.as_object_mut().unwrap().remove("k1");
    put_job_token_keys(&stack, &keys).await;
    stack.clock().advance(five_minutes);
    is_refused(&waiting, &waiting.token).await;
    new.upload("a.txt", b"hello").await.ok();
    new.complete().await.ok();
}

#[tokio::test]
async fn a_key_that_is_current_at_once_is_looked_for() {
    let stack = Stack::start().await.unwrap();
    let old = Job::on(&stack).await;
    old.finish(json!({"status": "complete"})).await.ok();
    let mut keys = job_token_keys(&stack).await;
    keys["k2"] = "a new secret of at least 32 bytes".into();
    keys["current"] = "k2".into();
    put_job_token_keys(&stack, &keys).await;
    let (header, claims) = parts_of(&old.token);
    let new = token(&with(&header, "kid", "k2".into()), &claims, &keys["k2"]);
    old.with_token(&new).finish(json!({"status": "complete"})).await.ok();
}

#[tokio::test]
async fn keys_are_kept_while_secrets_manager_is_out_of_reach() {
    let stack = Stack::start().await.unwrap();
    let job = Job::on(&stack).await;
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.ok();
    stack.set_faults(|call| match call.service {
        Service::SecretsManager => Fault::FailBefore(500),
        _ => Fault::None,
    });
    stack.clock().advance(Duration::from_secs(300));
    job.finish(json!({"status": "complete", "output_filenames": ["a.txt"]})).await.ok();
}
