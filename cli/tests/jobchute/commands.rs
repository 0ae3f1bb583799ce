//! The command that a job runs.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result};

use crate::{
    processes::{appears, ends, session_ends, signal, starts, until},
    proxy::{Way, bodies, due, first, through},
    run::{created, end_of, ended, jobchute, keys, printed, stack, worked, working},
};

#[tokio::test]
async fn a_command_that_fails_is_an_error_with_its_last_words() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let (code, told) = worked(&variables, "echo out of memory >&2; exit 3").await?;
    assert!(code == 1 && told.contains("out of memory"), "{code}: {told}");
    let watched = jobchute(&variables, &["watch", &job]).await?;
    assert_eq!(watched.status.code(), Some(13));
    let shown = String::from_utf8(watched.stdout)?;
    assert!(shown.contains("error\nexit status: 3\nout of memory"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_mistyped_program_claims_nothing() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    for program in ["pyhton", "./pyhton", "/tmp"] {
        let (code, told) = ended(&variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", program]).await?;
        assert!(code == 1 && told.contains(&format!("can't run {program}")), "{code}: {told}");
    }
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn a_program_that_does_not_start_fails_no_job_and_ends_the_miner() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let first = created(&variables).await?;
    created(&variables).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("no-interpreter");
    std::fs::write(&program, "#!/nowhere\n")?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let program = program.to_str().context("a path")?;
    let (code, told) = ended(&variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", program]).await?;
    assert!(code == 1 && told.contains(&format!("jobs can't be run here: can't run {program}")), "{code}: {told}");
    assert!(told.contains(&format!("{first}: given back")) && !told.contains("--resume"), "{told}");
    assert_eq!(bodies(&seen, |request| request.ends_with("/claim")).len(), 1);
    assert_eq!(printed(&variables, &["list"]).await?.matches("pending").count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_deleted_job_ends_its_command_and_all_that_it_started() -> Result<()> {
    let mut variables = keys(stack()).await?;
    through(stack(), &mut variables, |request| if request.ends_with("/claim") { Way::Change(due) } else { Way::Pass })
        .await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = starts("sleep 600", &pid);
    let delete = async {
        appears(&pid).await?;
        printed(&variables, &["delete", &job]).await
    };
    let (ended, deleted) = tokio::join!(worked(&variables, &script), delete);
    deleted?;
    let (code, told) = ended?;
    assert!(code == 1 && told.contains("given up") && !told.contains("kept in"), "{code}: {told}");
    ends(&pid).await
}

#[tokio::test]
async fn the_next_job_does_not_begin_beside_a_command_that_has_stopped_its_supervisor() -> Result<()> {
    let mut variables = keys(stack()).await?;
    through(stack(), &mut variables, |request| if request.ends_with("/claim") { Way::Change(due) } else { Way::Pass })
        .await?;
    let (first, second) = (created(&variables).await?, created(&variables).await?);
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = format!(
        r#"if [ -e {0} ]; then kill -0 $(cat {0}) && echo beside >"$JOBCHUTE_RESULT"; exit 0; fi; kill -STOP $PPID; {1}"#,
        pid.display(),
        starts("setsid sleep 600", &pid)
    );
    let worker = working(&variables, &script)?;
    appears(&pid).await?;
    printed(&variables, &["delete", &first]).await?;
    let (code, told) = ended(&variables, &["watch", &second]).await?;
    assert!(code == 0 && told.ends_with("complete\n"), "{code}: {told}");
    signal(worker.id().context("it runs")?, "TERM")?;
    end_of(worker).await?;
    ends(&pid).await
}

#[tokio::test]
// The chain ends by itself, should nobody end it: an endless one takes the machine down (it has).
async fn processes_that_start_one_another_and_end_do_not_outrun_the_miner() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = r#"setsid sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec perl -e "1 while \$n++ < 9999 && !fork"' "#
        .to_owned();
    let script = script
        + &format!(
            "{0} 2>&- &
        until [ -e {0} ]; do sleep 0.01; done; while readlink /proc/$(cat {0})/exe; do :; done",
            pid.display()
        );
    let (code, told) = worked(&variables, &script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    session_ends(&pid).await
}

#[tokio::test]
async fn a_miner_takes_no_more_jobs_beside_what_it_cannot_end() -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};

    if !rustix::process::geteuid().is_root() {
        println!("only root can make a process that another user's miner can't end");
        return Ok(());
    }
    let variables = keys(stack()).await?;
    let (first, second) = (created(&variables).await?, created(&variables).await?);
    let (nobody, folder) = ("65534", tempfile::tempdir()?);
    for path in [Path::new(&variables["TMPDIR"]), folder.path()] {
        chown(path, Some(nobody.parse()?), None)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    let becomes_root = folder.path().join("setpriv");
    std::fs::copy("/usr/bin/setpriv", &becomes_root)?;
    std::fs::set_permissions(&becomes_root, std::fs::Permissions::from_mode(0o4755))?;
    let pid = folder.path().join("pid");
    let start = format!("{} --reuid 0 setsid sleep 600 >&- 2>&-", becomes_root.display());
    let is_root = format!("grep -qE '^Uid:\\s+0\\s+0' /proc/$(cat {})/status", pid.display());
    let script = starts(&start, &pid).replace("; wait", &format!("; until {is_root}; do sleep 0.05; done"));
    let mut miner = tokio::process::Command::new("setpriv");
    miner.args(["--reuid", nobody, "--regid", nobody, "--clear-groups", env!("CARGO_BIN_EXE_jobchute"), "work"]);
    miner.args(["--chute", &variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", &script]).envs(&variables);
    let miner = miner.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (code, told) = end_of(miner).await?;
    let id = std::fs::read_to_string(&pid).with_context(|| told.clone())?;
    let why = format!("no more jobs can be run here: what {first} has started can't be ended: {id}");
    assert!(code == 1 && told.contains(&format!("{first}: complete\n")) && told.contains(&why), "{code}: {told}");
    assert!(!told.contains(&second), "{told}");
    signal(id.trim().parse()?, "KILL")
}

#[tokio::test]
async fn what_runs_beside_a_miner_from_the_beginning_is_let_alone() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // It is a child of the miner's process, which was a shell.
    let mut shell = tokio::process::Command::new("sh");
    let script = r#"sleep 600 >&- 2>&- & echo $!; exec "$0" work --once --chute "$1" -- true"#;
    shell.args(["-c", script, env!("CARGO_BIN_EXE_jobchute"), &variables["JOBCHUTE_CHUTE"]]).envs(&variables);
    let (code, told) = crate::run::told(shell.output().await?)?;
    assert!(code == 0 && told.contains(&format!("{job}: complete\n")), "{code}: {told}");
    // There is something to end.
    signal(told.lines().next().context("an id")?.parse()?, "KILL")
}

#[tokio::test]
async fn what_a_command_complains_is_passed_on_and_its_end_is_reported() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // Also when a child of it lives on.
    let script = "sleep 600 & (echo begin; head -c 20000 /dev/zero | tr '\\0' x; echo end) >&2; exit 1";
    let (_, told) = worked(&variables, script).await?;
    assert!(told.contains("begin\nx") && told.contains("xend\n"), "{told}");
    let (_, told) = ended(&variables, &["watch", &job]).await?;
    let xs = told.chars().filter(|char| *char == 'x').count();
    assert!(told.ends_with("xend\n") && !told.contains("begin") && (8000..8200).contains(&xs), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_that_fails_is_not_a_lost_job() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let is_beat = |request: &str| request.ends_with("/heartbeat");
    let fails = first(2, is_beat);
    let seen = through(stack(), &mut variables, move |request| match fails(request) {
        Some(0) => Way::Refuse(429),
        Some(_) => Way::Refuse(400),
        None if request.ends_with("/claim") => Way::Change(due),
        None => Way::Pass,
    })
    .await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    // What was refused is sent again after five seconds.
    variables.insert("JOBCHUTE_SPEED".to_owned(), "10".to_owned());
    let third = async {
        until("no heartbeat comes after those", || bodies(&seen, is_beat).len() == 3).await?;
        anyhow::Ok(std::fs::write(&go, "")?)
    };
    let (done, third) = tokio::join!(worked(&variables, &script), third);
    third?;
    let (code, told) = done?;
    assert!(code == 0 && told.contains("400 Bad Request: not now"), "{code}: {told}");
    assert!(told.ends_with(&format!("{job}: complete\n")), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_commands_end_is_its_end_whatever_it_has_started() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    // It holds both of the command's outputs open.
    let script = format!("setsid sleep 600 & echo $! >{}; echo done >&2", pid.display());
    let (code, told) = worked(&variables, &script).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\ndone\n")), "{code}: {told}");
    ends(&pid).await
}

#[tokio::test]
async fn a_command_cannot_read_the_miners_keys() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // Of its parent, and of that one's.
    let script = r#"
        miner=$(awk '/^PPid:/{print $2}' /proc/$PPID/status)
        for pid in self $PPID $miner; do tr '\0' '\n' </proc/$pid/environ; tr '\0' '\n' </proc/$pid/cmdline; done >"$JOBCHUTE_OUTPUT/seen"
        grep -q "^jobchute$" "$JOBCHUTE_OUTPUT/seen"
    "#;
    let (code, told) = worked(&variables, script).await?;
    assert_eq!(code, 0, "{told}");
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    printed(&variables, &["download", &job, "--to", to]).await?;
    let seen = std::fs::read_to_string(Path::new(to).join("seen"))?;
    assert!(seen.contains("JOBCHUTE_JOB_ID="), "{seen}");
    for name in ["JOBCHUTE_KEY", "JOBCHUTE_MINER_KEY"] {
        assert!(!seen.contains(&variables[name]) && !seen.contains(&format!("{name}=")), "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_command_prints_does_not_steer_the_terminal() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    let (_, told) =
        worked(&variables, r"printf '\033[2Jout\n'; printf '\033]0;title\007err\n' >&2; printf '\342\200\256x\n'")
            .await?;
    assert!(told.contains("\\u{1b}[2Jout\n") && told.contains("\\u{1b}]0;title\\u{7}err\n"), "{told}");
    assert!(told.contains("\\u{202e}x\n") && !told.contains('\x1b'), "{told}");
    Ok(())
}

#[tokio::test]
async fn every_digit_passes_through() -> Result<()> {
    let variables = keys(stack()).await?;
    let arguments = r#"{"seed":18446744073709551616,"long":123456789012345678901234567890,"z":1.10,"a":1e2}"#;
    let job = printed(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run", arguments]).await?;
    let script = r#"cp "$JOBCHUTE_ARGUMENTS" "$JOBCHUTE_RESULT"; cat >"$JOBCHUTE_OUTPUT/input""#;
    assert_eq!(worked(&variables, script).await?.0, 0);
    let expected = arguments.replace('}', r#","_disk_gb":10}"#);
    let shown = printed(&variables, &["watch", &job]).await?;
    assert_eq!(shown.lines().last(), Some(expected.as_str()));
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    printed(&variables, &["download", &job, "--to", to]).await?;
    assert_eq!(std::fs::read_to_string(Path::new(to).join("input"))?, expected);
    Ok(())
}

#[tokio::test]
async fn a_command_that_kills_its_supervisor_ends_with_it_and_is_reported() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = format!(r#"echo part >"$JOBCHUTE_OUTPUT/a"; echo $$ >{}; kill -KILL $PPID; sleep 600"#, pid.display());
    let (code, told) = worked(&variables, &script).await?;
    assert!(code == 1 && told.contains("a 5 bytes\n") && told.ends_with(&format!("{job}: error\n")), "{code}: {told}");
    let (_, told) = ended(&variables, &["watch", &job]).await?;
    assert_eq!(told, "error\nits supervisor was killed\n");
    ends(&pid).await
}

#[tokio::test]
async fn a_miner_that_cannot_run_three_jobs_in_a_row_leaves_them_to_others() -> Result<()> {
    let mut variables = keys(stack()).await?;
    for _ in 0..6 {
        created(&variables).await?;
    }
    let temporary = tempfile::tempdir()?;
    variables.insert("TMPDIR".to_owned(), temporary.path().display().to_string());
    let folder = temporary.path().to_owned();
    // Its folder goes while it claims, but for the third time.
    let claims = first(usize::MAX, |request| request.ends_with("/claim"));
    let seen = through(stack(), &mut variables, move |request| {
        if claims(request).is_some_and(|number| number != 2) {
            let made = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            made.for_each(|made| std::fs::remove_dir_all(made.join("private")).expect("it can be removed"));
        }
        Way::Pass
    })
    .await?;
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let (code, told) = ended(&variables, &["work", "--chute", &chute, "--", "true"]).await?;
    let why = "jobs can't be run here, 3 were given back in a row: the job's folder can't be written";
    assert!(code == 1 && told.contains(why), "{code}: {told}");
    assert_eq!(bodies(&seen, |request| request.ends_with("/release")).len(), 5);
    let list = printed(&variables, &["list"]).await?;
    assert!(list.matches("pending").count() == 5 && list.matches("complete").count() == 1, "{list}");
    assert_eq!(temporary.path().read_dir()?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_is_no_fault_of_the_jobs() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // A disk of its own, of which a job gets less than the 10 GB that it has asked for.
    let script = r#"mount -t tmpfs -o size=1m none "$TMPDIR" && exec "$0" "$@""#;
    let fills = r#"cat /dev/zero >"$JOBCHUTE_OUTPUT/all""#;
    let mut mounted = tokio::process::Command::new("unshare");
    mounted.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_jobchute"), "work", "--once", "--chute"]);
    mounted.args([&variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", fills]).envs(&variables);
    let (code, told) = crate::run::told(mounted.output().await?)?;
    if told.contains("unshare failed") || told.contains("permission denied") {
        println!("this machine lets nobody mount a disk: {told}");
        return Ok(());
    }
    assert!(code == 1 && told.contains(&format!("{job}: given back")), "{code}: {told}");
    assert!(told.contains("the disk is full") && !told.contains("kept in"), "{told}");
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}
