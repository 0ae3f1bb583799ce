//! A create whose answer does not come: it makes no second job, and says whether there may be one.

use std::{
    fs::{self, File},
    process::Stdio,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    processes::{signal, until},
    proxy::{Seen, Way, all, first, through},
    run::{Variables, command, end_of, ended, jobchute, keys, printed, stack, worked},
};

fn is_create(request: &str) -> bool {
    request.starts_with("POST /jobs/")
}

/// The variables of a new user for whom time goes fast, and who reaches the API through a proxy.
async fn begin(way: impl Fn(&str) -> Way + Send + Sync + 'static) -> Result<(Variables, Variables, Seen)> {
    let mut direct = keys(stack()).await?;
    direct.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    let mut variables = direct.clone();
    let seen = through(stack(), &mut variables, way).await?;
    Ok((direct, variables, seen))
}

/// The keys that creates were sent with.
fn keys_of(seen: &Seen) -> Vec<String> {
    let mut keys = all(seen, is_create, |request| request.header("idempotency-key").unwrap_or_default().to_owned());
    keys.dedup();
    keys
}

/// The error of a command for scripts.
async fn error(variables: &Variables, arguments: &[&str]) -> Result<Value> {
    let failed = jobchute(variables, &[arguments, &["--json"]].concat()).await?;
    let mut object: Value =
        serde_json::from_slice(&failed.stderr).with_context(|| String::from_utf8_lossy(&failed.stderr).into_owned())?;
    assert_eq!(failed.status.code().map(Value::from), Some(object["error"]["exit_code"].clone()));
    Ok(object["error"].take())
}

