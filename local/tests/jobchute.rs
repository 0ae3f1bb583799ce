//! The command `jobchute`, as a user and as a miner, against the local stack.

use std::{collections::BTreeMap, path::Path, process::Output};

use anyhow::{Context, Result};
use local::Stack;
use tokio::process::Command;

/// Runs the command with these variables.
async fn jobchute(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobchute"));
    Ok(command.args(arguments).envs(variables).kill_on_drop(true).output().await?)
}

/// What it prints when it succeeds.
async fn printed(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Result<String> {
    let output = jobchute(variables, arguments).await?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The variables that `jobchute keys` exports for this stack.
async fn keys(stack: &Stack) -> Result<BTreeMap<String, String>> {
    let addresses = [("JOBCHUTE_URL", stack.url()), ("JOBCHUTE_AWS", stack.aws_url())];
    let mut variables: BTreeMap<_, _> =
        addresses.into_iter().map(|(name, address)| (name.to_owned(), address.to_owned())).collect();
    for line in printed(&variables, &["keys"]).await?.lines() {
        let (name, value) = line.strip_prefix("export ").and_then(|line| line.split_once('=')).context("a variable")?;
        variables.insert(name.to_owned(), value.split(' ').next().unwrap_or_default().to_owned());
    }
    Ok(variables)
}

#[tokio::test]
async fn a_job_goes_from_create_to_download_by_hand() -> Result<()> {
    // So that the large file goes in two parts.
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "5242880").start().await?;
    let variables = keys(&stack).await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let job = printed(&variables, &["create", chute, "run", r#"{"scene":"teapot"}"#]).await?;
    assert!(printed(&variables, &["list"]).await?.contains(&job));

    let script = r#"
        mkdir -p "$JOBCHUTE_OUTPUT/sub dir"
        cat >"$JOBCHUTE_OUTPUT/sub dir/arguments.json"
        cmp "$JOBCHUTE_OUTPUT/sub dir/arguments.json" "$JOBCHUTE_ARGUMENTS"
        head -c 20000000 /dev/zero >"$JOBCHUTE_OUTPUT/zeros.bin"
        : >"$JOBCHUTE_OUTPUT/empty"
        echo 0.5 >"$JOBCHUTE_PROGRESS"
        echo '{"frames": 42}' >"$JOBCHUTE_RESULT"
        test -z "$JOBCHUTE_KEY$JOBCHUTE_MINER_KEY"
    "#;
    let worked = printed(&variables, &["work", "--chute", chute, "--once", "--", "sh", "-ec", script]).await?;
    assert!(worked.ends_with(&format!("{job}: complete")), "{worked}");
    let watched = printed(&variables, &["watch", &job]).await?;
    assert!(watched.starts_with("complete\n") && watched.contains("\"frames\": 42"), "{watched}");

    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    printed(&variables, &["download", &job, "--to", to]).await?;
    let content = |name: &str| std::fs::read(Path::new(to).join(name));
    assert_eq!(content("zeros.bin")?, vec![0; 20_000_000]);
    assert_eq!(content("empty")?, b"");
    let arguments: serde_json::Value = serde_json::from_slice(&content("sub dir/arguments.json")?)?;
    assert_eq!(arguments["scene"], "teapot");
    assert!(!Path::new(to).join("zeros.bin.part").exists());

    printed(&variables, &["delete", &job]).await?;
    assert_eq!(printed(&variables, &["list"]).await?, "");
    let gone = jobchute(&variables, &["watch", &job]).await?;
    let complaint = String::from_utf8(gone.stderr)?;
    assert!(!gone.status.success() && complaint.contains("404 Not Found: Job"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_is_an_error_with_its_last_words() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let job = printed(&variables, &["create", chute, "run"]).await?;
    let work = ["work", "--chute", chute, "--once", "--", "sh", "-c", "echo out of memory >&2; exit 3"];
    printed(&variables, &work).await?;
    let watched = jobchute(&variables, &["watch", &job]).await?;
    assert_eq!(watched.status.code(), Some(1));
    let shown = String::from_utf8(watched.stdout)?;
    assert!(shown.contains("error\nexit status: 3\nout of memory"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_miner_signs_with_its_hotkey() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let printed_hotkey = printed(&variables, &["hotkey"]).await?;
    let field = |name: &str| {
        let line = printed_hotkey.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned()).context("a hotkey")
    };
    let miner = stack.invoke("admin", serde_json::json!({"command": "create_user", "roles": ["miner"]})).await?;
    let register =
        serde_json::json!({"command": "register_hotkey", "user_id": miner["user_id"], "hotkey": field("address")?});
    stack.invoke("admin", register).await?;
    variables.remove("JOBCHUTE_MINER_KEY");
    variables.insert("JOBCHUTE_MINER_HOTKEY".to_owned(), field("seed")?);

    let job = printed(&variables, &["create", &chute, "run"]).await?;
    let worked = printed(&variables, &["work", "--chute", &chute, "--once", "--", "true"]).await?;
    assert!(worked.ends_with(&format!("{job}: complete")), "{worked}");
    Ok(())
}
