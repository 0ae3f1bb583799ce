//! What a miner is started in.

use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use crate::run::{Variables, created, end_of, keys, stack};

/// `work --once` with a script, started by another program.
async fn worked_below(variables: &Variables, program: &[&str], script: &str) -> Result<(i32, String)> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args([env!("CARGO_BIN_EXE_jobchute"), "work", "--once", "--chute"]);
    command.args([&variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", script]).envs(variables).stdin(Stdio::null());
    end_of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?).await
}

#[tokio::test]
async fn a_miner_whose_parent_ignores_the_ends_of_its_children_knows_how_its_own_end() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let perl = ["perl", "-e", r#"$SIG{CHLD} = "IGNORE"; exec @ARGV"#];
    let (code, told) = worked_below(&variables, &perl, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}
