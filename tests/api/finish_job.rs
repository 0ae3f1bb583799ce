//! `POST /jobs/{job_id}?token=`: a miner reports its result and gets upload targets.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Client, Job, World, item, job_token_keys, parts_of, stack, text, token, upload, upload_to};

/// The answer to a body as it stands, which need not be JSON.
async fn finish_raw(job: &Job, body: impl Into<Vec<u8>>) -> Answer {
    Client::nobody().send(Method::POST, &job.path, body.into(), &[("content-type", "application/json")]).await
}

/// Asserts one validation error: where and what.
#[track_caller]
fn is_invalid(answer: &Answer, loc: Value, msg: &str, input: &Value) {
    let (status, errors) = answer.error();
    assert_eq!(status, 422, "{errors}");
    let found: Vec<_> = errors.as_array().expect("a list").iter().map(|it| (&it["loc"], &it["msg"])).collect();
    assert_eq!(found, [(&loc, &json!(msg))]);
    assert_eq!(&errors[0]["input"], input);
}

/// The file of that name in a list of upload targets.
fn target<'a>(answer: &'a Value, filename: &str) -> &'a Value {
    let targets = answer["uploads"].as_array().expect("targets");
    targets.iter().find(|target| target["filename"] == filename).expect("a target for the file")
}

/// The file of that name in a job.
fn file<'a>(job: &'a Value, filename: &str) -> &'a Value {
    let files = job["output_files"].as_object().expect("files");
    files.values().find(|file| file["filename"] == filename).expect("the file")
}

#[tokio::test]
async fn a_report_without_files_ends_the_job() {
    let world = World::new().await;
    for status in ["complete", "error", "cancelled"] {
        let job = world.claimed().await;
        let answer = job.finish(json!({"status": status})).await.ok();
        assert_eq!((&answer["status"], &answer["terminal"]), (&json!(status), &json!(true)));
        assert_eq!((&answer["output_files"], &answer["output_storage_urls"]), (&json!({}), &json!({})));
        assert_eq!(answer["finished_at"], answer["updated_at"]);
        assert_eq!((&answer["active"], &answer["uploads"]), (&json!(false), &json!([])));
        assert_eq!(world.get(&job.job_id).await["status"], status);
    }
}

/// The answer is worked out from the item as it was: the table has to hold the same.
#[tokio::test]
async fn a_report_is_answered_as_it_is_stored() {
    let world = World::new().await;
    for report in [
        json!({"status": "error", "detail": "Out of memory", "result": {"loss": 0.5}}),
        json!({"status": "complete", "result": [1, null], "output_files": [
            {"filename": "a/b", "size": 5, "content_type": "text/plain"}, {"filename": "c", "sha256": "ab".repeat(32)},
        ]}),
    ] {
        let job = world.claimed().await;
        let (mut answer, mut stored) = (job.finish(report).await.ok(), world.get(&job.job_id).await);
        for job in [&mut answer, &mut stored] {
            // Where to upload, which is the report's answer only.
            job.as_object_mut()
                .expect("a job")
                .retain(|field, _| !["uploads", "output_storage_urls"].contains(&&**field));
        }
        assert_eq!(answer, stored);
    }
}

#[tokio::test]
async fn a_report_with_files_waits_for_them() {
    let world = World::new().await;
    for (status, becomes) in [("complete", "complete_pending_uploads"), ("error", "error"), ("cancelled", "cancelled")]
    {
        let job = world.claimed().await;
        let answer = job.finish(json!({"status": status, "output_filenames": ["log.txt"]})).await.ok();
        assert_eq!((&answer["status"], &answer["terminal"]), (&json!(becomes), &json!(false)));
        assert_eq!(answer["active"], true);
    }
}

#[tokio::test]
async fn the_status_of_a_report_is_error_unless_it_says_otherwise() {
    let world = World::new().await;
    for body in ["{}", "", "{\"detail\": null, \"unknown\": 1}"] {
        let answer = finish_raw(&world.claimed().await, body).await.ok();
        assert_eq!((&answer["status"], &answer["error_detail"]), (&json!("error"), &Value::Null));
    }
}

