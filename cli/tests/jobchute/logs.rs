//! What a command prints, on its way to the job's owner.

use std::{fs::File, process::Stdio};

use anyhow::Result;
use serde_json::Value;

use crate::{
    processes::until,
    proxy::{Way, all, bodies, due, first, through},
    run::{Variables, command, created, end_of, ended, jobchute, keys, printed, stack, worked},
};

fn is_beat(request: &str) -> bool {
    request.ends_with("/heartbeat")
}

/// Of S3, for a chunk of a log.
fn is_chunk(request: &str) -> bool {
    request.contains("/logs/")
}

#[tokio::test]
async fn what_a_command_prints_is_its_owners_to_read_afterwards() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = "echo one; echo two >&2; printf '\\033[2J\\033[31mthree\\033[0m\\n'; exit 3";
    let (_, told) = worked(&variables, script).await?;
    assert!(told.contains("one\n") && told.contains("two\n"), "still shown here: {told}");
    let shown = printed(&variables, &["logs", &job]).await?;
    let mut lines: Vec<_> = shown.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"], "{shown:?}");
    let watched = jobchute(&variables, &["watch", &job, "--logs"]).await?;
    let watched = String::from_utf8(watched.stdout)?;
    assert!(watched.starts_with("error\n") && watched.contains("three\n"), "{watched}");
    let line: Value = serde_json::from_str(&printed(&variables, &["logs", &job, "--json"]).await?)?;
    assert_eq!((&line["attempt"], line["log"].as_str().map(str::len)), (&Value::from(1), Some(shown.len() + 1)));
    Ok(())
}

/// A job whose command has printed two lines, in a chunk each, and what its owner read while it ran.
async fn in_two_chunks() -> Result<(Variables, String, String)> {
    let mut slow = keys(stack()).await?;
    let variables = slow.clone();
    through(stack(), &mut slow, |request| match request {
        request if request.ends_with("/claim") || is_beat(request) => Way::Change(due),
        _ => Way::Pass,
    })
    .await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let script = format!("echo begun; until [ -e {} ]; do sleep 0.05; done; echo ended", go.display());
    let followed = async {
        while printed(&variables, &["logs", &job]).await? != "begun" {}
        std::fs::write(&go, "")?;
        printed(&variables, &["logs", &job, "--follow"]).await
    };
    let (followed, ended) = tokio::join!(followed, worked(&slow, &script));
    assert_eq!(ended?.0, 0);
    Ok((variables, job, followed?))
}

#[tokio::test]
async fn what_a_command_prints_is_followed_while_it_runs() -> Result<()> {
    let (_, _, followed) = in_two_chunks().await?;
    assert_eq!(followed, "begun\nended");
    Ok(())
}

#[tokio::test]
async fn a_chunk_whose_url_has_ended_while_others_were_read_is_asked_for_anew() -> Result<()> {
    let (mut variables, job, _) = in_two_chunks().await?;
    let (is_first_or_second, is_page) = (first(2, is_chunk), |request: &str| request.ends_with("/logs"));
    let seen = through(stack(), &mut variables, move |request| match is_first_or_second(request) {
        Some(1) => Way::Refuse(403),
        _ => Way::Pass,
    })
    .await?;
    assert_eq!(printed(&variables, &["logs", &job]).await?, "begun\nended");
    assert_eq!((all(&seen, is_chunk, |_| ()).len(), all(&seen, is_page, |_| ()).len()), (3, 3));
    Ok(())
}

#[tokio::test]
async fn a_chunk_that_is_refused_at_once_ends_the_reading() -> Result<()> {
    let (mut variables, job, _) = in_two_chunks().await?;
    let refuse = move |request: &str| if is_chunk(request) { Way::Refuse(403) } else { Way::Pass };
    let seen = through(stack(), &mut variables, refuse).await?;
    let (code, told) = ended(&variables, &["logs", &job]).await?;
    assert!(code == 1 && told.contains("what the job printed can't be fetched"), "{code}: {told}");
    assert_eq!(all(&seen, is_chunk, |_| ()).len(), 1);
    // Where nothing but the log is asked for, its end is no success without it.
    assert_eq!(ended(&variables, &["logs", &job, "--follow"]).await?.0, 1);
    Ok(())
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_told_also_without_a_line_break_at_its_end() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    assert_eq!(worked(&variables, "printf short").await?.0, 0);
    for more in [&[][..], &["--follow"]] {
        let full = File::options().write(true).open("/dev/full")?;
        let mut logs = command(&variables, &[&["logs", &job], more].concat());
        let (code, told) = end_of(logs.stdout(full).stderr(Stdio::piped()).spawn()?).await?;
        assert!(code == 1 && told.contains("No space left"), "{code}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_prints_nothing_costs_no_request_more() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    created(&variables).await?;
    assert_eq!(worked(&variables, "true").await?.0, 0);
    assert_eq!(bodies(&seen, is_beat).len(), 0);
    assert!(all(&seen, is_chunk, |_| ()).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_log_that_cannot_be_sent_costs_no_job() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let user = variables.clone();
    let seen = through(stack(), &mut variables, |request| if is_beat(request) { Way::Refuse(400) } else { Way::Pass });
    let seen = seen.await?;
    let (code, told) = worked(&variables, "echo one").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert!(told.contains("the end of what the command printed is not sent"), "{told}");
    until("no heartbeat", || bodies(&seen, is_beat).len() == 1).await?;
    assert_eq!(printed(&user, &["logs", &job]).await?, "");
    Ok(())
}
