//! How much memory checking takes: it depends neither on a file's size nor on how many there are.

use std::fs;

use serde_json::json;
use tests::{Envelope, World};

use crate::{MIB, content, put_envelope};

/// The most memory that any complete-job of this process has had so far, in KiB.
fn peak_of_complete_job() -> usize {
    let mut peaks = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // A process may end while it is looked at.
        let Ok(status) = fs::read_to_string(process.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let parent = field("PPid:").and_then(|id| id.parse().ok());
        if field("Name:") == Some("complete-job") && parent == Some(std::process::id()) {
            peaks.extend(field("VmHWM:").and_then(|peak| peak.strip_suffix(" kB")?.trim().parse::<usize>().ok()));
        }
    }
    peaks.into_iter().max().expect("a complete-job that has run")
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn defect_15_envelopes_of_any_size_and_number_take_under_64_mib() {
    let world = World::new().await;
    let envelope = Envelope::default();
    let (large, medium) = (content(200 * MIB), content(5 * MIB));
    let names: Vec<_> = (0..24).map(|number| number.to_string()).collect();
    let mut all: Vec<_> = names.iter().map(String::as_str).collect();
    all.push("large");
    let (job, answer) = world.finished(&all).await;
    put_envelope(&envelope, &answer, "large", &large).await;
    for name in &names {
        put_envelope(&envelope, &answer, name, &medium).await;
    }
    assert_eq!(job.complete().await.ok()["status"], json!("complete"));
    let peak = peak_of_complete_job();
    assert!(peak < 64 << 10, "{peak} KiB");
    assert!(job.download("large").await.bytes == large);
    assert!(job.download("23").await.bytes == medium);
}
