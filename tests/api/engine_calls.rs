//! How many calls to DynamoDB and S3 a request takes: as the local stack counts.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use local::{Fault, Service};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Hotkey, Night, World, functions, repository, text, upload, upload_to};
use uuid::Uuid;

/// The routes that were counted.
#[derive(Default)]
struct Counted(BTreeSet<&'static str>);

impl Counted {
    /// Asserts that a request succeeded with this many calls.
    #[track_caller]
    fn is(&mut self, package: &'static str, answer: &Answer, dynamodb: u32, s3: u32) {
        assert!(matches!(answer.status, 200 | 307), "{package}: {} {}", answer.status, answer.body);
        assert_eq!(answer.engine_calls(), (dynamodb, s3), "DynamoDB and S3 of {package}");
        self.0.insert(package);
    }
}

#[tokio::test]
async fn every_route_keeps_to_the_calls_of_the_design() {
    let world = World::new().await;
    let mut counted = Counted::default();
    let user_hotkey = Client::with_hotkey(World::hotkey(&world.user_id).await);
    let miner_key = World::admin(json!({"command": "create_key", "user_id": world.miner_id})).await;
    let miner_key = Client::with_key(text(&miner_key["key"]));

    // Whose a hotkey is takes a call more.
    for (user, miner, more) in [(&world.user, &miner_key, 0), (&user_hotkey, &world.miner, 1)] {
        // One to read all that decides, one that counts and inserts.
        let answer = user.post(&format!("/jobs/{}/train", world.chute_id), json!({"more": more})).await;
        counted.is("create-job", &answer, 2 + more, 0);
        let path = format!("/jobs/{}", text(&answer.body["job_id"]));
        counted.is("get-job", &user.get(&path).await, 1 + more, 0);
        // The caller, a page of the index, and the rows that it names.
        counted.is("list-jobs", &user.get("/jobs").await, 3 + more, 0);
        let answer = miner.get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await;
        counted.is("list-claimable-jobs", &answer, 2 + more, 0);
        let answer = miner.put(&format!("{path}/claim"), Value::Null).await;
        counted.is("claim-job", &answer, 2 + more, 0);
        // The caller and the chute, the queue, the job, and the claim.
        let next = format!("/jobs/claim?chute_id={}", world.chute_id);
        world.create().await;
        counted.is("claim-next-job", &miner.put(&next, Value::Null).await, 4 + more, 0);
        // A worker's name costs two queries more.
        world.create().await;
        let worker = json!({"worker": format!("gpu-{more}")});
        counted.is("claim-next-job", &miner.put(&next, worker.clone()).await, 6 + more, 0);
        // Instead of the claim, what it was given before; a hotkey's second signature is remembered.
        counted.is("claim-next-job", &miner.put(&next, worker).await, 5 + 2 * more, 0);
        // Nobody announced a file: there is nothing to look for.
        counted.is("delete-job", &user.delete(&path).await, 2 + more, 0);

        let (job, done) = world.completed(&[("a", b"hello")]).await;
        let file_id = done["output_files"].as_object().unwrap().keys().next().unwrap();
        let answer = user.get(&format!("/jobs/{}/download/{file_id}", job.job_id)).await;
        counted.is("download-output-file", &answer, 1 + more, 0);
        // The versions that were checked are removed a thousand at a time, and the reaper is told when to look again.
        let path = format!("/jobs/{}", job.job_id);
        counted.is("delete-job", &user.delete(&path).await, 3 + more, 1);
        counted.is("delete-job", &user.delete(&path).await, 1 + more, 0);

        // What nobody has checked is listed, and so are unfinished uploads.
        let (job, _) = world.finished(&["a"]).await;
        counted.is("delete-job", &user.delete(&format!("/jobs/{}", job.job_id)).await, 3 + more, 2);
    }

    let job = world.claimed().await;
    counted.is("release-job", &Client::nobody().put(&job.path.replace("?token=", "/release?token="), Value::Null).await, 2, 0);

    let job = world.claimed().await;
    let heartbeat = job.path.replace("?token=", "/heartbeat?token=");
    let answer = Client::nobody().put(&heartbeat, json!({"progress": 0.5})).await;
    counted.is("heartbeat-job", &answer, 1, 0);
    let answer = Client::nobody().put(&heartbeat, json!({"log_bytes": 5})).await;
    counted.is("heartbeat-job", &answer, 2, 0);
    counted.is("list-logs", &world.user.get(&format!("/jobs/{}/logs", job.job_id)).await, 1, 1);
    // Presigning is offline, for any number of files.
    let names: Vec<_> = (0..11).map(|number| number.to_string()).collect();
    let report = json!({
        "status": "complete", "output_filenames": names, "output_files": [{"filename": "declared", "size": 5}],
    });
    let first = job.finish(report.clone()).await;
    counted.is("finish-job", &first, 1, 0);
    counted.is("finish-job", &job.finish(report).await, 1, 0);
    counted.is("upload-job-file", &Client::nobody().put(&job.upload_path(), json!({"path": "0"})).await, 1, 0);
    counted.is("upload-job-file", &job.upload("0", b"hello").await, 2, 1);
    for name in ["1", "2"] {
        assert_eq!(upload(&text(&first.body["output_storage_urls"][name]), b"hello").await.status, 200);
    }
    let mut targets = first.body["uploads"].as_array().unwrap().iter();
    let declared = targets.find(|target| target["filename"] == "declared").unwrap();
    assert_eq!(upload_to(declared, b"hello").await.status, 200);
    // A look at each of twelve.
    counted.is("complete-job", &job.complete().await, 2, 11 + 1);
    counted.is("complete-job", &job.complete().await, 1, 0);

    let names: Vec<_> = (0..13).map(|number| number.to_string()).collect();
    let (job, answer) = world.finished(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in ["1", "2"] {
        assert_eq!(upload(&text(&answer["output_storage_urls"][name]), b"hello").await.status, 200);
    }
    // One listing, and a look at each that is there and was not declared. One works at a time on so many: that is written first.
    counted.is("complete-job", &job.complete().await, 3, 1 + 2);

    let without_files = world.claimed().await;
    counted.is("finish-job", &without_files.finish(json!({"status": "complete"})).await, 1, 0);
    counted.is("complete-job", &without_files.complete().await, 1, 0);

    counted.is("docs", &Client::nobody().get("/docs").await, 0, 0);

    let routed = functions().into_iter().filter(|function| !function.routes.is_empty());
    for package in routed.map(|function| function.package).filter(|package| !counted.0.contains(package.as_str())) {
        let own = format!("tests/api/{}.rs", package.replace('-', "_"));
        let own = fs::read_to_string(repository(&own)).unwrap_or_default();
        assert!(own.contains(".engine_calls()"), "nothing says how many calls {package} makes");
    }
}

#[tokio::test]
async fn what_a_job_carries_costs_a_call_to_s3_where_it_is_made_and_where_it_is_answered() {
    let world = World::new().await;
    let mut counted = Counted::default();
    let large = || json!({"a": "x".repeat(100 << 10)});
    let created = world.user.post(&format!("/jobs/{}/train", world.chute_id), large()).await;
    counted.is("create-job", &created, 2, 1);
    let path = format!("/jobs/{}", text(&created.body["job_id"]));
    counted.is("get-job", &world.user.get(&path).await, 1, 1);
    let claim = world.miner.put(&format!("{path}/claim"), Value::Null).await;
    counted.is("claim-job", &claim, 3, 1);
    let (loser, url) = (World::another_miner().await, text(&claim.body["job_status_url"]));
    assert_eq!(loser.put(&format!("{path}/claim"), Value::Null).await.engine_calls().1, 0);
    counted.is("heartbeat-job", &Client::nobody().put(&url.replace("?token=", "/heartbeat?token="), Value::Null).await, 1, 0);

    // A large report is put where the job says, which counts it; its repeat is not put again, and costs the read of the list.
    let names: Vec<_> = (0..200).map(|number| format!("frames/{number:04}.png")).collect();
    let report = json!({"status": "complete", "result": large(), "output_filenames": names});
    counted.is("finish-job", &Client::nobody().post(&url, report.clone()).await, 2, 2);
    counted.is("finish-job", &Client::nobody().post(&url, report).await, 1, 1);
    let upload = url.replace("?token=", "/upload?token=");
    counted.is("upload-job-file", &Client::nobody().put(&upload, json!({"path": names[0]})).await, 1, 1);
    // The list as it was and as it is, and the files' listing. None has arrived. One works at a time on so many: that is written first.
    counted.is("complete-job", &Client::nobody().put(&url, Value::Null).await, 3, 2);
    counted.is("get-job", &world.user.get(&path).await, 1, 3);
    counted.is("delete-job", &world.user.delete(&path).await, 3, 3);
}

#[tokio::test]
async fn a_multipart_upload_takes_one_call_to_begin() {
    let world = World::new().await;
    let job = world.claimed().await;
    let large = |name: &str| json!({"filename": name, "size": 100 << 20});
    let report = json!({"status": "complete", "output_files": [large("a"), large("b")], "output_filenames": ["c"]});
    let answer = job.finish(report).await;
    Counted::default().is("finish-job", &answer, 1, 2);
    assert_eq!(answer.body["output_storage_urls"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stranger_costs_no_call() {
    let world = World::new().await;
    let job = world.claimed().await;
    let (a_job, other) = (format!("/jobs/{}", job.job_id), job.with_token("eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.e30.x"));
    for answer in [
        Client::nobody().get(&a_job).await,
        Client::nobody().get("/jobs").await,
        Client::nobody().get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await,
        Client::with_key("cpk_nonsense").get(&format!("/jobs/claimable?chute_id={}", world.chute_id)).await,
        Client::nobody().put(&format!("{a_job}/claim"), Value::Null).await,
        Client::nobody().delete(&a_job).await,
        Client::nobody().post("/inputs", json!({"filename": "a", "size": 1})).await,
        Client::nobody().put(&format!("/inputs/{}", Uuid::nil()), Value::Null).await,
        Client::nobody().get(&format!("{a_job}/inputs/{}?token=a.b.c", Uuid::nil())).await,
        Client::with_key("cpk_nonsense").get(&a_job).await,
        Client::nobody().send(Method::GET, &a_job, Vec::new(), &[("authorization", "Bearer a.b.c")]).await,
        other.finish(json!({})).await,
        other.upload("a", b"x").await,
        other.complete().await,
    ] {
        assert_eq!((answer.status, answer.engine_calls()), (401, (0, 0)), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_caller_who_is_made_up_costs_one_read_of_items_and_no_query() {
    let night = Night::begin().await;
    let (job_id, ..) = night.finished(&night.miner().await, &["a"]).await;
    let pending = night.create("train").await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&calls);
    night.stack.set_faults(move |call| {
        if call.service != Service::SecretsManager {
            hook.lock().unwrap().push(call.operation.clone());
        }
        Fault::None
    });
    // Of a user that there is, and of a form that only the registry can tell from a real one's.
    let user_id = Uuid::try_parse(&night.user_id).unwrap();
    let key = format!("cpk_{}.{}.{}", Uuid::new_v4().simple(), user_id.simple(), "a1".repeat(16));
    let (job, chute_id) = (format!("/jobs/{job_id}"), &night.chute_id);
    let hotkey = Hotkey::generate();
    for signs in [false, true] {
        for (method, path) in [
            (Method::GET, "/jobs?limit=100".to_owned()),
            (Method::GET, format!("/jobs/claimable?limit=100&chute_id={chute_id}")),
            (Method::GET, job.clone()),
            (Method::GET, "/usage".to_owned()),
            (Method::GET, format!("{job}/download/{}", Uuid::nil())),
            (Method::DELETE, job.clone()),
            (Method::PUT, format!("{job}/cancel")),
            (Method::PUT, format!("{job}/retry")),
            (Method::POST, format!("/jobs/{chute_id}/train")),
            (Method::PUT, format!("/inputs/{}", Uuid::nil())),
            (Method::PUT, format!("/jobs/{pending}/claim")),
        ] {
            let signed = hotkey.headers(method.as_str(), &path, b"");
            let headers = if signs { signed.to_vec() } else { vec![("authorization", key.clone())] };
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = Client::nobody().send(method.clone(), &night.url(&path), Vec::new(), &headers).await;
            assert_eq!((answer.status, answer.engine_calls()), (401, (1, 0)), "{method} {path}: {}", answer.body);
            assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), ["BatchGetItem"], "{method} {path}");
        }
    }
    night.stack.shutdown().await;
}
