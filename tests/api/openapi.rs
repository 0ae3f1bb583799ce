//! The API's description. That every answer of this suite is as described, the suite's client checks.

use std::{collections::BTreeSet, fs};

use local::Fault;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tests::{Answer, Client, Hotkey, Night, World, dynamodb, functions, item, repository, stack, text, upload_to};

/// Routes of pages: one function's, and each an operation of its own in the description.
fn is_page(path: &str) -> bool {
    ["/docs", "/console"].iter().any(|page| path.starts_with(page))
}

#[test]
fn the_committed_description_is_what_the_types_say() {
    let committed = fs::read_to_string(repository("functions/docs/openapi.json")).unwrap();
    let generated = format!("{:#}\n", openapi::document());
    assert!(committed == generated, "functions/docs/openapi.json is old: cargo run -p openapi");
}

#[test]
fn every_route_of_the_template_is_described_and_no_other() {
    let description = openapi::document();
    let (mut described, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = text(&operation["operationId"]);
            let package = if is_page(path) { "docs".to_owned() } else { name.clone() };
            described.insert((package, method.to_uppercase(), path.clone()));
            assert!(names.insert(name), "two operations of one name");
        }
    }
    let mut deployed = BTreeSet::new();
    for function in functions() {
        deployed.extend(function.routes.into_iter().map(|(method, path)| (function.package.clone(), method, path)));
    }
    assert_eq!(described, deployed);
    // Behind a function URL, this list is what finds the route.
    let listed = shared::http::ROUTES.map(str::to_owned);
    let deployed = deployed.into_iter().map(|(_, method, path)| format!("{method} {path}")).collect::<BTreeSet<_>>();
    assert_eq!(BTreeSet::from(listed), deployed);
}

/// Every schema below a value, with where it stands.
fn schemas<'a>(place: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        match inner {
            Value::Object(_) if name == "schema" => found.push((place, inner)),
            Value::Object(_) if name == "schemas" => {
                found.extend(inner.as_object().into_iter().flatten().map(|(name, it)| (format!("{place}/{name}"), it)));
            }
            Value::Object(_) if name != "examples" => schemas(&place, inner, found),
            _ => {}
        }
    }
}

#[test]
fn every_schema_is_json_schema_and_every_example_is_what_its_schema_says() {
    let description = openapi::document();
    let mut found = Vec::new();
    schemas("", &description, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for (place, schema) in found {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{place}");
    }
    let mut examples = 0;
    for operation in description["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values()) {
        let answers = operation["responses"].as_object().unwrap().values();
        let shared = answers.map(|it| it["$ref"].as_str().map_or(it, |at| description.pointer(&at[1..]).unwrap()));
        let contents = shared.chain([&operation["requestBody"]]).map(|it| &it["content"]["application/json"]);
        for content in contents.filter(|it| it.is_object()) {
            let schema = json!({"allOf": [content["schema"]], "components": description["components"]});
            let schema = jsonschema::draft202012::new(&schema).unwrap();
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                examples += 1;
                let errors: Vec<_> = schema.iter_errors(&example["value"]).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{} {name}: {errors:?}", operation["operationId"]);
            }
        }
    }
    assert!(examples > 30, "{examples}");
}

/// What generators of clients make types of: an object is one schema, and says whether it takes other fields than its own.
#[test]
fn no_type_is_put_together_of_parts_and_arguments_are_any_object() {
    let description = openapi::document();
    assert!(!description.to_string().contains("\"allOf\""));
    let all = &description["components"]["schemas"];
    assert_eq!(all["Report"]["properties"]["status"]["$ref"], "#/components/schemas/Reported");
    assert_eq!(all["Reported"]["enum"], json!(["complete", "error", "cancelled"]));
    for open in [&all["Arguments"], &all["JobAssignment"]["properties"]["job_data"], &all["JobResponse"]["properties"]["job_args"]] {
        assert_eq!(open["additionalProperties"], true, "{open}");
    }
}

