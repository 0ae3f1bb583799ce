//! A user's downloads.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};

use crate::{
    processes::{appears, signal, until},
    proxy::{self, Way, bodies, first, through},
    run::{Variables, command, created, end_of, ended, keys, printed, stack, worked},
};

#[tokio::test]
async fn outputs_of_any_name_are_downloaded_and_none_is_a_failure() -> Result<()> {
    let variables = keys(stack()).await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let empty = created(&variables).await?;
    assert_eq!(worked(&variables, "true").await?.0, 0);
    let (code, told) = ended(&variables, &["download", &empty, "--to", to]).await?;
    assert_eq!((code, told.as_str()), (1, "jobchute: the job has no output files\n"));

    let job = created(&variables).await?;
    worked(&variables, r#"cd "$JOBCHUTE_OUTPUT"; echo whole >a; echo part >a.part"#).await?;
    std::fs::write(folder.path().join("a.part"), "older")?;
    printed(&variables, &["download", &job, "--to", to, "--force"]).await?;
    assert_eq!(std::fs::read_to_string(folder.path().join("a"))?, "whole\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("a.part"))?, "part\n");
    assert_eq!(folder.path().read_dir()?.count(), 2);
    Ok(())
}

/// A complete job with the files that a script leaves.
async fn job_of(variables: &Variables, script: &str) -> Result<String> {
    let job = created(variables).await?;
    let (code, told) = worked(variables, &format!("cd \"$JOBCHUTE_OUTPUT\"; {script}")).await?;
    assert_eq!(code, 0, "{told}");
    Ok(job)
}

#[tokio::test]
async fn a_folder_named_after_the_job_is_filled_and_nothing_beside_it() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = job_of(&variables, "echo evil >.bashrc; mkdir .ssh; echo evil >.ssh/authorized_keys").await?;
    let here = tempfile::tempdir()?;
    let ended = command(&variables, &["download", &job]).current_dir(here.path()).output().await?;
    assert!(ended.status.success());
    assert_eq!(here.path().read_dir()?.count(), 1);
    assert_eq!(fs::read_to_string(here.path().join(&job).join(".ssh/authorized_keys"))?, "evil\n");
    Ok(())
}

#[tokio::test]
async fn what_is_there_is_skipped_when_it_is_right_and_replaced_only_by_force() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = job_of(&variables, "echo 1 >a; echo 2 >b; echo 3 >c").await?;
    let gets = Arc::new(AtomicUsize::new(0));
    let counted = gets.clone();
    through(stack(), &mut variables, move |request| {
        counted.fetch_add((request.starts_with("GET /") && request.contains("/outputs/")).into(), Ordering::Relaxed);
        Way::Pass
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    fs::write(folder.path().join("a"), "mine\n")?;
    fs::write(folder.path().join("b"), "2\n")?;
    fs::set_permissions(folder.path().join("a"), Permissions::from_mode(0o600))?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
    assert!(code == 1 && told.contains("a is missing: something else is there, which --force replaces\n"), "{told}");
    assert!(told.contains("b, which was there\nc\n") && told.contains("1 of 3 files are missing"), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join("a"))?, "mine\n");
    assert_eq!(fs::metadata(folder.path().join("a"))?.permissions().mode() & 0o777, 0o600);
    assert_eq!(gets.load(Ordering::Relaxed), 1);
    let (code, told) = ended(&variables, &["download", &job, "--to", to, "--force"]).await?;
    assert_eq!((code, told.as_str()), (0, "a\nb, which was there\nc, which was there\n"));
    assert_eq!(fs::read_to_string(folder.path().join("a"))?, "1\n");
    assert_eq!(gets.load(Ordering::Relaxed), 2);
    assert_eq!(folder.path().read_dir()?.count(), 3);
    Ok(())
}

#[tokio::test]
async fn no_link_leads_out_of_the_target_folder() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = job_of(&variables, "mkdir sub; echo evil >sub/file; echo evil >link; echo good >z").await?;
    let (folder, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let to = folder.path().to_str().context("a path")?;
    symlink(elsewhere.path(), folder.path().join("sub"))?;
    symlink(elsewhere.path().join("link"), folder.path().join("link"))?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
    assert!(code == 1 && told.contains("2 of 3 files are missing"), "{code}: {told}");
    let (code, told) = ended(&variables, &["download", &job, "--to", to, "--force"]).await?;
    assert!(code == 1 && told.contains("sub/file is missing: a folder on its way is a link"), "{code}: {told}");
    assert_eq!(elsewhere.path().read_dir()?.count(), 0);
    assert_eq!(fs::read_to_string(folder.path().join("z"))?, "good\n");
    // A link itself is replaced by force, and not what it leads to.
    assert!(fs::symlink_metadata(folder.path().join("link"))?.is_file());
    Ok(())
}

#[tokio::test]
async fn a_name_that_the_file_system_cannot_hold_becomes_another_one() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    // As a miner reports whose own file system holds them.
    let long = "é".repeat(150) + ".bin";
    let names = ["a", "a/b", &long, &format!("{long}/file")];
    finish(&variables, &job, &names).await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    for _ in 0..2 {
        let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
        assert_eq!(code, 0, "{told}");
        for (number, name) in names.iter().enumerate() {
            let id = uuid::Uuid::new_v5(&job.parse()?, name.as_bytes());
            let line =
                told.lines().find(|line| line.starts_with(&format!("{name} as "))).map(|line| &line[name.len() + 4..]);
            let place = match line {
                Some(line) => line.split(',').next().unwrap_or_default(),
                None => name,
            };
            assert!(*name == "a/b" || place.starts_with(&id.to_string()), "{told}");
            assert_eq!(fs::read_to_string(folder.path().join(place))?, number.to_string(), "{told}");
        }
    }
    // The second time, it finds them by the same names.
    assert_eq!(folder.path().read_dir()?.count(), 4);
    Ok(())
}

