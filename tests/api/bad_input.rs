//! What no client should send, to every route of the template: a 4xx each time, and nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Job, World, dynamodb, functions, item, stack, text};

const MIB: usize = 1 << 20;

/// A route, and somebody who may use it.
struct Route {
    package: String,
    method: Method,
    /// With ids of jobs that nothing here may change; without a token.
    path: String,
    /// The template's path.
    pattern: String,
    /// The rightful caller's query.
    query: String,
    caller: Client,
}

impl Route {
    /// Routes that read their body.
    fn takes_a_body(&self) -> bool {
        ["create-job", "claim-job", "claim-next-job", "finish-job", "heartbeat-job", "release-job", "upload-job-file"].contains(&self.package.as_str())
    }

    async fn send(&self, caller: &Client, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Answer {
        caller.send(self.method.clone(), path, body, headers).await
    }
}

/// A pending, a running and a completed job.
struct Scene {
    world: World,
    pending: String,
    running: Job,
    completed: Job,
    file_id: String,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let (pending, running) = (world.create().await, world.claimed().await);
        let (completed, answer) = world.completed(&[("a", b"hello")]).await;
        let file_id = answer["output_files"].as_object().unwrap().keys().next().unwrap().clone();
        Self { world, pending, running, completed, file_id }
    }

    /// Every route of the template, as this scene's people would use it.
    fn routes(&self) -> Vec<Route> {
        let mut routes = Vec::new();
        // Pages are for everybody, and have nothing to refuse.
        for function in functions().into_iter().filter(|function| function.package != "docs") {
            for (method, pattern) in &function.routes {
                let package = function.package.clone();
                let (job_id, query, caller) = match package.as_str() {
                    "claim-job" => (&self.pending, String::new(), &self.world.miner),
                    "list-claimable-jobs" | "claim-next-job" => {
                        (&self.pending, format!("?chute_id={}", self.world.chute_id), &self.world.miner)
                    }
                    "finish-job" | "upload-job-file" | "complete-job" | "heartbeat-job" | "release-job" => {
                        (&self.running.job_id, format!("?token={}", self.running.token), &Client::nobody())
                    }
                    _ => (&self.completed.job_id, String::new(), &self.world.user),
                };
                let path = pattern.replace("{chute_id}", &self.world.chute_id).replace("{method}", "train");
                let path = path.replace("{job_id}", job_id).replace("{file_id}", &self.file_id);
                let (pattern, method, caller) = (pattern.clone(), method.parse().unwrap(), caller.clone());
                routes.push(Route { package, method, path, pattern, query, caller });
            }
        }
        routes
    }

    /// All that the database holds of the scene's user.
    async fn stored(&self) -> BTreeMap<String, Value> {
        let query = json!({
            "TableName": stack().resource("JobsTable").unwrap(), "IndexName": "by_owner",
            "KeyConditionExpression": "#owner = :user", "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":user": {"S": self.world.user_id}},
        });
        let jobs = dynamodb(stack(), "Query", query).await;
        let mut stored = BTreeMap::new();
        for job in jobs["Items"].as_array().unwrap() {
            let job_id = text(&job["job_id"]["S"]);
            let job = item(stack(), "JobsTable", "job_id", &job_id).await;
            stored.insert(job_id, job);
        }
        assert_eq!(stored.len(), 3, "the scene's jobs");
        stored
    }
}

#[track_caller]
fn is_refused(answer: &Answer, route: &Route, what: &str) {
    let (method, pattern, status) = (&route.method, &route.pattern, answer.status);
    assert!((400..500).contains(&status), "{method} {pattern} with {what}: {status} {}", answer.body);
    let says_why = answer.body.get("detail").or_else(|| answer.body.get("message")).is_some();
    assert!(says_why, "{method} {pattern} with {what}: {status} {}", answer.body);
}

/// A JSON object whose every field that a route reads has a value that it does not take.
fn wrong(value: &str) -> Vec<u8> {
    let fields = ["status", "output_filenames", "path", "size", "_disk_gb", "port_mappings", "progress", "reason"];
    let fields: Vec<_> = fields.iter().map(|field| format!("\"{field}\":{value}")).collect();
    format!("{{{}}}", fields.join(",")).into()
}

