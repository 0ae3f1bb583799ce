//! Signals, and the death of the miner.

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use tokio::process::Child;

use crate::{
    processes::{appears, ends, is_zombie, signal, starts, until},
    proxy::{Way, bodies, through},
    run::{Variables, command, created, end_of, ended, kept, keys, printed, stack, working},
};

/// Writes so many small files.
fn writes(files: usize) -> String {
    format!(r#"cd "$JOBCHUTE_OUTPUT"; for n in $(seq {files}); do echo $n >$n; done"#)
}

fn is_upload(request: &str) -> bool {
    request.starts_with("PUT /") && request.contains("/outputs/")
}

/// How many files the owner of a complete job gets.
async fn files_of(variables: &Variables, job: &str) -> Result<usize> {
    assert_eq!(ended(variables, &["watch", job]).await?, (0, "complete\n".to_owned()));
    let folder = tempfile::tempdir()?;
    printed(variables, &["download", job, "--to", folder.path().to_str().context("a path")?]).await?;
    Ok(folder.path().read_dir()?.count())
}

#[tokio::test]
async fn the_first_signal_lets_what_was_reported_be_delivered() -> Result<()> {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut variables = keys(stack()).await?;
        let miner = Arc::new(Mutex::new(None));
        let sent = Arc::new(AtomicUsize::new(0));
        let (id, uploads) = (miner.clone(), sent.clone());
        through(stack(), &mut variables, move |request| {
            if is_upload(request) && uploads.fetch_add(1, Ordering::Relaxed) == 0 {
                let id = id.lock().unwrap_or_else(PoisonError::into_inner);
                assert!(id.is_some_and(|id| signal(id, name).is_ok()));
            }
            Way::Pass
        })
        .await?;
        let worker = working(&variables, &writes(40))?;
        *miner.lock().unwrap_or_else(PoisonError::into_inner) = worker.id();
        let (first, second) = (created(&variables).await?, created(&variables).await?);
        let (ended, told) = end_of(worker).await?;
        assert!(ended == code && told.ends_with(&format!("{first}: complete\n")), "{ended}: {told}");
        assert_eq!(files_of(&variables, &first).await?, 40);
        assert_eq!(sent.load(Ordering::Relaxed), 40);
        assert!(printed(&variables, &["list"]).await?.contains(&format!("{second}  ")), "it takes no other job");
        assert!(!told.contains(&second), "{told}");
    }
    Ok(())
}

/// How a miner ends that is asked to again and again: a signal that comes at once after the first is none.
async fn end_at_once(worker: Child, name: &str) -> Result<(i32, String)> {
    let id = worker.id().context("it runs")?;
    let is_over = AtomicBool::new(false);
    // An error says that it has ended.
    let asks = until("it goes on", || is_over.load(Ordering::Relaxed) || signal(id, name).is_err());
    let end = async {
        let end = end_of(worker).await;
        is_over.store(true, Ordering::Relaxed);
        end
    };
    tokio::join!(end, asks).0
}