/// Reports files of these names, with their numbers as their contents.
async fn finish(variables: &Variables, job: &str, names: &[&str]) -> Result<()> {
    let http = jobchute::plain_http().build()?;
    let (api, key) = (&variables["JOBCHUTE_URL"], &variables["JOBCHUTE_MINER_KEY"]);
    let claim = http.put(format!("{api}/jobs/{job}/claim")).bearer_auth(key).send().await?;
    let claim: serde_json::Value = claim.json().await?;
    let url = claim["job_status_url"].as_str().context("a URL")?;
    let file = |(number, name): (usize, &&str)| {
        let content = number.to_string();
        let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&content));
        serde_json::json!({"filename": name, "size": content.len(), "sha256": sha256})
    };
    let files: Vec<_> = names.iter().enumerate().map(file).collect();
    let report = serde_json::json!({"status": "complete", "output_files": files});
    let finished: serde_json::Value = http.post(url).json(&report).send().await?.error_for_status()?.json().await?;
    for target in finished["uploads"].as_array().context("targets")? {
        let number = names.iter().position(|name| target["filename"] == *name).context("a name")?;
        let mut put = http.put(target["url"].as_str().context("a URL")?).body(number.to_string());
        for (name, value) in target["headers"].as_object().context("headers")? {
            if name != "content-length" {
                put = put.header(name, value.as_str().unwrap_or_default());
            }
        }
        put.send().await?.error_for_status()?;
    }
    http.put(url).send().await?.error_for_status()?;
    Ok(())
}