#[tokio::test]
async fn any_other_status_is_refused() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    for status in
        [json!(null), json!("running"), json!("Complete"), json!(""), json!(1), json!(["complete"]), json!("\u{0}")]
    {
        let answer = job.finish(json!({"status": status})).await;
        is_invalid(&answer, json!(["body", "status"]), "Input should be 'complete', 'error' or 'cancelled'", &status);
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn defect_3_a_result_is_any_json_or_none() {
    let world = World::new().await;
    for result in [
        json!({"loss": 0.5, "ünï": [{}]}),
        json!("done"),
        json!(""),
        json!("null"),
        json!(7),
        json!(0.25),
        json!(false),
        json!([1, [2]]),
        json!([]),
        json!(null),
    ] {
        let job = world.claimed().await;
        let answer = job.finish(json!({"status": "complete", "result": result})).await.ok();
        assert_eq!(answer["result"], result);
        assert_eq!(world.get(&job.job_id).await["result"], result);
    }
    let job = world.claimed().await;
    job.finish(json!({"status": "error", "detail": "CUDA out of memory"})).await.ok();
    let failed = world.get(&job.job_id).await;
    assert_eq!((&failed["result"], &failed["error_detail"]), (&Value::Null, &json!("CUDA out of memory")));
}

#[tokio::test]
async fn a_result_comes_out_as_it_went_in() {
    let world = World::new().await;
    let job = world.claimed().await;
    let result = r#"{"z":123456789012345678901234567890,"a":1.10,"e":"\u00e9\u0000"}"#;
    finish_raw(&job, format!("{{\"status\":\"complete\",\"result\":{result}}}")).await.ok();
    let answer = world.user.get(&format!("/jobs/{}", job.job_id)).await;
    assert!(String::from_utf8(answer.bytes).unwrap().contains(&format!("\"result\":{result}")));
}

#[tokio::test]
async fn defect_13_pythons_nan_is_null() {
    let world = World::new().await;
    for (written, result) in [
        ("NaN", json!(null)),
        ("{\"loss\": NaN, \"best\": [-Infinity, Infinity, 1]}", json!({"loss": null, "best": [null, null, 1]})),
        ("\"NaN\"", json!("NaN")),
    ] {
        let job = world.claimed().await;
        let body = format!("{{\"status\": \"complete\", \"result\": {written}}}");
        finish_raw(&job, body).await.ok();
        assert_eq!(world.get(&job.job_id).await["result"], result);
    }
}

#[tokio::test]
async fn defect_13_half_a_surrogate_pair_of_pythons_does_not_keep_a_report_out() {
    let world = World::new().await;
    let job = world.claimed().await;
    // What `json.dumps` makes of a traceback over a file name that is no UTF-8.
    let body = r#"{"status": "error", "detail": "No such file: 'caf\udce9' \ud83d\ude00"}"#;
    finish_raw(&job, body).await.ok();
    assert_eq!(world.get(&job.job_id).await["error_detail"], "No such file: 'caf\u{fffd}' 😀");
}

#[tokio::test]
async fn a_result_has_at_most_4_mib() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    // A string of n bytes has n - 2 characters.
    let result = |bytes: usize| json!({"status": "complete", "result": "x".repeat(bytes - 2)});
    job.finish(result((4 << 20) + 1)).await.is_error(413, "result is larger than 4194304 bytes");
    assert_eq!(job.stored().await, before);
    job.finish(result(4 << 20)).await.ok();
}

