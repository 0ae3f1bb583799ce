//! Functions that die and answers that are lost while files are checked: the repeat goes on, and no byte is wrong.

use std::sync::{Arc, Mutex};

use local::{Fault, Stack};
use serde_json::json;
use tests::{Envelope, Job, objects, upload_to};

use crate::{MIB, content, put_envelope, target};

/// One fault of one operation of complete-job, the first time it is called; it is gone when it has happened.
type Armed = Arc<Mutex<Option<(&'static str, Fault)>>>;

async fn stack_with_faults() -> (Stack, Armed) {
    let stack = Stack::start().await.unwrap();
    let armed = Armed::default();
    let hook = armed.clone();
    stack.set_faults(move |call| {
        let mut armed = hook.lock().unwrap();
        match *armed {
            Some((operation, fault))
                if call.operation == operation && call.function.as_deref() == Some("complete-job") =>
            {
                *armed = None;
                fault
            }
            _ => Fault::None,
        }
    });
    (stack, armed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_dies_anywhere_is_gone_on_with() {
    let (stack, armed) = stack_with_faults().await;
    let envelope = Envelope::default();
    let few = vec![("small", content(100_000)), ("large", content(5 * MIB + 1)), ("empty", Vec::new())];
    let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"].map(|name| (name, name.into())).to_vec();
    for (operation, fault) in [
        ("ListObjectVersions", Fault::KillFunction),
        ("HeadObject", Fault::KillFunction),
        ("GetObject", Fault::KillFunction),
        ("PutObject", Fault::KillFunction),
        ("PutObject", Fault::FailAfter),
        ("CreateMultipartUpload", Fault::FailAfter),
        ("UploadPartCopy", Fault::KillFunction),
        ("UploadPartCopy", Fault::FailAfter),
        ("CompleteMultipartUpload", Fault::KillFunction),
        ("CompleteMultipartUpload", Fault::FailAfter),
        // Everything is unwrapped, the envelopes are still there.
        ("UpdateItem", Fault::KillFunction),
        ("UpdateItem", Fault::FailAfter),
        ("DeleteObjects", Fault::KillFunction),
    ] {
        let job = Job::on(&stack).await;
        let files = if operation == "ListObjectVersions" { &many } else { &few };
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let declared = json!([{"filename": "declared", "size": 5}]);
        let report = json!({"status": "complete", "output_filenames": names, "output_files": declared});
        let answer = job.finish(report).await.ok();
        for (name, content) in files {
            put_envelope(&envelope, &answer, name, content).await;
        }
        assert_eq!(upload_to(target(&answer, "declared"), b"hello").await.status, 200);
        *armed.lock().unwrap() = Some((operation, fault));
        let first = job.complete().await;
        assert_eq!(*armed.lock().unwrap(), None, "{operation} was not called");
        // A lost answer is the SDK's to repeat; a function that is gone is the caller's.
        assert_eq!(first.status == 200, fault != Fault::KillFunction, "{operation} {fault:?}: {}", first.status);
        let done = job.complete().await.ok();
        assert_eq!(done["status"], "complete", "{operation} {fault:?}");
        for (name, content) in files {
            assert!(job.download(name).await.bytes == *content, "{operation} {fault:?}: {name}");
        }
        if operation != "DeleteObjects" {
            assert_eq!(objects(&stack, &job.job_id).await.len(), files.len() + 1, "{operation} {fault:?}");
        }
    }
}
