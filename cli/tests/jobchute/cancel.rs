//! A job that its owner cancels, and has tried again.

use anyhow::Result;

use crate::{
    processes::until,
    proxy::{Way, all, due, through},
    run::{created, ended, keys, printed, stack, worked},
};

#[tokio::test]
async fn a_job_that_waits_is_cancelled() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    for _ in 0..2 {
        assert_eq!(printed(&variables, &["cancel", &job]).await?, "cancelled");
    }
    let (code, told) = ended(&variables, &["watch", &job]).await?;
    assert!(code == 11 && told.contains("Cancelled by its owner"), "{code}: {told}");
    // It is tried again, and then there is nothing to try.
    assert_eq!(printed(&variables, &["retry", &job]).await?, "pending");
    let (code, told) = ended(&variables, &["retry", &job]).await?;
    assert!(code == 1 && told.contains("409 Conflict"), "{code}: {told}");
    let unknown = "7c1d0a52-0000-4000-8000-000000000002";
    let (code, told) = ended(&variables, &["cancel", unknown]).await?;
    assert!(code == 3 && told.contains("404 Not Found"), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_command_whose_job_is_cancelled_is_asked_to_end_and_what_it_leaves_is_delivered() -> Result<()> {
    let variables = keys(stack()).await?;
    let mut miner = variables.clone();
    let job = created(&variables).await?;
    // Heartbeats come as fast as they can.
    let seen = through(stack(), &mut miner, |request| {
        if request.ends_with("/claim") || request.ends_with("/heartbeat") { Way::Change(due) } else { Way::Pass }
    })
    .await?;
    let script = r#"
        trap 'echo half >"$JOBCHUTE_OUTPUT/checkpoint"; exit 0' TERM
        echo started >"$JOBCHUTE_OUTPUT/log"
        while :; do sleep 0.05; done
    "#;
    let beats = || all(&seen, |request| request.ends_with("/heartbeat"), |_| ()).len();
    let cancel = async {
        until("no heartbeat comes", || beats() > 0).await?;
        printed(&variables, &["cancel", &job]).await
    };
    let (done, cancelled) = tokio::join!(worked(&miner, script), cancel);
    assert_eq!(cancelled?, "running, and its miner is told to stop");
    let (code, told) = done?;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains(&format!("{job}: cancelled by its owner; delivering what there is")), "{told}");
    assert!(told.contains(&format!("\n{job}: cancelled\n")), "{told}");
    let folder = tempfile::tempdir()?;
    let to = folder.path().display().to_string();
    printed(&variables, &["download", &job, "--to", &to]).await?;
    assert_eq!(std::fs::read_to_string(folder.path().join("checkpoint"))?, "half\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("log"))?, "started\n");
    Ok(())
}
