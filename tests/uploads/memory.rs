//! How much memory functions take: it depends neither on a file's size nor on how many there are.

use std::{fs, time::Duration};

use serde_json::json;
use tests::{Envelope, Night, World};

use crate::{MIB, content, put_envelope};

/// KiB that a function may take. The code of a debug build, as tests run it, takes 12 MiB more than a release build's.
const LIMIT: usize = (32 + 12) << 10;

/// The most memory that any process of this function has had so far, in KiB. Those of other tests of this process count.
fn peak_of(function: &str) -> usize {
    let mut peaks = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        // A process may end while it is looked at.
        let Ok(status) = fs::read_to_string(process.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let parent = field("PPid:").and_then(|id| id.parse().ok());
        if field("Name:") == Some(function) && parent == Some(std::process::id()) {
            peaks.extend(field("VmHWM:").and_then(|peak| peak.strip_suffix(" kB")?.trim().parse::<usize>().ok()));
        }
    }
    peaks.into_iter().max().expect("a process that has run")
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
    let peak = peak_of("complete-job");
    assert!(peak < 64 << 10, "{peak} KiB");
    assert!(job.download("large").await.bytes == large);
    assert!(job.download("23").await.bytes == medium);
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn the_reaper_checks_the_files_of_lost_miners_in_under_64_mib() {
    let night = Night::begin().await;
    let (miner, envelope, content) = (night.miner().await, Envelope::default(), content(5 * MIB));
    let mut jobs = Vec::new();
    for _ in 0..10 {
        let (job_id, _, answer) = night.finished(&miner, &["a", "b", "c"]).await;
        for name in ["a", "b", "c"] {
            put_envelope(&envelope, &answer, name, &content).await;
        }
        jobs.push(job_id);
    }
    night.stack.clock().advance(Duration::from_secs(3 * 3600));
    night.reap().await;
    let peak = peak_of("reap-jobs");
    assert!(peak < 64 << 10, "{peak} KiB");
    for job_id in jobs {
        assert_eq!(night.get(&job_id).await["status"], "complete");
    }
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn a_report_of_a_thousand_files_takes_under_32_mib() {
    let world = World::new().await;
    let names: Vec<_> = (0..1000).map(|number| format!("frames/{number:04}.png")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for _ in 0..3 {
        world.finished(&names).await;
    }
    let peak = peak_of("finish-job");
    assert!(peak < LIMIT, "{peak} KiB");
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
async fn the_largest_form_takes_under_32_mib() {
    let world = World::new().await;
    let (job, _) = world.finished(&["a"]).await;
    for _ in 0..3 {
        job.upload("a", &content(4 * MIB)).await.ok();
    }
    let peak = peak_of("upload-job-file");
    assert!(peak < LIMIT, "{peak} KiB");
}
