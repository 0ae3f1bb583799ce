//! A check that cannot end within the request's time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use local::{Fault, Stack};
use serde_json::json;
use tests::{Envelope, Job, template_with};

use crate::put_envelope;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_in_time_is_kept_and_the_repeat_goes_on() {
    let template = template_with(&[("    Timeout: 29\n", "    Timeout: 5\n")]);
    let stack = Stack::builder().template(template.path()).start().await.unwrap();
    let (slow, unwrapped) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_slow, count) = (slow.clone(), unwrapped.clone());
    stack.set_faults(move |call| {
        if call.function.as_deref() != Some("complete-job") || call.operation != "PutObject" {
            return Fault::None;
        }
        if is_slow.load(Ordering::SeqCst) && count.load(Ordering::SeqCst) == 5 {
            return Fault::Delay(Duration::from_secs(600));
        }
        count.fetch_add(1, Ordering::SeqCst);
        Fault::None
    });

    let job = Job::on(&stack).await;
    let names: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
    for name in &names {
        put_envelope(&Envelope::default(), &answer, name, name.as_bytes()).await;
    }
    for _ in 0..2 {
        let late = job.complete().await;
        late.is_error(503, "Service busy, please try again");
        assert_eq!(late.header("retry-after"), Some("1"));
        assert_eq!(unwrapped.load(Ordering::SeqCst), 5);
    }
    slow.store(false, Ordering::SeqCst);
    assert_eq!(job.complete().await.ok()["status"], "complete");
    assert_eq!(unwrapped.load(Ordering::SeqCst), names.len(), "each is unwrapped once");
    for name in &names {
        assert_eq!(job.download(name).await.bytes, name.as_bytes());
    }
}