#[tokio::test]
async fn bodies_that_can_not_be() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    for (name, body) in [
        ("no JSON", b"nonsense".to_vec()),
        ("cut off JSON", b"{\"status\": \"compl".to_vec()),
        ("more than JSON", b"{}{}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a string", b"\"x\"".to_vec()),
        ("null", b"null".to_vec()),
        ("NaN alone", b"NaN".to_vec()),
        ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf{}".to_vec()),
        ("invalid UTF-8", b"{\"status\": \"\xff\xfe\"}".to_vec()),
        ("NUL bytes", vec![0; 100]),
        ("an escaped NUL", wrong("\"\\u0000\"")),
        ("half a surrogate pair", wrong("\"\\ud800\"")),
        ("a number out of range", wrong("1e999")),
        ("depth", wrong(&"[".repeat(10_000))),
    ] {
        for route in scene.routes() {
            let json = [("content-type", "application/json")];
            let stranger = route.send(&Client::nobody(), &route.path, body.clone(), &json).await;
            is_refused(&stranger, &route, name);
            if route.takes_a_body() {
                let path = format!("{}{}", route.path, route.query);
                is_refused(&route.send(&route.caller, &path, body.clone(), &json).await, &route, name);
                is_refused(&route.send(&route.caller, &path, body.clone(), &[]).await, &route, name);
            }
        }
    }
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    for route in scene.routes() {
        let path = format!("{}{}", route.path, route.query);
        for mib in [7, 10] {
            let answer = route.send(&route.caller, &path, vec![b' '; mib * MIB + 1], &[]).await;
            assert!(answer.is_too_large(), "{path}: {answer:?}");
        }
    }
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn bodies_that_make_for_long_complaints() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    for (name, value) in [
        ("a long text", format!("\"{}\"", "x".repeat(MIB / 2))),
        // In an answer's body each is four bytes.
        ("many quotes", format!("\"{}\"", "\\\"".repeat(MIB / 8))),
        ("many numbers", format!("[{}0]", "0,".repeat(MIB / 8))),
        ("many bad names", format!("[{}\"\"]", "\"\",".repeat(MIB / 16))),
    ] {
        for route in scene.routes().iter().filter(|route| route.takes_a_body()) {
            let path = format!("{}{}", route.path, route.query);
            let json = [("content-type", "application/json")];
            is_refused(&route.send(&route.caller, &path, wrong(&value), &json).await, route, name);
        }
    }
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn ids_that_are_none() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    let long = "x".repeat(5000);
    let ids = ["nonsense", "0", "-1", "%00", "%FF%FE", "%C3%BC", "a%20b", "a%2Fb", "%7Bjob_id%7D", "%27--", "*", &long];
    for id in ids.into_iter().chain(["00000000-0000-0000-0000-000000000000", "../jobs/x"]) {
        for route in scene.routes() {
            let mut path = route.path.clone();
            for known in [&scene.world.chute_id, &scene.pending, &scene.running.job_id, &scene.completed.job_id] {
                path = path.replace(known.as_str(), id);
            }
            if path != route.path {
                let path = format!("{path}{}", route.query);
                is_refused(&route.send(&route.caller, &path, b"{}".to_vec(), &[]).await, &route, id);
            }
            let file = route.path.replace(&scene.file_id, id);
            if file != route.path {
                is_refused(&route.send(&route.caller, &file, Vec::new(), &[]).await, &route, id);
            }
        }
    }
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn odd_queries_without_a_right() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    let (many, long) = ("?".to_owned() + &"token=x&".repeat(500), "?token=".to_owned() + &"x".repeat(8000));
    for query in [
        "",
        "?",
        "?token",
        "?token=",
        "?token=a&token=b",
        "?token[]=a",
        "?token=a,b",
        "?token=%00",
        "?token=%FF%FE",
        "?token=%",
        "?&&=&=x&%00=%FF",
        "?chute_id=%00&limit=-1&cursor=%FF",
        "?limit=999999999999999999999",
        &many,
        &long,
    ] {
        for route in scene.routes() {
            let answer = route.send(&Client::nobody(), &format!("{}{query}", route.path), b"{}".to_vec(), &[]).await;
            is_refused(&answer, &route, query);
        }
    }
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn odd_headers_without_a_right() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    let (long, longest) = ("x".repeat(9000), "x".repeat(16 << 10));
    for header in [
        ("authorization", ""),
        ("authorization", "Bearer"),
        ("authorization", "Bearer null"),
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("authorization", "Bearer cpk_"),
        ("authorization", long.as_str()),
        ("x-chutes-hotkey", "x"),
        ("x-chutes-signature", "zz"),
        ("content-type", "/"),
        ("content-type", "multipart/form-data; boundary="),
        ("content-type", "application/json; charset=utf-16"),
        ("content-encoding", "gzip"),
        ("cookie", "a=b; c"),
        ("x-forwarded-for", long.as_str()),
    ] {
        for route in scene.routes() {
            let answer = route.send(&Client::nobody(), &route.path, b"{}".to_vec(), &[header]).await;
            is_refused(&answer, &route, header.0);
        }
    }
    for route in scene.routes() {
        let path = format!("{}{}", route.path, route.query);
        let answer = route.send(&route.caller, &path, Vec::new(), &[("x-long", &longest)]).await;
        assert_eq!((answer.status, answer.body), (431, json!({"message": "Request Header Fields Too Large"})));
    }
    assert_eq!(scene.stored().await, before);
}