/// A client that was generated sends one key in all that the alternatives name: nothing but the key may come of it.
#[test]
fn the_first_alternative_of_security_is_one_credential_alone() {
    for (path, methods) in openapi::document()["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            let alternatives = operation["security"].as_array().unwrap();
            let expected = match operation["tags"][0].as_str() {
                Some("reference") => json!([{}]),
                _ if operation["parameters"].to_string().contains("\"token\"") => json!([{"job_token": []}, {}]),
                _ => json!([{"bearer": []}, {"signature": []}]),
            };
            assert_eq!(json!(alternatives), expected, "{path}");
        }
    }
}

/// Replaces what differs from run to run by something that does not.
struct Fixed(Vec<(String, &'static str)>);

impl Fixed {
    fn value(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                object.iter().map(|(name, value)| (self.text(name), self.value(value))).collect::<Map<_, _>>().into()
            }
            Value::Array(list) => list.iter().map(|value| self.value(value)).collect(),
            Value::String(text) => self.text(text).into(),
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
        if shape == "0000-00-00" {
            return "2026-11-18".to_owned();
        }
        if shape == "0000-00-00T00:00:00.000Z" {
            return "2026-11-18T11:06:40.000Z".to_owned();
        }
        for folder in ["/jobs/", "/inputs/"] {
            if let Some((_, key)) = text.split_once(folder).filter(|_| text.contains("X-Amz-")) {
                let key = key.split('?').next().unwrap_or_default();
                let bucket = "https://outputs.s3.us-east-1.amazonaws.com";
                return self.names(&format!("{bucket}{folder}{key}?X-Amz-Signature=0123456789abcdef"));
            }
        }
        let text = match text.split_once("?token=") {
            Some((url, _)) => format!("{url}?token=eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"),
            None => text.to_owned(),
        };
        self.names(&text)
    }

    fn names(&self, text: &str) -> String {
        let mut text = self.0.iter().fold(text.to_owned(), |text, (changing, fixed)| text.replace(changing, fixed));
        // The place of a log's chunk ends with a time.
        let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
        const PLACE: &str = "/000000000000-000000000000000";
        if let Some(place) = shape.find(PLACE) {
            let end = place + PLACE.len();
            text.replace_range(end - 15..end, "001795000000000");
        }
        text
    }
}

/// One job's life, request by request, and a request of every kind that is refused.
async fn record() -> Value {
    let world = World::new().await;
    let mut examples = json!({});
    let mut example = |operation: &str, status: &str, name: &str, value: &Value| {
        examples[operation][status][name] = value.clone();
    };

    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let file = json!({"filename": "images.tar", "size": 5, "sha256": sha256});
    let input = world.user.post("/inputs", file.clone()).await.ok();
    example("create-input", "request", "file", &file);
    example("create-input", "200", "upload", &input);
    assert_eq!(upload_to(&input["upload"], b"hello").await.status, 200);
    let there = world.user.put(&format!("/inputs/{}", text(&input["input_id"])), Value::Null).await.ok();
    example("renew-input", "200", "there", &there);

    let arguments = json!({"epochs": 3, "images": input["uri"], "_disk_gb": 50});
    let path = format!("/jobs/{}/train", world.chute_id);
    let job = world.user.post(&path, arguments.clone()).await.ok();
    let job_id = text(&job["job_id"]);
    example("create-job", "request", "arguments", &arguments);
    example("create-job", "200", "pending", &job);
    let claimable = world.miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await.ok();
    example("list-claimable-jobs", "200", "page", &claimable);

    let instance = json!({"instance_id": "gpu-7", "region": "eu", "host": "192.0.2.7"});
    let claim = format!("/jobs/{job_id}/claim");
    let assignment = world.miner.put(&claim, instance.clone()).await.ok();
    example("claim-job", "request", "instance", &instance);
    example("claim-job", "200", "assignment", &assignment);
    let path = text(&assignment["job_status_url"]).replace(stack().url(), "");
    let miner = Client::nobody();
    let progress = json!({"progress": 0.5});
    let lease = miner.put(&path.replace("?token=", "/heartbeat?token="), progress.clone()).await.ok();
    example("heartbeat-job", "request", "progress", &progress);
    example("heartbeat-job", "200", "lease", &lease);
    let printed = json!({"log_bytes": 8});
    let place = miner.put(&path.replace("?token=", "/heartbeat?token="), printed.clone()).await.ok();
    example("heartbeat-job", "request", "log", &printed);
    example("heartbeat-job", "200", "log", &place);
    assert_eq!(upload_to(&place["log"], b"epoch 1\n").await.status, 200);
    let logs = world.user.get(&format!("/jobs/{job_id}/logs")).await.ok();
    example("list-logs", "200", "chunks", &logs);
    example("get-job", "200", "running", &world.get(&job_id).await);

    world.create().await;
    let worker = json!({"worker": "gpu-7"});
    let next = world.miner.put(&format!("/jobs/claim?chute_id={}", world.chute_id), worker.clone()).await.ok();
    example("claim-next-job", "request", "worker", &worker);
    example("claim-next-job", "200", "assignment", &next);
    let next_id = text(&next["job_id"]);
    world.user.delete(&format!("/jobs/{next_id}")).await.ok();
    let released = world.claimed().await;
    let reason = json!({"reason": "spot shutdown"});
    let back = miner.put(&released.path.replace("?token=", "/release?token="), reason.clone()).await.ok();
    example("release-job", "request", "reason", &reason);
    example("release-job", "200", "released", &back);
    world.user.delete(&format!("/jobs/{}", released.job_id)).await.ok();

    let files = json!([{"filename": "model.bin", "size": 5, "sha256": sha256}]);
    let report = json!({"status": "complete", "result": {"loss": 0.5}, "output_files": files});
    let finished = miner.post(&path, report.clone()).await.ok();
    example("finish-job", "request", "success", &report);
    example("finish-job", "request", "failure", &json!({"status": "error", "detail": "CUDA out of memory"}));
    example("finish-job", "200", "uploads", &finished);
    let upload = path.replace("?token=", "/upload?token=");
    let renewal = json!({"path": "model.bin"});
    let renewed = miner.put(&upload, renewal.clone()).await.ok();
    example("upload-job-file", "request", "renewal", &renewal);
    example("upload-job-file", "200", "target", &renewed);
    let form = tests::Form::of("model.bin", b"hello");
    let stored = miner.send(Method::PUT, &upload, form, &[("content-type", tests::Form::CONTENT_TYPE)]).await.ok();
    example("upload-job-file", "200", "stored", &stored);
    assert_eq!(upload_to(&finished["uploads"][0], b"hello").await.status, 200);
    example("complete-job", "200", "complete", &miner.put(&path, Value::Null).await.ok());
    example("get-job", "200", "complete", &world.get(&job_id).await);
    example("get-usage", "200", "counts", &world.user.get("/usage").await.ok());
    example("list-jobs", "200", "page", &world.user.get("/jobs").await.ok());

    let file_id = text(&renewed["file_id"]);
    let download = format!("/jobs/{job_id}/download/{file_id}");
    let json = [("accept", "application/json")];
    let download = world.user.send(Method::GET, &download, Vec::new(), &json).await.ok();
    example("download-output-file", "200", "url", &download);

    let taken = World::another_miner().await.put(&claim, Value::Null).await;
    example("refusals", "400", "finished", &miner.post(&path, json!({"status": "error"})).await.body);
    example("refusals", "401", "nobody", &miner.get("/jobs").await.body);
    example("refusals", "403", "no_miner", &world.user.put(&claim, Value::Null).await.body);
    example("refusals", "409", "claimed", &taken.body);
    example("refusals", "422", "field", &world.user.get("/jobs?limit=0").await.body);
    let unwanted_id = world.claimed().await.job_id;
    World::admin(json!({"command": "set_quotas", "user_id": world.user_id, "quotas": {"*": 1}})).await;
    let exceeded = world.user.post(&format!("/jobs/{}/train", world.chute_id), json!({})).await;
    example("refusals", "429", "quota", &exceeded.body);
    let unwanted = format!("/jobs/{unwanted_id}/cancel");
    example("cancel-job", "200", "told", &world.user.put(&unwanted, Value::Null).await.ok());
    World::admin(json!({"command": "cancel_job", "job_id": unwanted_id})).await;
    World::admin(json!({"command": "set_quotas", "user_id": world.user_id, "quotas": {"*": 9}})).await;
    example("retry-job", "200", "pending", &world.user.put(&unwanted.replace("cancel", "retry"), Value::Null).await.ok());
    let deleted = world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    example("delete-job", "200", "deleted", &deleted);
    example("refusals", "404", "deleted", &world.user.get(&format!("/jobs/{job_id}")).await.body);

    let long = world.user.post(&format!("/jobs/{}/train", world.chute_id), json!({"a": "x".repeat(4 << 20)})).await;
    example("refusals", "413", "arguments", &long.body);
    let header = "x".repeat(11_000);
    let long = world.user.send(Method::GET, "/jobs", Vec::new(), &[("x-long", &header)]).await;
    example("refusals", "431", "headers", &long.body);
    let (newer, busy) = troubled().await;
    example("refusals", "500", "newer", &newer.body);
    example("refusals", "503", "throttled", &busy.body);

    let day = text(&job["created_at"])[..10].to_owned();
    let Hotkey { address, .. } = &world.hotkey;
    let names = [
        (job_id.as_str(), "7c1d0a52-0000-4000-8000-000000000002"),
        (&next_id, "7c1d0a52-0000-4000-8000-000000000005"),
        (&released.job_id, "7c1d0a52-0000-4000-8000-000000000004"),
        (&job_id.replace('-', ""), "7c1d0a52000040008000000000000002"),
        (&world.user_id, "9b2e4c10-0000-4000-8000-00000000000a"),
        (&world.chute_id, "3f0a1f6e-0000-4000-8000-000000000001"),
        (&unwanted_id, "7c1d0a52-0000-4000-8000-000000000004"),
        (&text(&input["input_id"]), "9b0c8a52-0000-5000-8000-000000000001"),
        (&file_id, "e5a1d3b7-0000-5000-8000-000000000003"),
        (address, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        (&format!("/{day}/"), "/2026-11-18/"),
        (stack().url(), "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"),
    ];
    Fixed(names.map(|(changing, fixed)| (changing.to_owned(), fixed)).to_vec()).value(&examples)
}

/// The answers about a job that a newer release has written, and of an engine that throttles.
async fn troubled() -> (Answer, Answer) {
    let night = Night::begin().await;
    let job_id = night.create("train").await;
    let mut job = item(&night.stack, "JobsTable", "job_id", &job_id).await;
    job["v"] = json!({"N": "99"});
    let table = night.stack.resource("JobsTable").unwrap();
    dynamodb(&night.stack, "PutItem", json!({"TableName": table, "Item": job})).await;
    let url = night.url(&format!("/jobs/{job_id}"));
    let newer = night.user.get(&url).await;
    night.fail(Some("BatchGetItem"), Fault::Throttle);
    let busy = night.user.get(&url).await;
    night.stack.shutdown().await;
    assert_eq!((newer.status, busy.status), (500, 503));
    (newer, busy)
}

#[tokio::test]
async fn the_examples_are_real_answers() {
    let path = repository("openapi/examples.json");
    let recorded = format!("{:#}\n", record().await);
    if std::env::var_os("RECORD_EXAMPLES").is_some() {
        fs::write(&path, &recorded).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == recorded, "openapi/examples.json is old: RECORD_EXAMPLES=1");
}