#[tokio::test]
async fn a_download_is_tried_again_where_it_was_cut_and_goes_on_after_a_failure() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = job_of(&variables, "head -c 3000000 /dev/urandom >a; echo 2 >b; echo 3 >c").await?;
    let cuts = first(2, |request| request.starts_with("GET /") && request.ends_with("/outputs/a"));
    let b_fails = first(100, |request| request.ends_with("/outputs/b"));
    let api_fails = first(1, |request| request.contains("/download/"));
    let seen =
        through(stack(), &mut variables, move |request| match (cuts(request), b_fails(request), api_fails(request)) {
            (Some(0), ..) => Way::Refuse(503),
            (Some(_), ..) => Way::Cut(0.6),
            (_, Some(_), _) | (.., Some(_)) => Way::Refuse(503),
            _ => Way::Pass,
        })
        .await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
    assert!(code == 1 && told.contains("b is missing: S3: 503") && told.contains("1 of 3 files are missing"), "{told}");
    assert_eq!(fs::metadata(folder.path().join("a"))?.len(), 3_000_000);
    assert_eq!(fs::read_to_string(folder.path().join("c"))?, "3\n");
    assert_eq!(bodies(&seen, |request| request.starts_with("GET /") && request.ends_with("/outputs/a")).len(), 3);
    let ranges = proxy::ranges(&seen);
    assert!(ranges.len() == 1 && ranges[0].starts_with("bytes=1") && ranges[0].ends_with('-'), "{ranges:?}");
    assert_eq!(folder.path().read_dir()?.count(), 2);
    Ok(())
}

