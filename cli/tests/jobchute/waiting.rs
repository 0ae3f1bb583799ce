//! `create --wait`.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Child;

use crate::{
    processes::{signal, until},
    proxy::{Way, all, through},
    run::{Variables, command, ended, jobchute, keys, printed, stack, worked},
};

fn waiting(variables: &Variables, more: &[&str]) -> Result<Child> {
    let arguments = [&["create", &variables["JOBCHUTE_CHUTE"], "run", "--wait"], more].concat();
    Ok(command(variables, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn is_look(request: &str) -> bool {
    request.starts_with("GET /jobs/")
}

#[tokio::test]
async fn a_create_that_waits_prints_the_result_and_ends_as_the_job_does() -> Result<()> {
    let variables = keys(stack()).await?;
    let result = r#"{"seed":18446744073709551616, "z":1.10}"#;
    let succeeds = format!(r#"echo '{result}' >"$JOBCHUTE_RESULT""#);
    for (script, code, shown, complaint) in [
        (succeeds.as_str(), 0, format!("{result}\n"), ""),
        ("echo no >&2; exit 3", 13, String::new(), "exit status: 3\nno\n"),
    ] {
        let create = ["create", &variables["JOBCHUTE_CHUTE"], "run", "--wait"];
        let (done, miner) = tokio::join!(jobchute(&variables, &create), worked(&variables, script));
        let (done, (_, miner)) = (done?, miner?);
        let claimed = miner.lines().find_map(|line| line.strip_prefix("claimed ")).context("no job")?;
        assert_eq!(done.status.code(), Some(code));
        assert_eq!(String::from_utf8(done.stdout)?, shown);
        assert_eq!(String::from_utf8(done.stderr)?, format!("created {claimed}\n{complaint}"));
    }
    let create = ["create", &variables["JOBCHUTE_CHUTE"], "run", "--wait", "--json"];
    let (done, _) = tokio::join!(printed(&variables, &create), worked(&variables, &succeeds));
    let done = done?;
    assert!(done.contains(&format!(r#""result":{result}"#)) && done.lines().count() == 1, "{done}");
    assert_eq!(serde_json::from_str::<Value>(&done)?["status"], "complete");
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_the_waiting_and_says_which_job_goes_on() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let looks = || all(&seen, is_look, |_| ()).len();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let before = looks();
        let create = waiting(&variables, &["--json"])?;
        until("it does not look", || looks() > before).await?;
        signal(create.id().context("a process")?, name)?;
        let ended = create.wait_with_output().await?;
        assert!(ended.stdout.is_empty());
        let error: Value = serde_json::from_slice(&ended.stderr)?;
        let job = error["error"]["job_id"].as_str().context("no id")?;
        let message = error["error"]["message"].as_str().context("words")?;
        assert!(message.contains(&format!("job {job} goes on, and `jobchute watch {job}` follows it")), "{message}");
        assert_eq!((ended.status.code(), &error["error"]["exit_code"]), (Some(code), &Value::from(code)));
        assert_eq!(printed(&variables, &["cancel", job]).await?, "cancelled");
    }
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_the_waiting_for_arguments() -> Result<()> {
    let variables = keys(stack()).await?;
    let arguments = ["create", &variables["JOBCHUTE_CHUTE"], "run", "@-", "--wait"];
    let mut create = command(&variables, &arguments);
    let mut create = create.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pipe = create.stdin.take();
    let pid = create.id().context("a process")?;
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        mask.is_some_and(|mask| mask & 2 != 0)
    };
    until("it does not take signals", caught).await?;
    signal(pid, "INT")?;
    let (code, told) = crate::run::end_of(create).await?;
    assert_eq!((code, told.as_str()), (130, "jobchute: this command has created no job: stopped by a signal\n"));
    assert_eq!(printed(&variables, &["list"]).await?, "");
    drop(pipe);
    Ok(())
}

#[tokio::test]
async fn who_waits_in_vain_is_told_which_job_goes_on() -> Result<()> {
    let mut variables = keys(stack()).await?;
    variables.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    let create = ["create", &variables["JOBCHUTE_CHUTE"].clone(), "run", "--wait", "--timeout", "100m"];
    let (code, told) = ended(&variables, &create).await?;
    assert!(code == 124 && told.contains(" goes on, and `jobchute watch "), "{code}: {told}");
    let job = told.lines().next().and_then(|line| line.strip_prefix("created ")).context("no id")?;
    let (code, told) = ended(&variables, &["watch", job, "--timeout", "100m"]).await?;
    assert!(code == 124 && told.starts_with("pending\n"), "{code}: {told}");

    through(stack(), &mut variables, |request| if is_look(request) { Way::Refuse(500) } else { Way::Pass }).await?;
    let (code, told) = ended(&variables, &create[..4]).await?;
    assert!(
        code == 6 && told.contains(" goes on, and ") && told.contains("500 Internal Server Error"),
        "{code}: {told}"
    );
    through(stack(), &mut variables, |request| if is_look(request) { Way::Refuse(404) } else { Way::Pass }).await?;
    let (code, told) = ended(&variables, &create[..4]).await?;
    assert!(code == 3 && !told.contains(" goes on, and "), "{code}: {told}");
    Ok(())
}
