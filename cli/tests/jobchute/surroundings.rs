//! What a miner is started in.

use std::{fs, os::unix::fs::chown, path::Path, process::Stdio};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use tokio::process::Command;

use crate::{
    processes::{signal, until},
    proxy::{Way, all, through},
    run::{Variables, created, end_of, keys, printed, stack, told},
};

/// `work --once` with a script, started by another program.
async fn worked_below(variables: &Variables, program: &[&str], script: &str) -> Result<(i32, String)> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args([env!("CARGO_BIN_EXE_jobchute"), "work", "--once", "--chute"]);
    command.args([&variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", script]).envs(variables).stdin(Stdio::null());
    end_of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?).await
}

/// What begins a command line of a user who may be refused a process: nothing, unless this one is root, whom nothing is refused.
fn as_somebody(id: &'static str, folder: &str) -> Result<Vec<&'static str>> {
    if !geteuid().is_root() {
        return Ok(Vec::new());
    }
    chown(folder, Some(id.parse()?), None)?;
    Ok(vec!["setpriv", "--reuid", id, "--regid", id, "--clear-groups"])
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

#[tokio::test]
async fn a_miner_that_gets_no_more_threads_delivers_its_job() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let mut below = as_somebody("65531", &variables["TMPDIR"])?;
    below.push("env");
    let script =
        r#"prlimit --pid $(awk '/^PPid/ {print $2}' /proc/$PPID/status) --nproc=1:1; echo >"$JOBCHUTE_OUTPUT/a""#;
    let (code, told) = worked_below(&variables, &below, script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_gets_no_process_is_another_miners_to_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (input, end) = (folder.path().join("input"), folder.path().join("end"));
    std::fs::write(&input, "")?;
    // For want of its supervisor's threads, and with those.
    for most in ["--nproc=1:1", "--nproc=3:3"] {
        let mut line = as_somebody("65530", folder.path().to_str().unwrap_or_default())?;
        line.extend(["prlimit", most, env!("CARGO_BIN_EXE_jobchute"), "supervise"]);
        let mut supervisor = Command::new(line[0]);
        supervisor.args(&line[1..]).args([&input, &end, Path::new("true")]).stdin(Stdio::null());
        let (_, told) = told(supervisor.output().await?)?;
        let written = std::fs::read_to_string(&end).unwrap_or_default();
        assert!(written.starts_with(r#"{"not_now":"#), "{most}: {written}: {told}");
        std::fs::remove_file(&end)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_reads_the_miners_terminal_is_refused_and_not_stopped() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let work = r#""$MINER" work --once --chute "$JOBCHUTE_CHUTE" -- sh -c "exec 3</dev/tty; ! read line <&3""#;
    let mut terminal = Command::new("script");
    terminal.args(["-qec", work, "/dev/null"]).envs(&variables).stdin(Stdio::null());
    terminal.env("MINER", env!("CARGO_BIN_EXE_jobchute")).env("SHELL", "/bin/sh").kill_on_drop(true);
    let (code, told) = end_of(terminal.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?).await?;
    assert!(code == 0 && told.contains(&format!("{job}: complete")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn what_a_command_leaves_to_its_supervisor_is_no_zombie_while_it_runs() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let script = r#"
        cd "$JOBCHUTE_OUTPUT"
        (sh -c 'echo $$ >pid.new; mv pid.new pid' &)
        until [ -e pid ]; do sleep 0.01; done
        while [ -e /proc/$(cat pid) ]; do sleep 0.01; done
    "#;
    let (code, told) = worked_below(&variables, &["env"], script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

/// What begins the command line of a program in a PID namespace of its own.
fn in_a_namespace() -> Vec<&'static str> {
    let mut namespace = vec!["unshare"];
    if !geteuid().is_root() {
        namespace.extend(["--user", "--map-root-user"]);
    }
    namespace.extend(["--pid", "--fork", "--kill-child"]);
    namespace
}

/// A script that runs the miner in a PID namespace of its own. None where this user gets none.
async fn worked_in_a_namespace(variables: &Variables, options: &[&str], script: &str) -> Result<Option<(i32, String)>> {
    let mut namespace = in_a_namespace();
    namespace.extend(options);
    let (code, told) = worked_below(variables, &namespace, script).await?;
    if told.starts_with("unshare: ") {
        println!("this system gives this user no PID namespace: {told}");
        return Ok(None);
    }
    Ok(Some((code, told)))
}

#[tokio::test]
async fn a_command_that_is_a_containers_first_process_ends_at_a_signal() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let [program, options @ ..] = &in_a_namespace()[..] else { unreachable!("it has a program") };
    if !Command::new(program).args(options).arg("true").status().await?.success() {
        println!("this system gives this user no PID namespace");
        return Ok(());
    }
    for arguments in [["watch", &job, "--json"], ["logs", &job, "--follow"]] {
        let looks = || all(&seen, |_| true, |_| ()).len();
        let before = looks();
        let mut command = Command::new(program);
        command.args(options).arg(env!("CARGO_BIN_EXE_jobchute")).args(arguments).envs(&variables);
        let watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        until("it does not look", || looks() > before).await?;
        let parent = watch.id().context("it runs")?;
        let first = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        signal(first.trim().parse()?, "TERM")?;
        assert_eq!(end_of(watch).await?.0, 143, "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_miner_works_where_the_leader_of_its_session_is_not_seen() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let ran = folder.path().join("ran");
    // The miner is not the namespace's first process.
    let shell = ["--mount-proc", "sh", "-c", r#"sleep 600 >&- 2>&- & "$0" "$@"; exit $?"#];
    let script = format!("(setsid sleep 600; sleep 600) & sleep 600 & touch {}", ran.display());
    let Some((code, told)) = worked_in_a_namespace(&variables, &shell, &script).await? else { return Ok(()) };
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(ran.metadata().map(drop)?)
}

#[tokio::test]
async fn a_miner_that_sees_the_processes_of_another_namespace_claims_nothing() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    let Some((code, told)) = worked_in_a_namespace(&variables, &[], "true").await? else { return Ok(()) };
    assert!(code == 1 && told.contains("/proc is of another PID namespace"), "{code}: {told}");
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn a_commands_own_user_comes_to_its_folder_whatever_the_miners_umask_is() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let shell = ["sh", "-c", r#"umask 077; exec "$0" "$@""#];
    let script = r#"test "$(stat -c %a "$JOBCHUTE_OUTPUT/../..")" = 711"#;
    let (code, told) = worked_below(&variables, &shell, script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn who_tidies_temporary_files_by_their_age_sees_that_a_jobs_folder_is_in_use() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // As systemd-tmpfiles looks.
    let script = r#"! flock -n "$JOBCHUTE_OUTPUT/../.." true"#;
    let (code, told) = worked_below(&variables, &["env"], script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}