#[tokio::test]
async fn what_has_arrived_is_kept_when_the_next_answer_is_a_503_or_ends_too_early() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = job_of(&variables, "head -c 3000000 /dev/urandom >a").await?;
    let gets = first(3, |request| request.starts_with("GET /") && request.ends_with("/outputs/a"));
    let seen = through(stack(), &mut variables, move |request| match gets(request) {
        Some(0) => Way::Cut(0.5),
        Some(1) => Way::Refuse(503),
        // Nothing says that this is not all of it.
        Some(_) => Way::End(0.5),
        None => Way::Pass,
    })
    .await?;
    let folder = tempfile::tempdir()?;
    printed(&variables, &["download", &job, "--to", folder.path().to_str().context("a path")?]).await?;
    assert_eq!(fs::metadata(folder.path().join("a"))?.len(), 3_000_000);
    let ranges = proxy::ranges(&seen);
    // The first and the second try after the cut ask for the same, and the last one for less.
    assert!(ranges.len() == 3 && ranges[0] == ranges[1] && ranges[0].starts_with("bytes=1"), "{ranges:?}");
    assert!(ranges[2].starts_with("bytes=2"), "{ranges:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_shorter_than_was_said_or_another_one_is_not_asked_for_without_end() -> Result<()> {
    let mut variables = keys(stack()).await?;
    variables.insert("JOBCHUTE_SPEED".to_owned(), "1000".to_owned());
    let job = job_of(&variables, "head -c 1000 /dev/zero >a").await?;
    for (said, instead, error, most) in [
        (r#""size":1000"#, r#""size":1001"#, "1000 bytes arrived instead of 1001", 5),
        (r#""size":1000"#, r#""size":999"#, "1000 bytes arrived instead of 999", 5),
        (r#""sha256":""#, r#""sha256":"0"#, "its SHA-256 is not 0", 2),
    ] {
        let mut variables = variables.clone();
        let looked = format!("GET /jobs/{job}");
        let seen = through(stack(), &mut variables, move |request| match request == looked {
            true => Way::Replace(said, instead),
            false => Way::Pass,
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let to = folder.path().to_str().context("a path")?;
        let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
        assert!(code == 1 && told.contains("a is missing"), "{code}: {told}");
        let tries = proxy::all(&seen, |request| request.ends_with("/outputs/a"), |_| ()).len();
        assert!(tries == most && told.contains(error), "{tries} tries: {told}");
        assert_eq!(folder.path().read_dir()?.count(), 0);
    }
    Ok(())
}

/// The other name of a file of a job's.
fn other(job: &str, name: &str) -> Result<String> {
    Ok(format!("{}-{name}", uuid::Uuid::new_v5(&job.parse()?, name.as_bytes())))
}

#[tokio::test]
async fn a_file_does_not_replace_another_of_the_job_where_the_file_system_takes_their_names_for_one() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = job_of(&variables, "echo 1 >a; echo 2 >b; echo 3 >c; echo 1 >d").await?;
    let (found, fetched) = (tempfile::tempdir()?, tempfile::tempdir()?);
    // Two names of one file, as those that differ in case are elsewhere: of one that is there, and of one that is fetched.
    fs::write(found.path().join("a"), "1\n")?;
    for twin in ["b", "d"] {
        fs::hard_link(found.path().join("a"), found.path().join(twin))?;
    }
    let (a, c) = (fetched.path().join("a"), fetched.path().join("c"));
    through(stack(), &mut variables, move |request| {
        if request.ends_with("/outputs/b") && a.exists() && !c.exists() {
            fs::hard_link(&a, &c).expect("a link");
        }
        Way::Pass
    })
    .await?;
    for (folder, twin, content) in [(&found, "b", "2\n"), (&fetched, "c", "3\n")] {
        let to = folder.path().to_str().context("a path")?;
        let name = other(&job, twin)?;
        for more in [&[][..], &["--force"], &[]] {
            let (code, told) = ended(&variables, &[&["download", &job, "--to", to], more].concat()).await?;
            assert!(code == 0 && told.contains(&format!("{twin} as {name}")), "{code}: {told}");
            assert_eq!(fs::read_to_string(folder.path().join("a"))?, "1\n");
            assert_eq!(fs::read_to_string(folder.path().join(twin))?, "1\n");
            assert_eq!(fs::read_to_string(folder.path().join(&name))?, content);
            assert_eq!(fs::read_to_string(folder.path().join("d"))?, "1\n");
            assert_eq!(folder.path().read_dir()?.count(), 5);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_file_is_told_of_before_the_file_is_fetched() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = job_of(&variables, "echo 1 >a").await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("a"))?;
    let to = folder.path().to_str().context("a path")?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to, "--force"]).await?;
    assert!(code == 1 && told.contains("a is missing: a folder is there\n"), "{code}: {told}");
    assert!(bodies(&seen, |request| request.contains("/download/")).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_a_download_while_it_looks_at_a_large_file_that_is_there() -> Result<()> {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut variables = keys(stack()).await?;
        let job = job_of(&variables, "head -c 1 /dev/zero >a").await?;
        let looked = format!("GET /jobs/{job}");
        through(stack(), &mut variables, move |request| match request == looked {
            true => Way::Replace(r#""size":1,"#, r#""size":1099511627776,"#),
            false => Way::Pass,
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a");
        // It takes no room, and hours to hash.
        fs::File::create_new(&file)?.set_len(1 << 40)?;
        let mut command = command(&variables, &["download", &job, "--to", folder.path().to_str().context("a path")?]);
        let download = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let open = format!("/proc/{}/fd", download.id().context("it runs")?);
        let is_open = || {
            fs::read_dir(&open)
                .into_iter()
                .flatten()
                .flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|it| it == file))
        };
        until("it does not look", is_open).await?;
        signal(download.id().context("it runs")?, name)?;
        let (ended, told) = end_of(download).await?;
        assert_eq!(ended, code, "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_download_that_is_stopped_leaves_no_part_of_a_file() -> Result<()> {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut variables = keys(stack()).await?;
        let job = job_of(&variables, "head -c 3000000 /dev/urandom >a; echo 2 >b").await?;
        let cut = Arc::new(AtomicUsize::new(0));
        let cuts = cut.clone();
        through(stack(), &mut variables, move |request| {
            if request.starts_with("GET /") && request.ends_with("/outputs/b") {
                cuts.fetch_add(1, Ordering::Relaxed);
                return Way::Refuse(503);
            }
            Way::Pass
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let to = folder.path().to_str().context("a path")?;
        let mut command = command(&variables, &["download", &job, "--to", to]);
        let download = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        until("it does not begin", || cut.load(Ordering::Relaxed) > 0).await?;
        // They are fetched side by side.
        appears(&folder.path().join("a")).await?;
        signal(download.id().context("it runs")?, name)?;
        let (ended, told) = end_of(download).await?;
        assert_eq!(ended, code, "{told}");
        let names: Vec<_> =
            fs::read_dir(folder.path())?.map(|entry| entry.map(|it| it.file_name())).collect::<Result<_, _>>()?;
        assert_eq!(names, ["a"]);
    }
    Ok(())
}