#[tokio::test]
async fn a_long_detail_is_cut_in_the_middle() {
    let world = World::new().await;
    let job = world.claimed().await;
    let detail = format!("Traceback{}ValueError", "é".repeat(16 << 10));
    let kept = text(&job.finish(json!({"detail": detail})).await.ok()["error_detail"]);
    assert!(kept.len() <= 16 << 10 && kept.len() > (16 << 10) - 8, "{} bytes", kept.len());
    assert!(kept.starts_with("Tracebacké") && kept.contains("é\n[…]\né") && kept.ends_with("éValueError"));

    let job = world.claimed().await;
    let detail = "x".repeat(16 << 10);
    assert_eq!(job.finish(json!({"detail": detail})).await.ok()["error_detail"], detail);
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named_together() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    let answer = job.finish(json!({"status": 1, "detail": [], "output_filenames": "a.txt", "output_files": {}})).await;
    let (status, errors) = answer.error();
    assert_eq!(status, 422);
    insta::assert_snapshot!(serde_json::to_string_pretty(&errors).unwrap(), @r#"
    [
      {
        "type": "enum",
        "loc": [
          "body",
          "status"
        ],
        "msg": "Input should be 'complete', 'error' or 'cancelled'",
        "input": 1
      },
      {
        "type": "string_type",
        "loc": [
          "body",
          "detail"
        ],
        "msg": "Input should be a valid string",
        "input": []
      },
      {
        "type": "list_type",
        "loc": [
          "body",
          "output_filenames"
        ],
        "msg": "Input should be a valid list",
        "input": "a.txt"
      },
      {
        "type": "list_type",
        "loc": [
          "body",
          "output_files"
        ],
        "msg": "Input should be a valid list",
        "input": {}
      }
    ]
    "#);
    for name in [json!(1), json!(null), json!(["a"]), json!({"filename": "a"})] {
        let answer = job.finish(json!({"output_filenames": ["a", name]})).await;
        is_invalid(&answer, json!(["body", "output_filenames", 1]), "Input should be a valid string", &name);
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    for body in ["[]", "null", "\"complete\"", "1"] {
        let input = serde_json::from_str(body).unwrap();
        is_invalid(&finish_raw(&job, body).await, json!(["body"]), "Input should be a valid dictionary", &input);
    }
    let broken = finish_raw(&job, "{\"status\": \"complete\",").await.error();
    insta::assert_snapshot!(broken.1.to_string(), @r#"[{"type":"json_invalid","loc":["body",22],"msg":"JSON decode error","input":{},"ctx":{"error":"EOF while parsing a value"}}]"#);
    for body in [&b"{\"result\": \"\xff\"}"[..], b"{\"result\": 1e999}"] {
        assert_eq!(finish_raw(&job, body).await.error().0, 422, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn defect_10_a_bad_filename_is_named() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    let (path, long) = ("must be a relative path without empty, '.' or '..' segments", "x".repeat(927));
    for (name, problem) in [
        ("", "must not be empty"),
        ("/", path),
        ("/etc/passwd", path),
        ("a/", path),
        ("a//b", path),
        (".", path),
        ("..", path),
        ("../a", path),
        ("a/../b", path),
        ("a/./b", path),
        ("a\\b", "must not contain control characters or backslashes"),
        ("a\r\nX-Evil: 1", "must not contain control characters or backslashes"),
        ("a\u{0}", "must not contain control characters or backslashes"),
        ("a\u{7f}", "must not contain control characters or backslashes"),
        (&long, "must be at most 926 bytes long"),
    ] {
        let answer = job.finish(json!({"output_filenames": ["good.txt", name]})).await;
        let message = format!("Filename {problem}");
        is_invalid(&answer, json!(["body", "output_filenames", 1]), &message, &name.into());
        let answer = job.finish(json!({"output_files": [{"filename": name}]})).await;
        let message = format!("filename {problem}");
        is_invalid(&answer, json!(["body", "output_files", 0, "filename"]), &message, &name.into());
    }
    let answer = job.finish(json!({"output_filenames": ["a", "b", "a"]})).await;
    is_invalid(&answer, json!(["body", "output_filenames", 2]), "Filename must be unique", &"a".into());
    let answer = job.finish(json!({"output_files": [{"filename": "a"}, {"filename": "a"}]})).await;
    let loc = json!(["body", "output_files", 1, "filename"]);
    is_invalid(&answer, loc, "Filename must be unique", &"a".into());
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn every_good_filename_takes_a_file() {
    let world = World::new().await;
    let long = "x".repeat(926);
    let names =
        ["model.bin", "a/b/c.txt", "ünï côdé/日本 \"q\".txt", "a b+c&d=e%20?#;", "...", "a..b", ".hidden", &long];
    let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    let (_, job) = world.completed(&files).await;
    assert_eq!(job["status"], "complete");
    for name in names {
        let found = file(&job, name);
        assert_eq!((&found["uploaded"], &found["size"]), (&json!(true), &json!(name.len())));
        assert!(text(&found["path"]).ends_with(&format!("{}/outputs/{name}", text(&job["job_id"]))));
        assert!(text(&found["path"]).len() <= 1024);
    }
}

#[tokio::test]
async fn a_job_has_at_most_a_thousand_files() {
    let world = World::new().await;
    let job = world.claimed().await;
    let names: Vec<_> = (0..1001).map(|number| format!("frame-{number:04}.png")).collect();
    let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await;
    let loc = json!(["body", "output_filenames"]);
    is_invalid(&answer, loc.clone(), "A job has at most 1000 output files", &json!(1001));
    let declared = json!([{"filename": "one more"}]);
    let answer = job.finish(json!({"output_filenames": names[..1000], "output_files": declared})).await;
    is_invalid(&answer, loc, "A job has at most 1000 output files", &json!(1001));

    let answer = job.finish(json!({"status": "complete", "output_filenames": names[..1000]})).await.ok();
    assert_eq!(answer["output_files"].as_object().unwrap().len(), 1000);
    let url = text(&answer["output_storage_urls"]["frame-0999.png"]);
    assert_eq!(upload(&url, b"the last").await.status, 200);
}

#[tokio::test]
async fn names_and_declarations_are_one_list() {
    let world = World::new().await;
    let job = world.claimed().await;
    let hash = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824";
    let declared =
        json!([{"filename": "a", "size": 5, "sha256": hash, "content_type": "text/plain"}, {"filename": "c"}]);
    let answer = job.finish(json!({"output_filenames": ["a", "b"], "output_files": declared})).await.ok();
    assert_eq!(answer["output_files"].as_object().unwrap().len(), 3);
    let a = file(&answer, "a");
    assert_eq!((&a["size"], &a["content_type"]), (&json!(5), &json!("text/plain")));
    assert_eq!(a["sha256"], hash.to_lowercase());
    let b = file(&answer, "b");
    assert_eq!((&b["size"], &b["sha256"], &b["content_type"]), (&Value::Null, &Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_declaration_that_can_not_be_is_named() {
    let world = World::new().await;
    let job = world.claimed().await;
    let before = job.stored().await;
    const TIB: u64 = 1 << 40;
    let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let size = "size must be a whole number of bytes up to 5 TiB";
    let sha256 = "sha256 must be 64 hex digits";
    let kind = "content_type must be a media type of at most 80 characters";
    let part = "part_size must be a whole number of bytes from 5 MiB to 5 GiB";
    for (field, value, message) in [
        ("size", json!(-1), size),
        ("size", json!(1.5), size),
        ("size", json!("5"), size),
        ("size", json!(5 * TIB + 1), size),
        ("size", json!(1e30), size),
        ("sha256", json!(hex[1..]), sha256),
        ("sha256", json!(format!("{hex}0")), sha256),
        ("sha256", json!(hex.replace('2', "g")), sha256),
        ("sha256", json!("é".repeat(32)), sha256),
        ("sha256", json!(5), sha256),
        ("content_type", json!("text"), kind),
        ("content_type", json!("text/plain\r\nX-Evil: 1"), kind),
        ("content_type", json!(format!("text/{}", "x".repeat(76))), kind),
        ("part_size", json!((5 << 20) - 1), part),
        ("part_size", json!((5_u64 << 30) + 1), part),
        ("part_size", json!(-5), part),
    ] {
        let answer = job.finish(json!({"output_files": [{"filename": "a", field: value}]})).await;
        is_invalid(&answer, json!(["body", "output_files", 0, field]), message, &value);
    }
    for (declared, input) in [(json!({}), Value::Null), (json!({"filename": 1}), json!(1)), (json!("a"), Value::Null)] {
        let answer = job.finish(json!({"output_files": [declared]})).await;
        let loc = json!(["body", "output_files", 0, "filename"]);
        is_invalid(&answer, loc, "filename is required and a string", &input);
    }
    let many = json!([{"filename": "a", "size": 5 * TIB, "part_size": 5 << 20}]);
    let answer = job.finish(json!({"output_files": many})).await;
    let loc = json!(["body", "output_files", 0, "part_size"]);
    is_invalid(&answer, loc, "part_size must not make more than 10,000 parts", &json!(5 << 20));
    assert_eq!(job.stored().await, before);

    let nulls = json!({"filename": "a", "size": null, "sha256": null, "content_type": null, "part_size": null});
    job.finish(json!({"output_files": [nulls]})).await.ok();
}

#[tokio::test]
async fn an_upload_target_says_everything_that_an_upload_needs() {
    let world = World::new().await;
    let (job, answer) = world.finished(&["a/b.txt"]).await;
    let target = target(&answer, "a/b.txt");
    let fields: Vec<_> = target.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["filename", "file_id", "method", "url", "headers", "expires_at", "parts", "renew_url"]);
    assert_eq!((&target["method"], &target["headers"], &target["parts"]), (&json!("PUT"), &json!({}), &Value::Null));
    assert_eq!(target["url"], answer["output_storage_urls"]["a/b.txt"]);
    assert!(answer["output_files"].get(text(&target["file_id"])).is_some());
    let renew_url = text(&target["renew_url"]);
    assert!(renew_url.starts_with(&format!("{}/jobs/{}/upload?token=", stack().url(), job.job_id)));
    assert!(text(&target["url"]).contains("X-Amz-Expires=3600&"));
    assert_eq!(upload(&text(&target["url"]), b"hello").await.status, 200);
}

#[tokio::test]
async fn the_bucket_refuses_what_was_not_declared() {
    let world = World::new().await;
    let job = world.claimed().await;
    let declared = json!([
        {"filename": "size", "size": 5},
        {"filename": "hash", "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
        {"filename": "type", "content_type": "text/plain"},
    ]);
    let answer = job.finish(json!({"status": "complete", "output_files": declared})).await.ok();
    let put = async |name: &str, content: &[u8]| upload_to(target(&answer, name), content).await.status;

    assert_eq!(put("size", b"hell").await, 403);
    assert_eq!(put("size", b"hello!").await, 403);
    assert_eq!(put("hash", b"jello").await, 400);
    // What was signed has to be sent.
    for name in ["hash", "type"] {
        assert_eq!(upload(&text(&target(&answer, name)["url"]), b"hello").await.status, 403, "{name}");
    }
    for name in ["size", "hash", "type"] {
        assert_eq!(put(name, b"hello").await, 200, "{name}");
    }
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "complete");
    assert_eq!(file(&done, "type")["content_type"], "text/plain");
}

#[tokio::test]
async fn defect_9_a_repeated_report_forgets_no_upload() {
    let world = World::new().await;
    let job = world.claimed().await;
    let report = || json!({"status": "complete", "result": [1], "output_filenames": ["a", "b"]});
    let first = job.finish(report()).await.ok();
    job.upload("a", b"through the API").await.ok();
    assert_eq!(upload(&text(&first["output_storage_urls"]["b"]), b"straight").await.status, 200);

    let again = job.finish(report()).await.ok();
    assert_eq!(file(&again, "a")["uploaded"], true);
    assert_eq!(again["finished_at"], first["finished_at"]);
    assert_eq!(upload(&text(&again["output_storage_urls"]["b"]), b"straight, again").await.status, 200);
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "complete");
    assert_eq!((&file(&done, "a")["size"], &file(&done, "b")["size"]), (&json!(15), &json!(15)));
}

#[tokio::test]
async fn another_report_comes_too_late() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    let before = job.stored().await;
    for report in [
        json!({}),
        json!({"status": "complete", "result": {"loss": 0.5}}),
        json!({"status": "complete", "result": {"loss": 0.25}, "output_filenames": ["a"]}),
        json!({"status": "complete", "result": {"loss": 0.5}, "output_filenames": ["a", "b"]}),
        json!({"status": "complete", "result": {"loss": 0.5}, "output_files": [{"filename": "a", "size": 1}]}),
        json!({"status": "complete", "result": {"loss": 0.5}, "output_filenames": ["a"], "detail": "x"}),
        json!({"status": "error", "result": {"loss": 0.5}, "output_filenames": ["a"]}),
    ] {
        job.finish(report).await.is_error(400, "Job already finished");
    }
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn after_the_end_only_the_same_report_is_taken() {
    let world = World::new().await;
    let (job, _) = world.completed(&[("a", b"hello")]).await;
    let before = job.stored().await;
    let report = json!({"status": "complete", "result": {"loss": 0.5}, "output_filenames": ["a"]});
    let again = job.finish(report).await.ok();
    assert_eq!((&again["status"], &file(&again, "a")["uploaded"]), (&json!("complete"), &json!(true)));
    job.finish(json!({"status": "error"})).await.is_error(400, "Job already finished");

    let failed = world.claimed().await;
    failed.finish(json!({"detail": "boom"})).await.ok();
    failed.finish(json!({"detail": "boom"})).await.ok();
    failed.finish(json!({"detail": "bang"})).await.is_error(400, "Job already finished");
    assert_eq!(job.stored().await, before);
}

#[tokio::test]
async fn a_job_that_nobody_claimed_can_not_be_finished() {
    let world = World::new().await;
    let job_id = world.create().await;
    let (header, mut claims) = parts_of(&world.claimed().await.token);
    let before = item(stack(), "JobsTable", "job_id", &job_id).await;
    let keys = job_token_keys(stack()).await;
    claims["sub"] = job_id.clone().into();
    let token = token(&header, &claims, &keys["k1"]);
    let answer = Client::nobody().post(&format!("/jobs/{job_id}?token={token}"), json!({"status": "complete"})).await;
    answer.is_error(401, "Missing or invalid JWT");
    assert_eq!(item(stack(), "JobsTable", "job_id", &job_id).await, before);
}

#[tokio::test]
async fn a_deleted_job_is_not_found() {
    let world = World::new().await;
    let job = world.claimed().await;
    world.user.delete(&format!("/jobs/{}", job.job_id)).await.ok();
    let detail = format!("job_id='{}' not found!", job.job_id);
    job.finish(json!({"status": "complete"})).await.is_error(404, &detail);
}

#[tokio::test]
async fn of_two_reports_at_once_one_counts() {
    let world = World::new().await;
    let job = world.claimed().await;
    let (one, other) = tokio::join!(
        job.finish(json!({"status": "complete", "result": 1})),
        job.finish(json!({"status": "complete", "result": 2}))
    );
    let (winner, loser) = if one.status == 200 { (one, other) } else { (other, one) };
    loser.is_error(400, "Job already finished");
    assert_eq!(world.get(&job.job_id).await["result"], winner.ok()["result"]);
}

#[tokio::test]
async fn a_size_may_be_written_as_any_whole_number() {
    let world = World::new().await;
    let job = world.claimed().await;
    for size in [0.5, -1.0, 1e30] {
        let (status, _) = job.finish(json!({"output_files": [{"filename": "a", "size": size}]})).await.error();
        assert_eq!(status, 422, "{size}");
    }
    let files = json!([{"filename": "a", "size": 5.0}]);
    let finished = job.finish(json!({"status": "complete", "output_files": files})).await.ok();
    assert_eq!(finished["output_files"].as_object().unwrap().values().next().unwrap()["size"], 5);
}
