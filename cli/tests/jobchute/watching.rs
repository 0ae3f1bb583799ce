//! `watch` of many jobs.

use std::{
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    processes::until,
    proxy::{Seen, Way, all, first, through},
    run::{Variables, command, created, ended, jobchute, keys, printed, stack, worked},
};

fn is_list(request: &str) -> bool {
    request == "GET /jobs"
}

/// The paths of all requests that are no list.
fn others(seen: &Seen) -> Vec<String> {
    all(seen, |request| !is_list(request), |request| request.line().to_owned())
}

async fn filed(variables: &Variables) -> Result<String> {
    printed(variables, &["create", &variables["JOBCHUTE_CHUTE"], "run", "--label", "x y"]).await
}

#[tokio::test]
async fn jobs_of_a_label_are_watched_by_their_list_and_those_that_come_later_too() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    let mut jobs = vec![filed(&variables).await?, filed(&variables).await?];
    let mut slow = variables.clone();
    let seen = through(stack(), &mut slow, |_| Way::Pass).await?;
    let watch = command(&slow, &["watch", "--label", "x y"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    until("it does not look", || !all(&seen, is_list, |_| ()).is_empty()).await?;
    jobs.push(filed(&variables).await?);
    // The one without the label is the oldest.
    for script in ["true", "true", "true", "exit 1"] {
        worked(&variables, script).await?;
    }
    let ended = watch.wait_with_output().await?;
    let shown = String::from_utf8(ended.stdout)?;
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr)?.as_str()), (Some(13), ""), "{shown}");
    for (job, end) in jobs.iter().zip(["complete", "complete", "error"]) {
        let changes: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix(&format!("{job}  "))).collect();
        assert_eq!(changes.last(), Some(&end), "{shown}");
    }
    let ids: std::collections::BTreeSet<_> = shown.lines().map(|line| line.split(' ').next()).collect();
    assert_eq!(ids.len(), 3, "{shown}");
    assert_eq!(others(&seen), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn several_jobs_are_watched_to_the_worst_end() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let jobs = [created(&variables).await?, created(&variables).await?];
    let [first, second] = &jobs;
    worked(&variables, "true").await?;
    printed(&variables, &["cancel", second]).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let (unknown, chute) = ("7c1d0a52-0000-4000-8000-000000000002", variables["JOBCHUTE_CHUTE"].clone());
    for (arguments, code) in [
        (&["watch", first, second, first][..], 11),
        (&["watch", first, unknown], 3),
        (&["watch", "--chute", &chute], 11),
    ] {
        let ended = jobchute(&variables, &[arguments, &["--json"]].concat()).await?;
        let (shown, complaint) = (String::from_utf8(ended.stdout)?, String::from_utf8(ended.stderr)?);
        assert_eq!(ended.status.code(), Some(code), "{shown}{complaint}");
        let shown = shown.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let first = shown.iter().find(|job| job["job_id"] == first.as_str()).context("it is not shown")?;
        assert_eq!((&first["status"], &first["terminal"]), (&Value::from("complete"), &Value::from(true)));
        if arguments.contains(&unknown) {
            assert_eq!(serde_json::from_str::<Value>(&complaint)?["error"]["status"], 404);
        } else {
            assert_eq!((shown.len(), complaint.as_str()), (2, ""));
        }
    }
    // One list each, another one where all of a list was over at once, and the one job that is not in it.
    assert_eq!(all(&seen, is_list, |_| ()).len(), 4);
    assert_eq!(others(&seen), [format!("GET /jobs/{unknown}")]);
    Ok(())
}

#[tokio::test]
async fn a_job_that_the_list_shows_a_moment_late_is_watched() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    printed(&variables, &["cancel", &job]).await?;
    let is_late = first(1, is_list);
    through(stack(), &mut variables, move |request| match is_late(request) {
        Some(_) => Way::Answer(r#"{"jobs": [], "next_cursor": null}"#.to_owned()),
        None => Way::Pass,
    })
    .await?;
    let (code, told) = ended(&variables, &["watch", "--chute", &variables["JOBCHUTE_CHUTE"]]).await?;
    assert!(code == 11 && told.contains(&job), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_later_look_reads_no_further_than_a_page_saves_requests() -> Result<()> {
    const OLD: &str = "2020-01-01T00:00:00Z";
    let mut variables = keys(stack()).await?;
    variables.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    let job = |number: usize, status: &str| {
        let terminal = status != "pending";
        format!(
            r#"{{"job_id":"3f0a1f6e-0000-4000-8000-{number:012}","status":"{status}","terminal":{terminal},"created_at":"{OLD}"}}"#
        )
    };
    let page = |jobs: &[String], next: &str| format!(r#"{{"jobs":[{}],"next_cursor":{next}}}"#, jobs.join(","));
    let more = r#""1.0""#;
    // The first look reads all: three pages. The second one finds two of six, and one; then it asks for the others.
    let lists = [
        page(&[job(1, "pending"), job(2, "pending")], more),
        page(&[job(3, "pending"), job(4, "pending")], more),
        page(&[job(5, "pending"), job(6, "pending")], "null"),
        page(&[job(1, "complete"), job(2, "complete")], more),
        page(&[job(3, "complete")], more),
    ];
    let ends = [4, 5, 6].map(|number| job(number, "complete"));
    let (listed, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = through(stack(), &mut variables, move |request| {
        let (all, count): (&[String], _) = if is_list(request) { (&lists, &listed) } else { (&ends, &asked) };
        all.get(count.fetch_add(1, Ordering::Relaxed)).map_or(Way::Refuse(400), |answer| Way::Answer(answer.clone()))
    })
    .await?;
    let shown = printed(&variables, &["watch", "--label", "x"]).await?;
    assert_eq!((shown.matches("pending").count(), shown.matches("complete").count()), (6, 6), "{shown}");
    assert_eq!((all(&seen, is_list, |_| ()).len(), others(&seen).len()), (5, 3));
    Ok(())
}
