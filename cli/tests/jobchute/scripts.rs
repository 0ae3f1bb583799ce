//! What scripts read: JSON, and exit codes.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    proxy::{Way, through},
    run::{Variables, created, ended, jobchute, keys, printed, stack},
};

/// The objects of a command's lines.
async fn lines(variables: &Variables, arguments: &[&str]) -> Result<Vec<Value>> {
    let shown = printed(variables, arguments).await?;
    shown.lines().map(|line| serde_json::from_str(line).with_context(|| shown.clone())).collect()
}

/// The one document of a command.
async fn document(variables: &Variables, arguments: &[&str]) -> Result<Value> {
    let mut lines = lines(variables, arguments).await?;
    assert_eq!(lines.len(), 1, "{arguments:?}: {lines:?}");
    Ok(lines.remove(0))
}

/// The exit code of a command that fails, and its error.
async fn error(variables: &Variables, arguments: &[&str]) -> Result<(i32, Value)> {
    let failed = jobchute(variables, arguments).await?;
    assert!(failed.stdout.is_empty(), "{}", String::from_utf8_lossy(&failed.stdout));
    let object: Value =
        serde_json::from_slice(&failed.stderr).with_context(|| String::from_utf8_lossy(&failed.stderr).into_owned())?;
    let code = failed.status.code().context("killed")?;
    assert_eq!(object["error"]["exit_code"], code);
    Ok((code, object["error"].clone()))
}

#[tokio::test]
async fn each_command_speaks_json_and_nothing_else() -> Result<()> {
    let variables = keys(stack()).await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let made = document(&variables, &["keys", "--json"]).await?;
    assert!(made["JOBCHUTE_KEY"].as_str().context("a key")?.starts_with("cpk_"), "{made}");
    assert_eq!(document(&variables, &["hotkey", "--json"]).await?["seed"].as_str().map(str::len), Some(64));

    let job = document(&variables, &["create", chute, "run", "--label", "a", "--json"]).await?;
    assert_eq!((&job["status"], &job["labels"][0]), (&Value::from("pending"), &Value::from("a")));
    let job = job["job_id"].as_str().context("an id")?;
    let listed = document(&variables, &["list", "--json"]).await?;
    assert_eq!((&listed["jobs"][0]["job_id"], listed["jobs"].as_array().map(Vec::len)), (&Value::from(job), Some(1)));
    assert_eq!(document(&variables, &["usage", "--json"]).await?["chutes"][chute]["used"], 1);
    assert_eq!(document(&variables, &["cancel", job, "--json"]).await?["status"], "cancelled");
    assert_eq!(document(&variables, &["retry", job, "--json"]).await?["status"], "pending");

    let script =
        r#"echo noise; echo 1 >"$JOBCHUTE_OUTPUT/a b"; printf '{\n "n": 18446744073709551616}\n' >"$JOBCHUTE_RESULT""#;
    let events = lines(&variables, &["work", "--json", "--chute", chute, "--once", "--", "sh", "-c", script]).await?;
    let names: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["looking", "claimed", "ended"], "{events:?}");
    assert_eq!((&events[2]["job_id"], &events[2]["status"]), (&Value::from(job), &Value::from("complete")));
    let watched = printed(&variables, &["watch", job, "--json"]).await?;
    assert!(watched.lines().count() == 1 && watched.contains(r#""n": 18446744073709551616}"#), "{watched}");
    assert_eq!(serde_json::from_str::<Value>(&watched)?["terminal"], true);

    let folder = tempfile::tempdir()?;
    let download = ["download", job, "--to", folder.path().to_str().context("a path")?, "--json"];
    for was_there in [false, true] {
        let file = document(&variables, &download).await?["files"][0].take();
        assert_eq!((&file["path"], &file["was_there"]), (&Value::from("a b"), &Value::from(was_there)));
    }
    assert_eq!(document(&variables, &["delete", job, "--json"]).await?["deleted"], true);
    Ok(())
}

#[tokio::test]
async fn a_script_is_told_what_was_wrong() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let unknown = "7c1d0a52-0000-4000-8000-000000000002";
    let (code, gone) = error(&variables, &["watch", unknown, "--json"]).await?;
    assert_eq!((code, &gone["status"]), (3, &Value::from(404)));
    assert!(gone["detail"].as_str().context("words")?.starts_with("Job "), "{gone}");
    let wrong = ["create", &variables["JOBCHUTE_CHUTE"], "run", r#"{"_disk_gb": 1}"#, "--json"];
    assert_eq!(error(&variables, &wrong).await?.1["status"], 400);
    let label = ["create", &variables["JOBCHUTE_CHUTE"], "run", "--label", "\u{7}", "--json"];
    let (code, invalid) = error(&variables, &label).await?;
    assert_eq!((code, &invalid["detail"][0]["loc"][1]), (1, &Value::from("label")), "{invalid}");
    let (code, _) = error(&variables, &["work", "--resume", "/nowhere", "--json"]).await?;
    assert_eq!(code, 1);
    let (code, none) = error(&variables, &["watch", "--label", "nobody's", "--json"]).await?;
    assert_eq!((code, &none["status"]), (3, &Value::Null));

    let good = variables.insert("JOBCHUTE_KEY".to_owned(), "cpk_1".to_owned()).context("a key")?;
    assert_eq!(error(&variables, &["list", "--json"]).await?.0, 4);
    variables.insert("JOBCHUTE_KEY".to_owned(), good);
    variables.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    variables.insert("JOBCHUTE_URL".to_owned(), "http://127.0.0.1:1".to_owned());
    let (code, lost) = error(&variables, &["list", "--json"]).await?;
    assert!(code == 6 && lost["message"].as_str().context("words")?.contains("/jobs"), "{code}: {lost}");
    Ok(())
}

#[tokio::test]
async fn each_end_of_a_job_has_an_exit_code() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    for (status, expected) in
        [("complete", 0), ("partial_failure", 10), ("cancelled", 11), ("timeout", 12), ("error", 13), ("new", 1)]
    {
        let mut variables = variables.clone();
        let answer = format!(r#"{{"job_id":"{job}","status":"{status}","terminal":true,"error_detail":"why"}}"#);
        through(stack(), &mut variables, move |_| Way::Answer(answer.clone())).await?;
        let (code, told) = ended(&variables, &["watch", &job]).await?;
        assert_eq!((code, told), (expected, format!("{status}\nwhy\n")));
    }
    Ok(())
}
