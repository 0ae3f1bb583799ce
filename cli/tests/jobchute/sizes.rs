//! Arguments and results of megabytes.

use std::{fs, process::Stdio};

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;

use crate::{
    proxy::{Way, all, through},
    run::{command, created, ended, keys, printed, stack, worked},
};

/// JSON of so many bytes, full of what has to be escaped inside of a string.
fn quotes(bytes: usize) -> String {
    let (begin, end) = (r#"{"seed":18446744073709551616,"words":["#, "]}");
    let left = bytes - begin.len() - end.len() - 2;
    format!("{begin}{}\"{}\"{end}", r#""","#.repeat(left / 3), "x".repeat(left % 3))
}

fn is_create(request: &str) -> bool {
    request.starts_with("POST /jobs/") && request.ends_with("/run")
}

#[tokio::test]
async fn arguments_come_from_a_file_or_a_pipe_and_large_ones_are_compressed() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("arguments.json");
    for (bytes, encoding) in [(1_000, None), (LARGE, Some("gzip"))] {
        let arguments = quotes(bytes);
        fs::write(&file, &arguments)?;
        let from_file = printed(&variables, &["create", &chute, "run", &format!("@{}", file.display())]).await?;
        let mut create = command(&variables, &["create", &chute, "run", "@-"]);
        let mut create = create.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        create.stdin.take().context("a pipe")?.write_all(arguments.as_bytes()).await?;
        let from_pipe = String::from_utf8(create.wait_with_output().await?.stdout)?.trim().to_owned();

        // What the API took is what was written, and a miner's command gets it so, by both ways.
        for job in [&from_file, &from_pipe] {
            let script = format!(
                r#"cat >"$JOBCHUTE_OUTPUT/input"; cmp "$JOBCHUTE_OUTPUT/input" "$JOBCHUTE_ARGUMENTS"
                cp "$JOBCHUTE_ARGUMENTS" {0}.got; cp "$JOBCHUTE_ARGUMENTS" "$JOBCHUTE_RESULT""#,
                file.display()
            );
            let (code, told) = worked(&variables, &script).await?;
            assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
            let got = fs::read_to_string(file.with_extension("json.got"))?;
            let expected = arguments.strip_suffix('}').context("an object")?.to_owned() + r#","_disk_gb":10}"#;
            assert!(got == expected, "{} bytes", got.len());
            let shown = printed(&variables, &["watch", job]).await?;
            assert!(shown.lines().last() == Some(&expected), "{} bytes", shown.len());
        }
        let encodings = all(&seen, is_create, |request| request.header("content-encoding").map(str::to_owned));
        assert_eq!(encodings.last().cloned().flatten().as_deref(), encoding);
    }
    let sent = all(&seen, is_create, |request| request.body.len());
    assert!(sent.last().is_some_and(|sent| *sent < LARGE / 10), "{sent:?}");
    Ok(())
}

#[tokio::test]
async fn a_signature_is_of_the_body_that_is_sent() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let hotkey = printed(&variables, &["hotkey"]).await?;
    let field =
        |name: &str| hotkey.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let user = stack().invoke("admin", serde_json::json!({"command": "create_user"})).await?;
    let register =
        serde_json::json!({"command": "register_hotkey", "user_id": user["user_id"], "hotkey": field("address")});
    stack().invoke("admin", register).await?;
    variables.remove("JOBCHUTE_KEY");
    variables.insert("JOBCHUTE_HOTKEY".to_owned(), field("seed").context("a seed")?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("arguments.json");
    fs::write(&file, quotes(LARGE))?;
    let job =
        printed(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run", &format!("@{}", file.display())]).await?;
    assert!(printed(&variables, &["list"]).await?.starts_with(&job));
    Ok(())
}

#[tokio::test]
async fn arguments_that_cannot_be_sent_are_told_before_anything_is_sent() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("large"), quotes((4 << 20) + 1))?;
    fs::write(path("latin-1"), b"{\"a\":\"\xe9\"}")?;
    for (name, why) in [
        ("large", " is larger than 4 MiB, as much as a job's arguments may be\n"),
        ("latin-1", " is not UTF-8"),
        ("missing", " can't be opened: No such file or directory"),
        ("", " can't be read: Is a directory"),
    ] {
        let file = path(name);
        let (code, told) =
            ended(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run", &format!("@{file}")]).await?;
        assert!(code == 1 && told.starts_with(&format!("jobchute: {file}{why}")), "{code}: {told}");
    }
    assert!(all(&seen, |_| true, |_| ()).is_empty());
    Ok(())
}

#[tokio::test]
async fn what_is_too_long_for_an_answer_is_fetched_from_the_store_without_the_callers_keys() -> Result<()> {
    let mut variables = keys(stack()).await?;
    const ARGUMENTS: &str = r#"{"seed":18446744073709551616,"deep":[[[1e2]]]}"#;
    const RESULT: &str = r#"{"loss" : 0.10}"#;
    let seen = through(stack(), &mut variables, |request| {
        if request.ends_with("/stored/arguments") {
            Way::Answer(ARGUMENTS.to_owned())
        } else if request.ends_with("/stored/result") {
            Way::Answer(RESULT.to_owned())
        } else if request.ends_with("/claim") {
            Way::Change(|answer, here| {
                answer.replacen(
                    r#""job_data":{"_disk_gb":10}"#,
                    &format!(r#""job_data":null,"job_data_url":"{here}/stored/arguments""#),
                    1,
                )
            })
        } else {
            Way::Change(|answer, here| {
                answer.replacen(
                    r#""result":{"short":1}"#,
                    &format!(r#""result":null,"result_url":"{here}/stored/result""#),
                    1,
                )
            })
        }
    })
    .await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let got = folder.path().join("got");
    let script = format!(r#"cp "$JOBCHUTE_ARGUMENTS" {}; echo '{{"short":1}}' >"$JOBCHUTE_RESULT""#, got.display());
    let (code, told) = worked(&variables, &script).await?;
    assert_eq!(code, 0, "{told}");
    assert_eq!(fs::read_to_string(got)?, ARGUMENTS);
    assert_eq!(printed(&variables, &["watch", &job]).await?, format!("complete\n{RESULT}"));
    let fetched =
        all(&seen, |request| request.contains("/stored/"), |request| request.header("authorization").is_none());
    assert_eq!(fetched, [true, true]);
    Ok(())
}

#[tokio::test]
async fn a_job_whose_arguments_are_out_of_reach_goes_back() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |request| {
        if request.ends_with("/stored/arguments") {
            Way::Refuse(403)
        } else if request.ends_with("/claim") {
            Way::Change(|answer, here| {
                answer.replacen('{', &format!(r#"{{"job_data_url":"{here}/stored/arguments","#), 1)
            })
        } else {
            Way::Pass
        }
    })
    .await?;
    let job = created(&variables).await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 1 && told.contains("the job's arguments can't be had") && told.contains("403"), "{code}: {told}");
    assert!(told.contains(&format!("{job}: given back")), "{told}");
    assert!(all(&seen, |request| request == format!("POST /jobs/{job}"), |_| ()).is_empty(), "nothing is reported");
    Ok(())
}

/// Bytes of arguments that are large.
const LARGE: usize = (4 << 20) - 100;
