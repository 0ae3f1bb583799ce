//! What a command leaves, on its way to the job's owner.

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use local::{EngineCall, Fault, Stack};

use crate::{
    processes::{PATIENCE, signal, until},
    proxy::{Way, all, bodies, due, first, through},
    run::{command, created, ended, keys, printed, stack, worked, working},
};

/// The files of a job as its owner gets them, and what `watch` tells of it.
async fn delivered(
    variables: &crate::run::Variables,
    job: &str,
) -> Result<(std::collections::BTreeMap<String, String>, String)> {
    let folder = tempfile::tempdir()?;
    printed(variables, &["download", job, "--to", folder.path().to_str().context("a path")?]).await?;
    let mut files = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder.path())? {
        let entry = entry?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?);
    }
    Ok((files, ended(variables, &["watch", job]).await?.1))
}

#[tokio::test]
async fn files_do_not_depend_on_the_result() -> Result<()> {
    let variables = keys(stack()).await?;
    for (result, why) in [
        ("echo done", "JOBCHUTE_RESULT is no JSON"),
        ("printf '1,\"status\":\"complete\"'", "JOBCHUTE_RESULT is no JSON"),
        ("printf '\"\\377\"'", "JOBCHUTE_RESULT is not UTF-8"),
        ("echo 1e999", "JOBCHUTE_RESULT was refused: 422 Unprocessable Entity"),
        ("truncate -s 2G /dev/stdout", "JOBCHUTE_RESULT can't be read: larger than"),
    ] {
        let job = created(&variables).await?;
        let script = format!(r#"echo precious >"$JOBCHUTE_OUTPUT/a"; ({result}) >"$JOBCHUTE_RESULT""#);
        let (code, told) = worked(&variables, &script).await?;
        assert!(code == 1 && told.ends_with(&format!("{job}: error\n")), "{result}: {code}: {told}");
        let left = told.lines().rev().nth(1).unwrap_or_default().to_owned();
        let (files, told) = delivered(&variables, &job).await?;
        assert_eq!(files["a"], "precious\n");
        let left = left.strip_prefix("what its owner does not get is kept in ").context(told.clone())?;
        assert!(Path::new(left).join("result.json").exists());
        assert!(told.starts_with("error\n") && told.contains(why), "{result}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn of_more_than_a_job_may_have_the_smaller_files_and_the_result_are_delivered() -> Result<()> {
    let stack = Stack::builder().parameter("MaxJobBytes", "100").start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let script = r#"
        cd "$JOBCHUTE_OUTPUT"
        head -c 60 /dev/zero >large; head -c 101 /dev/zero >larger; echo fits >small; head -c 50 /dev/zero >middle
        echo 42 >"$JOBCHUTE_RESULT"
    "#;
    let (code, worked) = worked(&variables, script).await?;
    assert!(code == 0 && worked.contains("what its owner does not get is kept in "), "{code}: {worked}");
    let (files, told) = delivered(&variables, &job).await?;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["middle", "small"]);
    // One refusal is enough to know how much has to stand back.
    let line = |name: &str| {
        format!(
            "not delivered: {name}: 413 Payload Too Large: The declared files have 216 bytes together, and a job may have 100"
        )
    };
    assert!(told.contains(&line("larger")) && told.contains(&line("large")), "{told}");
    assert!(told.starts_with("complete\n") && told.contains("\n42\n"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_result_that_the_api_takes_is_passed_on() -> Result<()> {
    let variables = keys(stack()).await?;
    for (result, expected) in [
        (r#"printf '{"loss": NaN, "n": [-Infinity]}'"#, Some(r#"{"loss": null, "n": [null]}"#)),
        (r#"printf '"half \\udce9"'"#, Some(r#""half \ufffd""#)),
        (r#"printf '\357\273\277{"a": 1}\r\n'"#, Some(r#"{"a": 1}"#)),
        ("true", None),
        ("echo", None),
        ("echo null", None),
    ] {
        let job = created(&variables).await?;
        let (code, told) = worked(&variables, &format!(r#"({result}) >"$JOBCHUTE_RESULT""#)).await?;
        assert_eq!(code, 0, "{result}: {told}");
        let shown = printed(&variables, &["watch", &job]).await?;
        assert_eq!(shown.strip_prefix("complete").map(str::trim), Some(expected.unwrap_or_default()), "{result}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_file_is_named_and_withholds_nothing() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = r#"
        cd "$JOBCHUTE_OUTPUT"; mkdir sub
        echo content >sub/file; ln -s sub/file link; ln -s "$PWD/sub/file" absolute
        mkfifo fifo; ln -s nowhere dangling; ln -s sub folder; ln -s /dev/zero endless; ln -s /etc/passwd passwd
        ln -s ../../private/assignment.json token; ln -s /proc/self/environ environ
        echo x >'back\slash'; printf x >"$(printf 'control\001')"; printf x >"$(printf 'bytes\377')"
        mkfifo "$JOBCHUTE_RESULT"; mkfifo "$JOBCHUTE_PROGRESS"
    "#;
    let (code, told) = worked(&variables, script).await?;
    assert!(code == 1 && told.ends_with(&format!("{job}: error\n")), "{code}: {told}");
    let folder = tempfile::tempdir()?;
    let to = folder.path();
    printed(&variables, &["download", &job, "--to", to.to_str().context("a path")?]).await?;
    let mut names: Vec<_> = fs::read_dir(to)?.map(|entry| entry.map(|it| it.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    assert_eq!(names, ["absolute", "link", "sub"]);
    assert_eq!(fs::read_to_string(to.join("absolute"))?, "content\n");
    let (_, told) = ended(&variables, &["watch", &job]).await?;
    let not_text = "must not contain control characters or backslashes";
    for line in [
        "JOBCHUTE_RESULT can't be read: a named pipe",
        "not delivered: fifo: a named pipe",
        "not delivered: dangling: a link to nothing",
        "not delivered: folder: a link to a folder",
        "not delivered: endless: a link out of the folder",
        "not delivered: passwd: a link out of the folder",
        "not delivered: token: a link out of the folder",
        "not delivered: environ: a link out of the folder",
        "not delivered: bytes\u{fffd}: its name is not UTF-8",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    let refused: Vec<_> = told.lines().filter(|line| line.contains(not_text)).collect();
    assert_eq!(refused.len(), 2, "{told}");
    Ok(())
}

/// The API's answer names all hundred of them, and is long enough to come in gzip.
#[tokio::test]
async fn a_hundred_files_that_are_refused_do_not_keep_the_others() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = r#"cd "$JOBCHUTE_OUTPUT"; echo content >file; for i in $(seq 100); do echo x >"back\\slash$i"; done"#;
    let (code, told) = worked(&variables, script).await?;
    assert_eq!(code, 0, "{told}");
    let folder = tempfile::tempdir()?;
    printed(&variables, &["download", &job, "--to", folder.path().to_str().context("a path")?]).await?;
    assert_eq!(fs::read_to_string(folder.path().join("file"))?, "content\n");
    let (_, told) = ended(&variables, &["watch", &job]).await?;
    assert!(told.contains("must not contain control characters or backslashes"), "{told}");
    Ok(())
}

#[tokio::test]
async fn what_is_left_out_does_not_change_the_status() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script =
        r#"cd "$JOBCHUTE_OUTPUT"; echo 1 >a; ln -s / root; echo '{"ok": 1}' >b; ln -s "$PWD/b" "$JOBCHUTE_RESULT""#;
    let (code, told) = worked(&variables, script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    let shown = printed(&variables, &["watch", &job]).await?;
    assert_eq!(shown, "complete\nnot delivered: root: a link out of the folder\n{\"ok\": 1}");
    Ok(())
}

#[tokio::test]
async fn an_output_folder_that_is_gone_or_another_one_delivers_nothing_else() -> Result<()> {
    let variables = keys(stack()).await?;
    for replace in ["", "; ln -s /etc \"$JOBCHUTE_OUTPUT\""] {
        let job = created(&variables).await?;
        let (code, told) = worked(&variables, &format!("rm -r \"$JOBCHUTE_OUTPUT\"{replace}")).await?;
        assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
        let shown = printed(&variables, &["watch", &job]).await?;
        assert!(shown.starts_with("complete\nnot delivered: JOBCHUTE_OUTPUT: "), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn work_goes_on_when_nobody_reads() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = r#"echo precious >"$JOBCHUTE_OUTPUT/a"; echo out; echo err >&2"#;
    let arguments = ["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--once", "--", "sh", "-c", script];
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let ended =
        command(&variables, &arguments).stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null()).status();
    assert_eq!(ended.await?.code(), Some(0));
    assert_eq!(delivered(&variables, &job).await?.0["a"], "precious\n");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_away_holds_up_neither_jobs_nor_signals() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = r#"head -c 2000000 /dev/zero | tr '\0' x; head -c 2000000 /dev/zero | tr '\0' y >&2; echo 1 >"$JOBCHUTE_RESULT""#;
    // Nobody reads its pipes before it has ended.
    let mut worker = working(&variables, script)?;
    assert_eq!(ended(&variables, &["watch", &job]).await?.0, 0);
    signal(worker.id().context("it runs")?, "TERM")?;
    let ended = tokio::time::timeout(PATIENCE, worker.wait()).await.context("it does not end")?;
    assert_eq!(ended?.code(), Some(143));
    Ok(())
}

#[tokio::test]
async fn a_reader_that_reads_gets_all_that_is_printed_and_the_last_words() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let (code, told) = worked(&variables, "seq 300000; seq 300000 >&2").await?;
    assert_eq!(code, 0);
    let numbers: Vec<_> = (1..=300_000).map(|number| format!("{number}\n")).collect();
    let numbers = numbers.concat();
    assert!(told.ends_with(&format!("{job}: complete\n{numbers}")), "its error output");
    assert!(told.contains(&format!("claimed {job}\n{numbers}")), "its output");
    Ok(())
}

#[tokio::test]
async fn a_file_that_fails_does_not_keep_the_others() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let mut slow = variables.clone();
    let is_a = |request: &str| request.ends_with("/outputs/a");
    let seen = through(stack(), &mut slow, move |request| if is_a(request) { Way::Refuse(403) } else { Way::Pass });
    let seen = seen.await?;
    let (code, told) = worked(&slow, r#"cd "$JOBCHUTE_OUTPUT"; echo 1 >a; echo 2 >b; echo 3 >c"#).await?;
    assert!(code == 1 && told.contains(&format!("{job}: partial_failure")), "{code}: {told}");
    assert_eq!(all(&seen, is_a, |_| ()).len(), 5, "{told}");
    // The API takes no more of a job that is over: there is no bringing home, and nobody is told so again.
    let line = told.lines().find_map(|line| line.strip_prefix("what its owner does not get is kept in "));
    assert_eq!(fs::read_to_string(Path::new(line.context("nothing is kept")?).join("output/a"))?, "1\n");
    assert!(!told.contains("--resume"), "{told}");
    created(&variables).await?;
    let (_, told) = worked(&variables, "true").await?;
    assert!(!told.contains("a former process"), "{told}");

    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
    assert_eq!(code, 1);
    assert!(told.contains("a is missing: not uploaded\n") && told.contains("b\n") && told.contains("c\n"), "{told}");
    Ok(())
}

#[tokio::test]
async fn files_outlast_an_s3_that_is_busy_for_minutes() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let fails = first(20, |operation| operation == "PutObject");
    stack.set_faults(move |call: &EngineCall| match fails(&call.operation) {
        Some(_) if call.function.is_none() => Fault::FailBefore(503),
        _ => Fault::None,
    });
    variables.insert("JOBCHUTE_SPEED".to_owned(), "100".to_owned());
    let (code, told) = worked(&variables, r#"cd "$JOBCHUTE_OUTPUT"; echo 1 >a; echo 2 >b; echo 3 >c"#).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn files_outlast_a_line_that_is_down_for_longer_than_a_lease() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let is_beat = |request: &str| request.ends_with("/heartbeat");
    // From the first file on, until sixty heartbeats have not come through.
    let (begun, lost) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = through(stack(), &mut variables, move |request| {
        begun.fetch_or(request.contains("/outputs/"), Ordering::Relaxed);
        let is_down = begun.load(Ordering::Relaxed) && lost.fetch_add(is_beat(request).into(), Ordering::Relaxed) < 60;
        match is_down {
            true => Way::Refuse(503),
            false if request.ends_with("/claim") => Way::Change(due),
            false => Way::Pass,
        }
    })
    .await?;
    // The lease that a heartbeat gives is half a second.
    variables.insert("JOBCHUTE_SPEED".to_owned(), "200".to_owned());
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let script = format!(r#"until [ -e {} ]; do sleep 0.05; done; echo 1 >"$JOBCHUTE_OUTPUT/a""#, go.display());
    let beaten = async {
        until("no heartbeat comes", || !bodies(&seen, is_beat).is_empty()).await?;
        anyhow::Ok(fs::write(&go, "")?)
    };
    let (done, beaten) = tokio::join!(worked(&variables, &script), beaten);
    beaten?;
    let (code, told) = done?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert!(told.contains("/heartbeat: 503"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_for_an_hour_is_done_without() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let job = created(&variables).await?;
    stack.set_faults(|call: &EngineCall| match call.function {
        None if call.operation == "PutObject" => Fault::FailBefore(503),
        _ => Fault::None,
    });
    variables.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    let (code, told) = worked(&variables, r#"cd "$JOBCHUTE_OUTPUT"; echo 1 >a; echo 2 >b; echo 3 >c"#).await?;
    assert!(code == 1 && told.contains(&format!("{job}: partial_failure")), "{code}: {told}");
    // Not each by itself.
    assert!(told.contains("3 files are given up\n"), "{told}");
    Ok(())
}

#[tokio::test]
async fn an_upload_may_fail_often_while_it_proceeds() -> Result<()> {
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "5242880").start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let tries = AtomicUsize::new(0);
    stack.set_faults(move |call| match call.operation.as_str() {
        "UploadPart" if tries.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Fault::FailBefore(503),
        _ => Fault::None,
    });
    // Six parts: more failures than one part may have.
    let (code, told) = worked(&variables, r#"head -c 100000000 /dev/zero >"$JOBCHUTE_OUTPUT/zeros""#).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_and_tells_no_token() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let finish = format!("POST /jobs/{job}");
    let cut = first(7, move |request| request == finish);
    through(stack(), &mut variables, move |request| cut(request).map_or(Way::Pass, |_| Way::Cut(0.9))).await?;
    let (code, told) = worked(&variables, r#"echo 1 >"$JOBCHUTE_OUTPUT/a""#).await?;
    assert!(code == 0 && told.contains(&format!("/jobs/{job}: ")), "{code}: {told}");
    assert!(!told.contains("token"), "{told}");
    Ok(())
}