#[tokio::test]
async fn the_second_signal_keeps_what_another_process_brings_home() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let (tried, is_down) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (tries, down) = (tried.clone(), is_down.clone());
    through(stack(), &mut variables, move |request| {
        let fails = is_upload(request) && down.load(Ordering::Relaxed) && tries.fetch_add(1, Ordering::Relaxed) >= 3;
        if fails { Way::Refuse(503) } else { Way::Pass }
    })
    .await?;
    let worker = working(&variables, &writes(10))?;
    let id = worker.id().context("it runs")?;
    until("nothing is uploaded", || tried.load(Ordering::Relaxed) > 3).await?;
    signal(id, "TERM")?;
    // The first one is taken before the second comes.
    until("nothing is tried again", || tried.load(Ordering::Relaxed) > 4).await?;
    let (code, told) = end_at_once(worker, "HUP").await?;
    assert_eq!(code, 143, "{told}");
    let folder = kept(&told)?;
    assert_eq!(Path::new(folder).join("job/output").read_dir()?.count(), 10);

    is_down.store(false, Ordering::Relaxed);
    // It needs no key.
    variables.remove("JOBCHUTE_MINER_KEY");
    let user = variables.remove("JOBCHUTE_KEY").context("a key")?;
    let (code, told) = ended(&variables, &["work", "--resume", folder]).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert!(!Path::new(folder).exists());
    variables.insert("JOBCHUTE_KEY".to_owned(), user);
    assert_eq!(files_of(&variables, &job).await?, 10);
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_to_bring_home_what_is_over() -> Result<()> {
    let mut variables = keys(stack()).await?;
    created(&variables).await?;
    let (tried, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (tries, over) = (tried.clone(), is_over.clone());
    through(stack(), &mut variables, move |request| match over.load(Ordering::Relaxed) {
        // As of a job that the reaper has ended, while its report is on its way.
        true if request.ends_with("/heartbeat") => {
            Way::Answer(r#"{"status": "timeout", "cancelled": true, "lease_expires_at": null}"#.to_owned())
        }
        false if is_upload(request) => {
            tries.fetch_add(1, Ordering::Relaxed);
            Way::Refuse(503)
        }
        is_over if is_over && !request.ends_with("/claim") => Way::Refuse(503),
        _ => Way::Pass,
    })
    .await?;
    let worker = working(&variables, &writes(1))?;
    until("nothing is uploaded", || tried.load(Ordering::Relaxed) > 0).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    until("nothing is tried again", || tried.load(Ordering::Relaxed) > 1).await?;
    let (_, told) = end_at_once(worker, "HUP").await?;
    is_over.store(true, Ordering::Relaxed);
    let (code, told) = ended(&variables, &["work", "--resume", kept(&told)?]).await?;
    assert!(code == 1 && told.contains("what its owner does not get is kept in "), "{code}: {told}");
    assert!(!told.contains("--resume"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_killed_miner_leaves_what_the_next_one_names_and_another_brings_home() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let temporary = tempfile::tempdir()?;
    variables.insert("TMPDIR".to_owned(), temporary.path().display().to_string());
    let job = created(&variables).await?;
    let (tried, is_down) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (tries, down) = (tried.clone(), is_down.clone());
    through(stack(), &mut variables, move |request| {
        let fails = is_upload(request) && down.load(Ordering::Relaxed);
        tries.fetch_add(fails.into(), Ordering::Relaxed);
        if fails { Way::Refuse(503) } else { Way::Pass }
    })
    .await?;
    let worker = working(&variables, &writes(3))?;
    until("nothing is uploaded", || tried.load(Ordering::Relaxed) > 0).await?;
    let elsewhere = || {
        let entries = fs::read_dir(temporary.path()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).next()
    };
    let folder = elsewhere().context("no folder")?;
    // As long as somebody works in it, it is that one's.
    let folder_name = folder.to_str().context("a path")?;
    let (code, told) = ended(&variables, &["work", "--resume", folder_name]).await?;
    assert!(code == 1 && told.contains("another process works in"), "{code}: {told}");
    signal(worker.id().context("it runs")?, "KILL")?;
    assert!(end_of(worker).await.is_err(), "killed");

    is_down.store(false, Ordering::Relaxed);
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let mut next = command(&variables, &["work", "--chute", &chute, "--", "true"]).stdout(Stdio::piped()).spawn()?;
    let mut lines = tokio::io::BufReader::new(next.stdout.take().context("its output")?);
    let mut line = String::new();
    while !line.ends_with(&format!("bring them home: jobchute work --resume {folder_name}\n")) {
        assert!(tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await? > 0, "{line}");
    }
    assert!(line.starts_with("a former process has left a job:\n"), "{line}");
    next.kill().await?;
    let (code, told) = ended(&variables, &["work", "--resume", folder_name]).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert_eq!(files_of(&variables, &job).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_command_ends_with_its_miner_however_that_ends() -> Result<()> {
    for (name, code) in [("TERM", Some(143)), ("INT", Some(130)), ("HUP", Some(129)), ("KILL", None)] {
        for start in ["sleep 600", "setsid sleep 600"] {
            let variables = keys(stack()).await?;
            let job = created(&variables).await?;
            let folder = tempfile::tempdir()?;
            let pid = folder.path().join("pid");
            let worker = working(&variables, &starts(start, &pid))?;
            appears(&pid).await?;
            signal(worker.id().context("it runs")?, name)?;
            let ended = end_of(worker).await;
            assert_eq!(ended.as_ref().ok().map(|(code, _)| *code), code, "{name}");
            ends(&pid).await?;
            let list = printed(&variables, &["list"]).await?;
            match ended {
                // Another miner gets it at once; and of one that was killed, when the lease ends.
                Ok((_, told)) => {
                    assert!(told.contains(&format!("{job}: given back, so that another miner gets it")), "{told}");
                    assert!(list.contains("pending"), "{list}");
                }
                Err(_) => assert!(list.contains("running"), "{list}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_asked_to_end_may_do_so_in_its_own_way() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let (ready, saved) = (folder.path().join("ready"), folder.path().join("saved"));
    let script =
        format!("trap 'echo >{}; exit 0' TERM; : >{}; while :; do sleep 0.05; done", saved.display(), ready.display());
    let worker = working(&variables, &script)?;
    appears(&ready).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    assert_eq!(end_of(worker).await?.0, 143);
    assert!(saved.exists());
    // What was cut short is not complete, whatever its exit code.
    let list = printed(&variables, &["list"]).await?;
    assert!(list.contains("pending"), "{list}");
    Ok(())
}

#[tokio::test]
async fn the_second_signal_does_not_wait_for_the_command() -> Result<()> {
    let variables = keys(stack()).await?;
    created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let (ready, asked) = (folder.path().join("ready"), folder.path().join("asked"));
    let script = format!(
        r#"echo part >"$JOBCHUTE_OUTPUT/a"; trap ': >{}' TERM; : >{}; while :; do sleep 0.05; done"#,
        asked.display(),
        ready.display()
    );
    let worker = working(&variables, &script)?;
    let id = worker.id().context("it runs")?;
    appears(&ready).await?;
    signal(id, "INT")?;
    appears(&asked).await?;
    let (code, told) = end_at_once(worker, "INT").await?;
    let kept = told.lines().find_map(|line| line.strip_prefix("its files are kept in ")).context("kept")?;
    assert!(code == 130 && !told.contains("--resume"), "{code}: {told}");
    assert_eq!(fs::read_to_string(Path::new(kept).join("a"))?, "part\n");
    let folder = Path::new(kept).ancestors().nth(2).context("a folder")?;
    let (code, told) = ended(&variables, &["work", "--resume", folder.to_str().context("a path")?]).await?;
    assert!(code == 1 && told.contains("did not end"), "{code}: {told}");
    fs::remove_dir_all(folder)?;
    Ok(())
}

#[tokio::test]
async fn two_signals_of_one_event_are_one() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let ready = folder.path().join("ready");
    let worker = working(&variables, &format!(": >{}; exec sleep 600", ready.display()))?;
    let id = worker.id().context("it runs")?;
    appears(&ready).await?;
    // As systemd ends a session. They come together.
    for name in ["STOP", "TERM", "HUP", "CONT"] {
        signal(id, name)?;
    }
    let (code, told) = end_of(worker).await?;
    let is_given_back = told.contains(&format!("{job}: given back"));
    assert!([129, 143].contains(&code) && is_given_back, "{code}: {told}");
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_claimed_as_a_signal_comes_goes_back() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let miner = Arc::new(Mutex::new(None));
    let id = miner.clone();
    let seen = through(stack(), &mut variables, move |request| {
        if request.ends_with("/claim") {
            let id = id.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(id.is_some_and(|id| signal(id, "TERM").is_ok()));
        }
        Way::Pass
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let began = folder.path().join("began");
    let held = miner.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = working(&variables, &format!(": >{}", began.display()))?;
    *{ held } = worker.id();
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.contains(&format!("{job}: given back")), "{code}: {told}");
    assert!(!began.exists());
    let reasons = bodies(&seen, |request| request.ends_with("/release"));
    assert_eq!(reasons, [r#"{"reason":"the miner is stopped"}"#]);
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn an_idle_miner_stops_at_once() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let looked = Arc::new(AtomicUsize::new(0));
    let looks = looked.clone();
    through(stack(), &mut variables, move |request| {
        looks.fetch_add((request == "PUT /jobs/claim").into(), Ordering::Relaxed);
        Way::Pass
    })
    .await?;
    let temporary = tempfile::tempdir()?;
    variables.insert("TMPDIR".to_owned(), temporary.path().display().to_string());
    let worker = working(&variables, "true")?;
    until("it does not look", || looked.load(Ordering::Relaxed) > 0).await?;
    signal(worker.id().context("it runs")?, "HUP")?;
    assert_eq!(end_of(worker).await?.0, 129);
    assert_eq!(temporary.path().read_dir()?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_miner_that_was_started_with_nohup_outlives_its_terminal() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let looked = Arc::new(AtomicUsize::new(0));
    let looks = looked.clone();
    through(stack(), &mut variables, move |request| {
        looks.fetch_add((request == "PUT /jobs/claim").into(), Ordering::Relaxed);
        Way::Pass
    })
    .await?;
    let script = format!(
        "trap '' HUP; exec {} work --chute {} -- true",
        env!("CARGO_BIN_EXE_jobchute"),
        variables["JOBCHUTE_CHUTE"]
    );
    let mut command = tokio::process::Command::new("sh");
    let worker =
        command.args(["-c", &script]).envs(&variables).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = worker.id().context("it runs")?;
    until("it does not look", || looked.load(Ordering::Relaxed) > 0).await?;
    signal(id, "HUP")?;
    let before = looked.load(Ordering::Relaxed);
    until("it does not look again", || looked.load(Ordering::Relaxed) > before).await?;
    signal(id, "TERM")?;
    assert_eq!(end_of(worker).await?.0, 143);
    Ok(())
}

#[tokio::test]
async fn a_job_goes_back_before_its_command_has_ended() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let released = Arc::new(AtomicUsize::new(0));
    let releases = released.clone();
    through(stack(), &mut variables, move |request| {
        releases.fetch_add(request.ends_with("/release").into(), Ordering::Relaxed);
        Way::Pass
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let (ready, go) = (folder.path().join("ready"), folder.path().join("go"));
    let script = format!("trap '' TERM; : >{}; until [ -e {} ]; do sleep 0.05; done", ready.display(), go.display());
    let worker = working(&variables, &script)?;
    appears(&ready).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    until("it is not given back", || released.load(Ordering::Relaxed) > 0).await?;
    fs::write(&go, "")?;
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.contains(&format!("{job}: given back")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_job_that_cannot_be_given_back_is_told_of() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    through(
        stack(),
        &mut variables,
        |request| if request.ends_with("/release") { Way::Refuse(400) } else { Way::Pass },
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let ready = folder.path().join("ready");
    let worker = working(&variables, &format!(": >{}; sleep 600", ready.display()))?;
    appears(&ready).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.contains(&format!("{job}: can't be given back")), "{code}: {told}");
    Ok(())
}

/// The process whose id is in the file.
fn id_in(file: &Path) -> Result<u32> {
    Ok(fs::read_to_string(file)?.trim().parse()?)
}

/// The folder of the one job that a miner has.
fn folder_of(variables: &Variables) -> Result<String> {
    let mut entries = Path::new(&variables["TMPDIR"]).read_dir()?;
    let entry = entries.next().context("no folder")??;
    entry.path().into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?}"))
}

#[tokio::test]
async fn what_a_signal_cut_short_is_never_complete() -> Result<()> {
    let mut variables = keys(stack()).await?;
    created(&variables).await?;
    through(
        stack(),
        &mut variables,
        |request| if request.ends_with("/release") { Way::Refuse(400) } else { Way::Pass },
    )
    .await?;
    let temporary = tempfile::tempdir()?;
    let ready = temporary.path().join("ready");
    let script = format!(
        r#"trap 'echo half >"$JOBCHUTE_OUTPUT/checkpoint"; exit 0' TERM; : >{}; while :; do sleep 0.05; done"#,
        ready.display()
    );
    let worker = working(&variables, &script)?;
    appears(&ready).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.contains("can't be given back") && !told.contains("--resume"), "{code}: {told}");
    let folder = folder_of(&variables)?;
    assert_eq!(fs::read_to_string(Path::new(&folder).join("job/output/checkpoint"))?, "half\n");
    let (code, told) = ended(&variables, &["work", "--resume", &folder]).await?;
    assert!(code == 1 && told.contains("did not end"), "{code}: {told}");
    Ok(())
}

/// A script of a command that ends before its supervisor knows: that one is stopped.
fn ends_unseen(folder: &Path) -> String {
    let (supervisor, own) = (folder.join("supervisor"), folder.join("own"));
    let script = r#"echo whole >"$JOBCHUTE_OUTPUT/a"; kill -STOP $PPID; echo $PPID >"#.to_owned();
    script + &format!("{0}; echo $$ >{1}.new; mv {1}.new {1}", supervisor.display(), own.display())
}

#[tokio::test]
async fn a_job_whose_command_has_ended_as_a_signal_comes_is_delivered() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let worker = working(&variables, &ends_unseen(folder.path()))?;
    appears(&folder.path().join("own")).await?;
    is_zombie(&folder.path().join("own")).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    signal(id_in(&folder.path().join("supervisor"))?, "CONT")?;
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert_eq!(files_of(&variables, &job).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_job_whose_command_has_ended_as_its_miner_is_killed_can_be_delivered() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let worker = working(&variables, &ends_unseen(folder.path()))?;
    appears(&folder.path().join("own")).await?;
    is_zombie(&folder.path().join("own")).await?;
    signal(worker.id().context("it runs")?, "KILL")?;
    assert!(end_of(worker).await.is_err(), "killed");
    // The kernel may have done that already.
    let _ = signal(id_in(&folder.path().join("supervisor"))?, "CONT");
    ends(&folder.path().join("supervisor")).await?;
    let (code, told) = ended(&variables, &["work", "--resume", &folder_of(&variables)?]).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert_eq!(files_of(&variables, &job).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_signal_that_comes_while_the_last_words_are_waited_for_does_no_harm() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let (own, supervisor, go) = (folder.path().join("own"), folder.path().join("supervisor"), folder.path().join("go"));
    let script = format!(
        "echo $PPID >{}; echo $$ >{1}.new; mv {1}.new {1}; until [ -e {2} ]; do sleep 0.05; done",
        supervisor.display(),
        own.display(),
        go.display()
    );
    let worker = working(&variables, &script)?;
    appears(&own).await?;
    // Somebody else has its error output open.
    let _held = fs::File::options().write(true).open(format!("/proc/{}/fd/2", id_in(&own)?))?;
    fs::write(go, "")?;
    ends(&supervisor).await?;
    signal(worker.id().context("it runs")?, "TERM")?;
    let (code, told) = end_of(worker).await?;
    assert!(code == 143 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_has_stopped_its_supervisor_ends_with_the_miner() -> Result<()> {
    let mut variables = keys(stack()).await?;
    created(&variables).await?;
    let released = Arc::new(AtomicUsize::new(0));
    let releases = released.clone();
    through(stack(), &mut variables, move |request| {
        releases.fetch_add(request.ends_with("/release").into(), Ordering::Relaxed);
        Way::Pass
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let worker = working(&variables, &format!("kill -STOP $PPID; {}", starts("setsid sleep 600", &pid)))?;
    let id = worker.id().context("it runs")?;
    appears(&pid).await?;
    signal(id, "TERM")?;
    until("it is not given back", || released.load(Ordering::Relaxed) > 0).await?;
    let (code, told) = end_at_once(worker, "TERM").await?;
    assert!(code == 143 && !told.contains("--resume"), "{code}: {told}");
    ends(&pid).await
}

#[tokio::test]
async fn a_job_whose_machine_is_stopped_goes_back_whichever_process_is_asked_first() -> Result<()> {
    // The command alone, as a shell tells of its end; or its supervisor first. Then the miner, as systemd asks all of a unit.
    for (first, ends) in [("0", "trap 'exit 143' TERM"), ("$PPID", "trap 'exit 0' TERM")] {
        let variables = keys(stack()).await?;
        let job = created(&variables).await?;
        let folder = tempfile::tempdir()?;
        let ready = folder.path().join("ready");
        let miner = "$(awk '/^PPid/ {print $2}' /proc/$PPID/status)";
        let script =
            format!("{ends}; : >{}; kill -TERM {miner} {first}; while :; do sleep 0.05; done", ready.display());
        let worker = working(&variables, &script)?;
        let (code, told) = end_of(worker).await?;
        assert!(code == 143 && told.contains(&format!("{job}: given back")), "{code}: {told}");
        assert!(printed(&variables, &["list"]).await?.contains("pending"));
    }
    Ok(())
}