/// Whether the template has a route for this request.
fn is_routed(routes: &[Route], method: &str, path: &str) -> bool {
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let same = |(wanted, given): (&&str, &&str)| wanted == given || (wanted.starts_with('{') && !given.is_empty());
        pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
    };
    routes.iter().any(|route| route.method == method && fits(&route.pattern))
}

#[tokio::test]
async fn other_methods_and_paths_have_no_route() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    let routes = scene.routes();
    let paths = routes.iter().flat_map(|route| {
        let path = &route.path;
        [path.clone(), format!("{path}/"), format!("{path}/x"), format!("/v1{path}"), path.replace("/jobs", "/Jobs")]
    });
    let odd = ["/", "/jobs/", "//jobs", "/jobs//claim", "/favicon.ico", "/jobs/%2F/%2F/%2F"].map(str::to_owned);
    let mut asked = 0;
    for path in paths.chain(odd).collect::<BTreeSet<_>>() {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"] {
            if is_routed(&routes, method, &path) {
                continue;
            }
            let method = method.parse().unwrap();
            let answer = scene.world.user.send(method, &path, Vec::new(), &[]).await;
            assert!(answer.has_no_route(), "{path}: {answer:?}");
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
    assert_eq!(scene.stored().await, before);
}

#[tokio::test]
async fn a_long_complaint_is_cut_short() {
    let scene = Scene::new().await;
    let errors = scene.running.finish(json!({"output_filenames": vec![Value::Null; 900]})).await.error().1;
    assert_eq!(errors.as_array().unwrap().len(), 100);
    let errors = scene.running.finish(json!({"status": "é".repeat(100_000)})).await.error().1;
    assert!(text(&errors[0]["input"]).starts_with("éé") && errors.to_string().len() < 3000, "{errors}");
    for long in [json!(vec![0; 100_000]), json!({"a": "x".repeat(100_000)})] {
        let errors = scene.running.finish(json!({"status": long})).await.error().1;
        assert_eq!(errors[0]["input"], Value::Null);
    }
    let many = json!(vec![0; 500_000]);
    for (field, list) in
        [("output_filenames", json!([many])), ("output_files", json!([{"filename": "a", "size": many}]))]
    {
        let errors = scene.running.finish(json!({field: list})).await.error().1;
        assert_eq!((&errors[0]["loc"], &errors[0]["input"]), (&json!(["body", field, 0]), &Value::Null));
    }
    let (status, detail) = scene.running.upload(&"\"".repeat(1_000_000), b"x").await.error();
    assert_eq!(status, 404);
    assert!(text(&detail).starts_with("File \"\"") && text(&detail).len() < 3000, "{detail}");
}
