//! What a command prints, on its way to the job's owner.

use anyhow::Result;
use serde_json::Value;

use crate::{
    processes::until,
    proxy::{Way, all, bodies, due, through},
    run::{created, jobchute, keys, printed, stack, worked},
};

fn is_beat(request: &str) -> bool {
    request.ends_with("/heartbeat")
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

#[tokio::test]
async fn what_a_command_prints_is_followed_while_it_runs() -> Result<()> {
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
    assert_eq!((followed?.as_str(), ended?.0), ("begun\nended", 0));
    Ok(())
}

#[tokio::test]
async fn a_command_that_prints_nothing_costs_no_request_more() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    created(&variables).await?;
    assert_eq!(worked(&variables, "true").await?.0, 0);
    assert_eq!(bodies(&seen, is_beat).len(), 0);
    assert!(all(&seen, |request| request.starts_with("PUT /outputs"), |_| ()).is_empty());
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
