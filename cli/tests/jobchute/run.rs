//! Running the command.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Context, Result};
use local::Stack;
use tokio::{
    process::{Child, Command},
    runtime::Builder,
    time::timeout,
};

use crate::processes::PATIENCE;

/// What the command finds in its environment.
pub(crate) type Variables = BTreeMap<String, String>;

/// A stack that tests share: each makes a user, a miner and a chute of its own. Runs on a thread of its own, since every test has a
/// runtime that ends with it.
pub(crate) fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(async {
                send.send(Stack::start().await).expect("a test waits");
                std::future::pending::<()>().await;
            });
        });
        receive.recv().expect("an answer").expect("the stack starts")
    })
}

/// A folder of this run of the tests; what the former one has left in it is gone.
fn temporary() -> &'static Path {
    static TEMPORARY: OnceLock<PathBuf> = OnceLock::new();
    TEMPORARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("miners");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

/// The command, to be started.
pub(crate) fn command(variables: &Variables, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobchute"));
    command.args(arguments).envs(variables).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn jobchute(variables: &Variables, arguments: &[&str]) -> Result<Output> {
    let output = timeout(PATIENCE * 2, command(variables, arguments).output());
    Ok(output.await.with_context(|| format!("{arguments:?} does not end"))??)
}

/// What it prints when it succeeds.
pub(crate) async fn printed(variables: &Variables, arguments: &[&str]) -> Result<String> {
    let output = jobchute(variables, arguments).await?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Its exit code and all that it prints.
pub(crate) async fn ended(variables: &Variables, arguments: &[&str]) -> Result<(i32, String)> {
    told(jobchute(variables, arguments).await?)
}

/// The exit code, and all that was printed.
pub(crate) fn told(output: Output) -> Result<(i32, String)> {
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.code().context("killed")?, String::from_utf8(printed)?))
}

/// The variables that `jobchute keys` exports for a stack.
pub(crate) async fn keys(stack: &Stack) -> Result<Variables> {
    // Where its miner leaves what it leaves.
    let temporary = temporary().join(uuid::Uuid::new_v4().to_string());
    std::fs::create_dir(&temporary)?;
    let temporary = temporary.to_str().context("a path")?;
    let known = [("JOBCHUTE_URL", stack.url()), ("JOBCHUTE_AWS", stack.aws_url()), ("TMPDIR", temporary)];
    let mut variables: Variables = known.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for line in printed(&variables, &["keys"]).await?.lines() {
        let (name, value) = line.strip_prefix("export ").and_then(|line| line.split_once('=')).context("a variable")?;
        variables.insert(name.to_owned(), value.split(' ').next().unwrap_or_default().to_owned());
    }
    Ok(variables)
}

/// A job that waits for a miner.
pub(crate) async fn created(variables: &Variables) -> Result<String> {
    printed(variables, &["create", &variables["JOBCHUTE_CHUTE"], "run"]).await
}

/// `work --once` with a script.
pub(crate) async fn worked(variables: &Variables, script: &str) -> Result<(i32, String)> {
    ended(variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--once", "--", "sh", "-c", script]).await
}

/// `work` with a script, while it runs.
pub(crate) fn working(variables: &Variables, script: &str) -> Result<Child> {
    let arguments = ["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", script];
    let mut command = command(variables, &arguments);
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// How a process ends.
pub(crate) async fn end_of(child: Child) -> Result<(i32, String)> {
    told(timeout(PATIENCE * 2, child.wait_with_output()).await.context("it does not end")??)
}

/// The folder that a miner says it has kept.
pub(crate) fn kept(told: &str) -> Result<&str> {
    told.lines()
        .find_map(|line| line.strip_prefix("bring them home: jobchute work --resume "))
        .context("nothing is kept")
}