#[tokio::test]
async fn a_job_whose_answers_are_all_lost_is_had_by_its_key_without_a_second_one() -> Result<()> {
    for more in [&[][..], &["--wait"]] {
        let (direct, variables, seen) =
            begin(|request| if is_create(request) { Way::Cut(0.0) } else { Way::Pass }).await?;
        let create = [&["create", &variables["JOBCHUTE_CHUTE"], "run", r#"{"a":1}"#, "--label", "x"], more].concat();
        let lost = error(&variables, &create).await?;
        let [key] = &keys_of(&seen)[..] else { panic!("one key") };
        assert_eq!((&lost["exit_code"], &lost["idempotency_key"]), (&Value::from(6), &Value::from(key.as_str())));
        let message = lost["message"].as_str().context("words")?;
        let said = format!(
            "the job may have been created: `jobchute list` tells, and the same command with --idempotency-key={key} creates"
        );
        assert!(message.starts_with(&said), "{message}");

        let key = format!("--idempotency-key={key}");
        let job = printed(&direct, &[&create[..6], &[&key]].concat()).await?;
        let list = printed(&direct, &["list"]).await?;
        assert!(list.starts_with(&job) && list.lines().count() == 1, "{list}");
        assert!(printed(&direct, &["usage"]).await?.contains("  1 of 100"));
        let other = error(&direct, &["create", &variables["JOBCHUTE_CHUTE"], "run", r#"{"a":2}"#, &key]).await?;
        assert_eq!((&other["status"], &other["idempotency_key"]), (&Value::from(422), &Value::Null));
    }
    Ok(())
}

#[tokio::test]
async fn who_knows_no_answer_is_told_the_key_and_who_knows_that_there_is_no_job_is_not() -> Result<()> {
    for (firsts, rest, code, may_exist) in [
        (Way::Refuse(503), Way::Refuse(503), 6, true),
        (Way::Refuse(503), Way::Refuse(401), 4, true),
        (Way::Refuse(503), Way::Refuse(429), 5, true),
        (Way::Refuse(503), Way::Refuse(404), 3, false),
        (Way::Refuse(429), Way::Refuse(429), 5, false),
        (Way::Answer("<html>".to_owned()), Way::Answer("<html>".to_owned()), 1, true),
        (Way::Answer("{}".to_owned()), Way::Answer("{}".to_owned()), 1, true),
    ] {
        let is_first = first(1, is_create);
        let (_, variables, seen) = begin(move |request| match is_first(request) {
            Some(_) => firsts.clone(),
            None => rest.clone(),
        })
        .await?;
        let failed = error(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run"]).await?;
        assert_eq!(failed["exit_code"], code, "{failed}");
        let [key] = &keys_of(&seen)[..] else { panic!("one key") };
        let told = if may_exist { Value::from(key.as_str()) } else { Value::Null };
        assert_eq!(failed["idempotency_key"], told, "{failed}");
    }
    let (mut direct, ..) = begin(|_| Way::Pass).await?;
    direct.insert("JOBCHUTE_URL".to_owned(), "http://127.0.0.1:1".to_owned());
    let unsent = error(&direct, &["create", &direct["JOBCHUTE_CHUTE"], "run"]).await?;
    let message = unsent["message"].as_str().context("words")?;
    assert!(message.starts_with("this command has created no job: POST ") && unsent["exit_code"] == 6, "{unsent}");
    assert_eq!(unsent["idempotency_key"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn who_is_stopped_before_the_answer_is_told_the_key() -> Result<()> {
    for more in [&[][..], &["--wait"], &["--wait", "--timeout", "5s"]] {
        let (_, mut variables, seen) =
            begin(|request| if is_create(request) { Way::Busy(30) } else { Way::Pass }).await?;
        variables.insert("JOBCHUTE_SPEED".to_owned(), "10".to_owned());
        let arguments = [&["create", &variables["JOBCHUTE_CHUTE"], "run", "--json"], more].concat();
        let mut create = command(&variables, &arguments);
        let create = create.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let code = if more.len() > 1 { 124 } else { 130 };
        if code == 130 {
            until("it does not create", || !keys_of(&seen).is_empty()).await?;
            signal(create.id().context("a process")?, "INT")?;
        }
        let (ended, told) = end_of(create).await?;
        assert_eq!(ended, code, "{told}");
        let told: Value = serde_json::from_str(&told)?;
        assert_eq!(told["error"]["idempotency_key"], keys_of(&seen)[0], "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_create_with_inputs_is_the_same_request_while_its_files_are_the_same() -> Result<()> {
    let (direct, ..) = begin(|_| Way::Pass).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("data");
    fs::write(&file, "hello")?;
    let input = format!("d={}", file.display());
    let key = "--idempotency-key=a \"key\", mine";
    let create = ["create", &direct["JOBCHUTE_CHUTE"], "run", r#"{"a":"@d"}"#, "--input", &input, key];
    let job = printed(&direct, &create).await?;
    assert_eq!(printed(&direct, &create).await?, job);
    fs::write(&file, "other")?;
    let (code, told) = ended(&direct, &create).await?;
    assert!(code == 1 && told.contains("422") && told.contains("was used with a different request"), "{code}: {told}");
    assert_eq!(printed(&direct, &["list"]).await?.lines().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_job_whose_id_cannot_be_written_is_told_of() -> Result<()> {
    let (direct, ..) = begin(|_| Way::Pass).await?;
    let mut create = command(&direct, &["create", &direct["JOBCHUTE_CHUTE"], "run"]);
    let full = File::options().write(true).open("/dev/full")?;
    let ended = create.stdout(full).stderr(Stdio::piped()).spawn()?.wait_with_output().await?;
    let told = String::from_utf8(ended.stderr)?;
    let list = printed(&direct, &["list"]).await?;
    let job = list.split(' ').next().unwrap_or_default();
    assert!(told.starts_with(&format!("jobchute: job {job} goes on, and ")), "{told}");
    assert_eq!(ended.status.code(), Some(1));
    // Nor is what a job has made lost with it.
    for more in [&["--json"][..], &[]] {
        let variables = keys(stack()).await?;
        let create = [&["create", &variables["JOBCHUTE_CHUTE"], "run", "--wait"], more].concat();
        let full = File::options().write(true).open("/dev/full")?;
        let create = command(&variables, &create).stdout(full).stderr(Stdio::piped()).spawn()?;
        let (code, told) = worked(&variables, r#"echo 1 >"$JOBCHUTE_RESULT""#).await?;
        assert_eq!(code, 0, "{told}");
        let (code, told) = end_of(create).await?;
        let list = printed(&variables, &["list"]).await?;
        let job = list.split(' ').next().unwrap_or_default();
        assert!(code == 1 && told.contains(&format!("job {job} is over, and ")), "{code}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_failure_of_what_was_done() -> Result<()> {
    let (direct, ..) = begin(|_| Way::Pass).await?;
    let job = printed(&direct, &["create", &direct["JOBCHUTE_CHUTE"], "run"]).await?;
    for (command, shown) in [("cancel", "cancelled\n"), ("retry", "pending\n"), ("delete", "")] {
        let mut variables = direct.clone();
        let is_lost = first(1, |_| true);
        let way = move |request: &str| if is_lost(request).is_some() { Way::Cut(0.0) } else { Way::Pass };
        through(stack(), &mut variables, way).await?;
        assert_eq!(ended(&variables, &[command, &job]).await?, (0, shown.to_owned()));
    }
    // What cannot be retried is refused, whichever answers are lost.
    let job = printed(&direct, &["create", &direct["JOBCHUTE_CHUTE"], "run"]).await?;
    assert_eq!(worked(&direct, "true").await?.0, 0);
    let (mut variables, is_lost) = (direct.clone(), first(1, |_| true));
    let way = move |request: &str| if is_lost(request).is_some() { Way::Cut(0.0) } else { Way::Pass };
    through(stack(), &mut variables, way).await?;
    let (code, told) = ended(&variables, &["retry", &job]).await?;
    assert!(code == 1 && told.contains("409 Conflict"), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn no_answer_leads_a_request_elsewhere_or_makes_another_one_of_it() -> Result<()> {
    let (direct, elsewhere, seen) = begin(|_| Way::Pass).await?;
    for (status, arguments) in [(301, &["create", &direct["JOBCHUTE_CHUTE"], "run"][..]), (307, &["list"])] {
        let (mut variables, there) = (direct.clone(), format!("{}/jobs", elsewhere["JOBCHUTE_URL"]));
        // What follows may be a token.
        let answer = format!("{there}?token=secret");
        through(stack(), &mut variables, move |_| Way::Move(status, answer.clone())).await?;
        let (code, told) = ended(&variables, arguments).await?;
        let said = format!("JOBCHUTE_URL is not where the API is, which answers: {there}: {status} ");
        assert!(code == 1 && told.contains(&said), "{code}: {told}");
    }
    assert!(all(&seen, |_| true, |_| ()).is_empty());
    Ok(())
}
