//! `GET /jobs/{job_id}/inputs/{input_id}?token=`, and how a job comes to have inputs.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Client, Night, World,
    input::{declared, fetched, uploaded},
    parts_of, s3, stack, text, upload_to,
};
use uuid::Uuid;

/// The id at the end of a `uri`.
fn id(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap()
}

/// The path of a URL of the stack that all tests share.
fn path(url: &Value) -> String {
    text(url).strip_prefix(stack().url()).expect("an address of this API").to_owned()
}

async fn create(world: &World, arguments: &Value) -> Value {
    world.user.post(&format!("/jobs/{}/train", world.chute_id), arguments.clone()).await.ok()
}

async fn claim(world: &World, job: &Value) -> Value {
    world.miner.put(&format!("/jobs/{}/claim", text(&job["job_id"])), Value::Null).await.ok()
}

#[tokio::test]
async fn a_miner_gets_a_url_of_each_input_and_everything_else_as_it_was_written() {
    let world = World::new().await;
    let (model, data) = (
        uploaded("", &world.user, "weights/model.bin", b"the model").await,
        uploaded("", &world.user, "data \u{e9}.txt", b"the data").await,
    );
    // Escapes, numbers, keys and longer strings: only whole strings are inputs, however they are spelt.
    let other = format!("jobchute://inputs/{}", Uuid::nil());
    let body = |model: &str, escaped: &str, data: &str| {
        let begin = r#"{"n":123456789012345678901234567890,"f":1.10"#;
        let deep = format!(r#"[0,[{{"x\"y":"{escaped}"}}],"{data}"]"#);
        format!(r#"{begin},"model":"{model}","deep":{deep},"{other}":"see {other}","_disk_gb":11}}"#)
    };
    let capitals = format!("jobchute:\\/\\/inputs\\/{}", id(&model).to_uppercase());
    let sent = body(&model, &capitals, &data);
    let route = format!("/jobs/{}/train", world.chute_id);
    let created = world.user.send(Method::POST, &route, sent.clone().into_bytes(), &[]).await;
    assert_eq!(created.engine_calls(), (3, 2), "one read more, and a look at each input");
    let created = created.ok();
    assert_eq!(created["inputs"][id(&model)]["filename"], "weights/model.bin");
    assert_eq!(created["inputs"].as_object().unwrap().len(), 2);
    assert_eq!(created["inputs"][id(&data)], {
        let declared = declared("data \u{e9}.txt", b"the data");
        json!({"filename": "data \u{e9}.txt", "size": 8, "sha256": declared["sha256"]})
    });
    let job_id = text(&created["job_id"]);
    assert_eq!(world.get(&job_id).await["inputs"], created["inputs"]);
    assert_eq!(world.get(&job_id).await["job_args"], serde_json::from_str::<Value>(&sent).unwrap());
    let status = world.user.get(&format!("/jobs/{job_id}?view=status")).await.ok();
    assert_eq!(status["inputs"], Value::Null);

    let answer = world.miner.put(&format!("/jobs/{job_id}/claim"), Value::Null).await;
    let data_of = answer.body["job_data"].clone();
    let (model_url, data_url) = (text(&data_of["model"]), text(&data_of["deep"][2]));
    assert_eq!(data_of["deep"][1][0]["x\"y"], data_of["model"]);
    assert!(model_url.starts_with(&format!("{}/jobs/{job_id}/inputs/{}?token=", stack().url(), id(&model))));
    let expected = body(&model_url, &model_url, &data_url);
    let told = String::from_utf8(answer.bytes).unwrap();
    assert!(told.contains(&expected), "{told}\n{expected}");

    for _ in 0..2 {
        assert_eq!(fetched(&model_url).await, b"the model");
    }
    let found = Client::nobody().get(&data_url).await;
    assert_eq!((found.status, found.engine_calls()), (307, (1, 0)));
    let file = Client::nobody().get(found.header("location").unwrap()).await;
    assert_eq!(file.bytes, b"the data");
    assert!(file.header("content-disposition").unwrap().ends_with("filename*=UTF-8''data%20%C3%A9.txt"));
    // The miner's own token opens them, too.
    let whole = data_url.split("?token=").next().unwrap().to_owned();
    let token = text(&answer.body["job_status_url"]).split("?token=").nth(1).unwrap().to_owned();
    assert_eq!(fetched(&format!("{whole}?token={token}")).await, b"the data");
}

#[tokio::test]
async fn an_input_token_opens_its_input_alone_and_no_other_token_opens_it() {
    let world = World::new().await;
    let (one, other) =
        (uploaded("", &world.user, "one", b"one").await, uploaded("", &world.user, "other", b"other").await);
    let job = create(&world, &json!({"one": one, "other": other})).await;
    let assignment = claim(&world, &job).await;
    let (url, other_url) = (path(&assignment["job_data"]["one"]), path(&assignment["job_data"]["other"]));
    let token = |path: &str| path.split_once("?token=").unwrap().1.to_owned();
    assert_eq!(parts_of(&token(&url)).1["input"], id(&one));

    // Every other route refuses it.
    let job_path = path(&assignment["job_status_url"]);
    let job_id = text(&job["job_id"]);
    let nobody = Client::nobody();
    let with = |name: &str| format!("/jobs/{job_id}{name}?token={}", token(&url));
    for answer in [
        nobody.post(&with(""), json!({"status": "complete"})).await,
        nobody.put(&with(""), Value::Null).await,
        nobody.put(&with("/heartbeat"), json!({})).await,
        nobody.put(&with("/release"), json!({})).await,
        nobody.put(&with("/upload"), json!({"path": "a"})).await,
        nobody.get(&format!("/jobs/{job_id}/inputs/{}?token={}", id(&other), token(&url))).await,
        nobody.get(&format!("/jobs/{job_id}/inputs/x?token={}", token(&url))).await,
        nobody.get(&format!("{url}x")).await,
    ] {
        answer.is_error(401, "Missing or invalid JWT");
    }
    // Nor does a token of another job or of a file.
    let mut strange = vec![token(&world.claimed().await.path)];
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let (finished_job, finished) = world.finished(&["a"]).await;
    strange.push(token(&text(&finished["uploads"][0]["renew_url"])));
    for token in strange {
        let answer = nobody.get(&format!("/jobs/{job_id}/inputs/{}?token={token}", id(&one))).await;
        answer.is_error(401, "Missing or invalid JWT");
    }
    let own_file = nobody.post(&job_path, report).await.ok();
    let own_file = token(&text(&own_file["uploads"][0]["renew_url"]));
    let answer = nobody.get(&format!("/jobs/{job_id}/inputs/{}?token={own_file}", id(&one))).await;
    answer.is_error(401, "Missing or invalid JWT");
    assert_eq!(nobody.get(&format!("/jobs/{job_id}/inputs/{}", id(&one))).await.status, 422);
    // An input that the job does not name, with the job's token.
    let whole = token(&finished_job.path);
    let named = format!("/jobs/{}/inputs/{}?token={whole}", finished_job.job_id, id(&one));
    let detail = format!("Input not found job_id='{}' input_id='{}'", finished_job.job_id, id(&one));
    nobody.get(&named).await.is_error(404, &detail);

    // It is open as long as the attempt has the job.
    assert_eq!(nobody.get(&other_url).await.status, 307);
    nobody.put(&job_path, Value::Null).await.ok();
    nobody.get(&other_url).await.is_error(400, "Job already finished");
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    nobody.get(&other_url).await.is_error(404, &format!("job_id='{job_id}' not found!"));
}

#[tokio::test]
async fn each_uri_that_names_nothing_of_the_callers_is_refused_at_its_place() {
    let (world, other) = (World::new().await, World::new().await);
    let (own, theirs) = (uploaded("", &world.user, "a", b"a").await, uploaded("", &other.user, "a", b"a").await);
    let half = text(&world.user.post("/inputs", declared("half", b"half")).await.ok()["uri"]);
    let unknown = format!("jobchute://inputs/{}", Uuid::new_v4());
    let arguments = json!({"b": [own, {"c": theirs}, half], "d": unknown, "e": [unknown, theirs]});
    let answer = world.user.post(&format!("/jobs/{}/train", world.chute_id), arguments).await;
    let (status, detail) = answer.error();
    let (no, not_there) = ("There is no such input, or it has expired", "The input has not been uploaded, or not whole");
    let wrong = |loc: Value, msg: &str, input: &str| json!({"type": "value_error", "loc": loc, "msg": msg, "input": input});
    assert_eq!(status, 422);
    let expected = json!([
        wrong(json!(["body", "b", 1, "c"]), no, &theirs),
        wrong(json!(["body", "b", 2]), not_there, &half),
        wrong(json!(["body", "d"]), no, &unknown),
    ]);
    assert_eq!(detail, expected);
    assert_eq!(world.user.get("/jobs").await.ok()["jobs"], json!([]));

    // What is no such `uri` is left alone, and costs nothing.
    let longer = json!({"a": format!("{unknown}/x"), &unknown: 1, "b": "jobchute://inputs/", "c": ["jobchute://inputs/x"]});
    let answer = world.user.post(&format!("/jobs/{}/train", world.chute_id), longer.clone()).await;
    assert_eq!(answer.engine_calls(), (2, 0));
    let job = answer.ok();
    assert_eq!(job["inputs"], Value::Null);
    let mut expected = longer;
    expected["_disk_gb"] = json!(10);
    assert_eq!(claim(&world, &job).await["job_data"], expected);
}

#[tokio::test]
async fn a_job_has_a_hundred_inputs_at_most_each_as_often_as_it_likes() {
    let world = World::new().await;
    let names: Vec<_> = (0..101).map(|number| format!("{number:03}")).collect();
    let uris = join_all(names.iter().map(|name| uploaded("", &world.user, name, name.as_bytes()))).await;
    let route = format!("/jobs/{}/train", world.chute_id);
    let (status, detail) = world.user.post(&route, json!({"a": {"b": uris}})).await.error();
    assert_eq!((status, detail.as_array().unwrap().len()), (422, 1));
    assert_eq!(detail[0]["loc"], json!(["body", "a", "b", 100]));
    assert_eq!(detail[0]["msg"], "A job has at most 100 inputs");

    let twice = [&uris[..100], &uris[..100]].concat();
    let created = world.user.post(&route, json!({"a": twice})).await;
    assert_eq!(created.engine_calls(), (3, 102), "a look at each; arguments and inputs are stored apart");
    let created = created.ok();
    assert_eq!(created["inputs"].as_object().unwrap().len(), 100);
    let job_id = text(&created["job_id"]);
    assert_eq!(world.get(&job_id).await["inputs"], created["inputs"]);
    let claimed = claim(&world, &created).await;
    let urls = claimed["job_data"]["a"].as_array().unwrap();
    assert_eq!(urls[7], urls[107]);
    let found = Client::nobody().get(&text(&urls[99])).await;
    assert_eq!((found.status, found.engine_calls()), (307, (1, 1)), "the list of inputs is read");
    assert_eq!(fetched(&text(&urls[199])).await, b"099");
    world.user.delete(&format!("/jobs/{job_id}")).await.ok();
    assert_eq!(create(&world, &json!({"a": uris[3]})).await["inputs"].as_object().unwrap().len(), 1, "inputs stay");
}

#[tokio::test]
async fn the_arguments_name_inputs_a_thousand_times_at_most() {
    let world = World::new().await;
    let uri = uploaded("", &world.user, "a", b"hello").await;
    let route = format!("/jobs/{}/train", world.chute_id);
    let (status, detail) = world.user.post(&route, json!({"a": vec![&uri; 1000], "b": {"c": [uri, uri]}})).await.error();
    assert_eq!((status, detail.as_array().unwrap().len()), (422, 1));
    assert_eq!(detail[0]["loc"], json!(["body", "b", "c", 0]));
    assert_eq!(detail[0]["msg"], "A job's arguments name inputs 1,000 times at most");
}

#[tokio::test]
async fn what_the_uploader_says_undeclared_of_the_bytes_does_not_reach_the_miner() {
    let world = World::new().await;
    let content_type = async |declared: Option<&str>| {
        let mut input = json!({"filename": "a", "size": 5, "content_type": declared});
        input = world.user.post("/inputs", input).await.ok();
        if declared.is_none() {
            input["upload"]["headers"]["content-type"] = json!("text/html");
        }
        assert_eq!(upload_to(&input["upload"], b"hello").await.status, 200);
        let job = create(&world, &json!({"a": input["uri"]})).await;
        let found = Client::nobody().get(&text(&claim(&world, &job).await["job_data"]["a"])).await;
        let file = Client::nobody().get(found.header("location").expect("a place")).await;
        file.header("content-type").map(str::to_owned)
    };
    assert_eq!(content_type(Some("image/png")).await.as_deref(), Some("image/png"));
    assert_eq!(content_type(None).await.as_deref(), Some("application/octet-stream"));
}

#[tokio::test]
async fn what_becomes_of_an_input_after_the_create_changes_nothing() {
    let world = World::new().await;
    let input = world.user.post("/inputs", json!({"filename": "a", "size": 5})).await.ok();
    assert_eq!(upload_to(&input["upload"], b"first").await.status, 200);
    let job = create(&world, &json!({"a": input["uri"]})).await;
    assert_eq!(upload_to(&input["upload"], b"other").await.status, 412);
    // Not even an operator who puts something else there, or hides it as the bucket's lifecycle does.
    let (client, bucket) = (s3(stack()), stack().resource("OutputsBucket").unwrap());
    let key = format!("inputs/{}/{}/a", world.user_id, text(&input["input_id"]));
    client.put_object().bucket(bucket).key(&key).body(b"other".to_vec().into()).send().await.unwrap();
    client.delete_object().bucket(bucket).key(&key).send().await.unwrap();
    assert_eq!(fetched(&text(&claim(&world, &job).await["job_data"]["a"])).await, b"first");
    // For a new job it is gone.
    let route = format!("/jobs/{}/train", world.chute_id);
    assert_eq!(world.user.post(&route, json!({"a": input["uri"]})).await.status, 422);
}

#[tokio::test]
async fn a_repeat_of_the_create_is_the_same_job_whatever_has_become_of_its_inputs() {
    let world = World::new().await;
    let uri = uploaded("", &world.user, "a", b"hello").await;
    let (route, body) = (format!("/jobs/{}/train", world.chute_id), json!({"a": uri}).to_string().into_bytes());
    let send = async || world.user.send(Method::POST, &route, body.clone(), &[("idempotency-key", "k")]).await.ok();
    let job = send().await;
    let key = format!("inputs/{}/{}/a", world.user_id, id(&uri));
    s3(stack()).delete_object().bucket(stack().resource("OutputsBucket").unwrap()).key(key).send().await.unwrap();
    assert_eq!(send().await, job);
}

#[tokio::test]
async fn a_job_that_is_tried_again_has_its_inputs_and_the_former_miners_token_opens_none() {
    let night = Night::begin().await;
    // In the item, and apart from it.
    for count in [1, 10] {
        let uploads = (0..count).map(|number| {
            let (api, user) = (night.stack.url(), &night.user);
            async move { uploaded(api, user, &number.to_string(), format!("{number}").as_bytes()).await }
        });
        let uris = join_all(uploads).await;
        let create = night.url(&format!("/jobs/{}/train", night.chute_id));
        let job = night.user.post(&create, json!({"a": uris})).await.ok();
        let (job_id, miner) = (text(&job["job_id"]), night.miner().await);
        let assigned = async || night.try_claim(&miner, &job_id).await.ok();
        let first = assigned().await;
        Client::nobody().post(&text(&first["job_status_url"]), json!({"status": "error"})).await.ok();
        night.user.put(&night.url(&format!("/jobs/{job_id}/retry")), Value::Null).await.ok();
        let url = text(&first["job_data"]["a"][0]);
        Client::nobody().get(&url).await.is_error(401, "Missing or invalid JWT");
        let second = assigned().await;
        Client::nobody().get(&url).await.is_error(401, "Missing or invalid JWT");
        assert_eq!(fetched(&text(&second["job_data"]["a"][0])).await, b"0");
        assert_eq!(night.get(&job_id).await["inputs"], job["inputs"]);
        Client::nobody().put(&text(&second["job_status_url"]).replace("?token=", "/release?token="), Value::Null).await.ok();
        Client::nobody().get(&text(&second["job_data"]["a"][0])).await.is_error(401, "Missing or invalid JWT");
    }
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_long_list_of_inputs_outlives_a_job_that_has_waited_for_weeks() {
    let night = Night::begin().await;
    let uploads = (0..20).map(|number| {
        let (api, user) = (night.stack.url(), &night.user);
        async move { uploaded(api, user, &number.to_string(), b"hello").await }
    });
    let uris = join_all(uploads).await;
    let create = night.url(&format!("/jobs/{}/serve", night.chute_id));
    let job_id = text(&night.user.post(&create, json!({"a": uris})).await.ok()["job_id"]);
    let before = tests::item(&night.stack, "JobsTable", "job_id", &job_id).await;
    night.stack.clock().advance(Duration::from_secs(25 * 86_400));
    let claimed = night.try_claim(&night.miner().await, &job_id).await.ok();
    let after = tests::item(&night.stack, "JobsTable", "job_id", &job_id).await;
    for attribute in ["job_args", "inputs"] {
        assert_ne!(before[attribute]["M"]["i"], after[attribute]["M"]["i"], "{attribute} is where it was");
    }
    assert_eq!(fetched(&text(&claimed["job_data"]["a"][9])).await, b"hello");
    night.stack.shutdown().await;
}

#[tokio::test]
async fn where_the_urls_make_the_answer_too_long_they_are_behind_a_url_themselves() {
    let world = World::new().await;
    let uri = uploaded("", &world.user, "a", b"hello").await;
    // Each quote is escaped in what Lambda takes and answers: they come in gzip.
    let arguments = json!({"a": vec![uri; 1000], "b": vec![""; 1_300_000]}).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let body = gzip.write_all(arguments.as_bytes()).and_then(|()| gzip.finish()).unwrap();
    let route = format!("/jobs/{}/train", world.chute_id);
    let job = world.user.send(Method::POST, &route, body, &[("content-encoding", "gzip"), ("accept-encoding", "gzip")]).await.ok();
    let claimed = claim(&world, &job).await;
    assert_eq!(claimed["job_data"], Value::Null);
    let data = Client::nobody().get(&text(&claimed["job_data_url"])).await.ok();
    assert_eq!(fetched(&text(&data["a"][999])).await, b"hello");
    let path = format!("/jobs/{}/claim", text(&job["job_id"]));
    let whole = world.miner.send(Method::PUT, &path, Vec::new(), &[("accept-encoding", "gzip")]).await.ok();
    assert_eq!(whole["job_data"], data);
}

#[tokio::test]
async fn the_next_job_comes_with_the_urls_of_its_inputs_too() {
    let world = World::new().await;
    let uri = uploaded("", &world.user, "a", b"hello").await;
    create(&world, &json!({"a": uri})).await;
    let next = world.miner.put(&format!("/jobs/claim?chute_id={}", world.chute_id), Value::Null).await.ok();
    assert_eq!(fetched(&text(&next["job_data"]["a"])).await, b"hello");
}
