//! Functions that die and answers that are lost while files are checked: the repeat goes on, and no byte is wrong.

use std::sync::{Arc, Mutex};

use local::{Fault, Stack};
use serde_json::json;
use tests::{Envelope, Job, objects};

use crate::{MIB, content, put_envelope};

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
    let files = [("small", content(100_000)), ("large", content(5 * MIB + 1)), ("empty", Vec::new())];
    for (operation, fault) in [
        ("ListObjectVersions", Fault::KillFunction),
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
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
        for (name, content) in &files {
            put_envelope(&envelope, &answer, name, content).await;
        }
        *armed.lock().unwrap() = Some((operation, fault));
        let first = job.complete().await;
        assert_eq!(*armed.lock().unwrap(), None, "{operation} was not called");
        // A lost answer is the SDK's to repeat; a function that is gone is the caller's.
        assert_eq!(first.status == 200, fault != Fault::KillFunction, "{operation} {fault:?}: {}", first.status);
        let done = job.complete().await.ok();
        assert_eq!(done["status"], "complete", "{operation} {fault:?}");
        for (name, content) in &files {
            assert!(job.download(name).await.bytes == *content, "{operation} {fault:?}: {name}");
        }
        if operation != "DeleteObjects" {
            assert_eq!(objects(&stack, &job.job_id).await.len(), files.len(), "{operation} {fault:?}");
        }
    }
}
