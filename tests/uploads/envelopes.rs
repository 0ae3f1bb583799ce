//! The SDK's envelopes: whatever is in them comes out, and nothing else.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use tests::{Envelope, World, objects, stack, text, unfinished_uploads};

use crate::{MIB, content, file, put, put_envelope};

/// A job with one file for each of these, packed like that; all come out as they went in, and nothing else is left.
async fn come_out(files: &[(Envelope<'_>, Vec<u8>)]) {
    let world = World::new().await;
    let names: Vec<_> = (0..files.len()).map(|number| format!("sub dir/{number}")).collect();
    let (job, answer) = world.finished(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (name, (envelope, content)) in names.iter().zip(files) {
        put_envelope(envelope, &answer, name, content).await;
    }
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "complete", "{}", done["error_detail"]);
    for (name, (envelope, content)) in names.iter().zip(files) {
        let (found, stored) = (file(&done, name), job.download(name).await);
        assert_eq!((&found["size"], &found["content_type"]), (&json!(content.len()), &json!(envelope.content_type)));
        assert_eq!(stored.header("content-type"), Some(envelope.content_type));
        assert!(stored.bytes == *content, "{name}: {} bytes went in, {} came out", content.len(), stored.bytes.len());
    }
    assert_eq!(objects(stack(), &job.job_id).await.len(), files.len());
    assert_eq!(unfinished_uploads(stack(), &job.job_id).await, [""; 0]);
}

#[tokio::test]
async fn what_the_sdk_itself_sent_becomes_the_file() {
    let world = World::new().await;
    let name = "sub dir/ünï \"q\".txt";
    let (job, answer) = world.finished(&[name]).await;
    let body = include_bytes!("../data/sdk-upload.multipart").to_vec();
    let kind = "multipart/form-data; boundary=c68a09cb27c94576afcf4282eb70d1a4";
    assert_eq!(put(&text(&answer["output_storage_urls"][name]), body, kind).await.status, 200);
    let done = job.complete().await.ok();
    assert_eq!((&done["status"], &file(&done, name)["size"]), (&json!("complete"), &json!(5)));
    assert_eq!(file(&done, name)["content_type"], "text/plain");
    let stored = job.download(name).await;
    assert_eq!((stored.header("content-type"), &stored.bytes[..]), (Some("text/plain"), &b"hello"[..]));
}

#[tokio::test]
async fn parts_come_in_either_order_under_any_boundary() {
    let seventy = "0123456789".repeat(7);
    let mut files = Vec::new();
    for boundary in ["b", "a 'b' (c)+_,-./:=?", "-----------------------------9051914041544843365972754266", &seventy] {
        for file_first in [true, false] {
            for content_type in ["text/plain", "multipart/form-data; boundary=inner"] {
                files.push((Envelope { boundary, file_first, content_type }, b"hello".to_vec()));
            }
        }
    }
    come_out(&files).await;
}

#[tokio::test]
async fn payloads_come_out_whole_at_every_limit() {
    // From 5 MiB on S3 copies, from 128 MiB on in more than one part.
    let sizes = [0, 1, 16 << 10, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 128 * MIB - 1, 128 * MIB];
    let envelope = |size| Envelope { file_first: size % 2 == 0, ..Envelope::default() };
    come_out(&sizes.map(|size| (envelope(size), content(size)))).await;
}

#[tokio::test]
async fn payloads_that_look_like_envelopes_come_out_whole() {
    let packed = Envelope::default();
    let other = Envelope { boundary: "other", ..packed.clone() };
    let delimiter = format!("\r\n--{}", packed.boundary);
    let payloads = [
        b"\r\n--".to_vec(),
        b"\r\n".to_vec(),
        b"--".to_vec(),
        delimiter.clone().into_bytes(),
        format!("{delimiter}--\r\n").into_bytes(),
        format!("--{}--\r\n", packed.boundary).into_bytes(),
        format!("x{delimiter}\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\nx").into_bytes(),
        other.of("inner", b"inner"),
        // The same boundary: only a client that chooses its boundaries badly sends that.
        packed.of("inner", b"inner"),
        Envelope { file_first: false, ..packed.clone() }.of("inner", b"inner"),
        packed.of("inner", &content(6 * MIB)),
    ];
    let mut files = Vec::new();
    for payload in payloads {
        for file_first in [true, false] {
            files.push((Envelope { file_first, ..packed.clone() }, payload.clone()));
        }
    }
    come_out(&files).await;
}

#[tokio::test]
async fn a_file_whose_own_type_is_an_envelopes_is_opened_once() {
    let world = World::new().await;
    let outer = Envelope { content_type: "multipart/form-data; boundary=inner", ..Envelope::default() };
    let inner = Envelope { boundary: "inner", ..Envelope::default() }.of("a", b"inner");
    let (job, answer) = world.finished(&["a"]).await;
    put_envelope(&outer, &answer, "a", &inner).await;
    // All at once, so that one finds what another has opened.
    let answers = join_all((0..4).map(|_| job.complete())).await;
    let jobs: Vec<_> = answers.into_iter().map(tests::Answer::ok).collect();
    assert!(jobs.iter().all(|job| *job == jobs[0] && job["status"] == "complete"), "{jobs:?}");
    assert_eq!(job.download("a").await.bytes, inner);
}

#[tokio::test]
async fn an_envelope_that_was_cut_short_is_not_uploaded() {
    let world = World::new().await;
    let envelope = Envelope::default();
    let (small, large) = (envelope.of("cut", b"hello"), envelope.of("cut", &content(6 * MIB)));
    let cuts = [0, 1, 40, small.len() / 2, small.len() - 40, small.len() - 3];
    let mut bodies: Vec<_> = cuts.iter().map(|cut| small[..*cut].to_vec()).collect();
    bodies.extend([large[..3 * MIB].to_vec(), large[..large.len() - 100].to_vec()]);
    let names: Vec<_> = (0..bodies.len()).map(|number| number.to_string()).collect();
    let all: BTreeSet<_> = names.iter().map(String::as_str).chain(["whole"]).collect();

    let (job, answer) = world.finished(&all.into_iter().collect::<Vec<_>>()).await;
    put_envelope(&envelope, &answer, "whole", b"hello").await;
    for (name, body) in names.iter().zip(bodies) {
        let url = text(&answer["output_storage_urls"][name]);
        assert_eq!(put(&url, body, &envelope.header()).await.status, 200);
    }
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "partial_failure");
    let notes = names.iter().map(|name| format!("\nThe upload of {name} was cut short")).collect::<String>();
    assert_eq!(done["error_detail"], format!("Failed to upload files: {}{notes}", names.join(", ")));
    assert_eq!((&file(&done, "whole")["uploaded"], &file(&done, "3")["uploaded"]), (&json!(true), &json!(false)));
    // Nobody can ask for them.
    assert_eq!(objects(stack(), &job.job_id).await.len(), 1);
}
