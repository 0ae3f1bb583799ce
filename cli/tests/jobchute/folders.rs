//! The folders of jobs, and those that are none.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    processes::signal,
    run::{Variables, created, ended, keys, stack, worked, working},
};

/// A folder of the user's that looks a little like a job's.
fn precious(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("private"))?;
    fs::set_permissions(folder.join("private"), Permissions::from_mode(0o700))?;
    Ok(fs::write(folder.join("private/precious"), "")?)
}

/// All that is in it.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        names.push(entry?.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?}"))?);
    }
    Ok(names)
}

/// A folder that a miner has left which was killed before it had a job.
async fn left_behind(variables: &Variables) -> Result<PathBuf> {
    let temporary = Path::new(&variables["TMPDIR"]);
    let mut worker = working(variables, "true")?;
    let mut told = BufReader::new(worker.stdout.take().context("its output")?);
    let mut line = String::new();
    // Its claim is answered then: it gets no job of those that come.
    told.read_line(&mut line).await?;
    assert!(line.starts_with("looking for jobs"), "{line}");
    signal(worker.id().context("it runs")?, "KILL")?;
    worker.wait().await?;
    Ok(temporary.join(names(temporary)?.pop().context("a folder")?))
}

/// A job is run here, and nothing is told of another one.
async fn another_is_run(variables: &Variables) -> Result<()> {
    let job = created(variables).await?;
    let (code, told) = worked(variables, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert!(!told.contains("former process") && !told.contains("kept"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_users_folder_with_a_private_one_in_it_is_no_jobs_and_stays_as_it_is() -> Result<()> {
    let variables = keys(stack()).await?;
    let home = tempfile::tempdir()?;
    precious(home.path())?;
    let (code, told) = ended(&variables, &["work", "--resume", home.path().to_str().context("a path")?]).await?;
    assert!(code == 1 && told.contains("is not a job's folder"), "{code}: {told}");
    assert_eq!(
        (names(home.path())?, names(&home.path().join("private"))?),
        (vec!["private".to_owned()], vec!["precious".to_owned()])
    );
    Ok(())
}

#[tokio::test]
async fn what_lies_among_the_temporary_files_and_is_no_jobs_folder_stays_as_it_is() -> Result<()> {
    let variables = keys(stack()).await?;
    let (temporary, elsewhere) = (Path::new(&variables["TMPDIR"]), tempfile::tempdir()?);
    precious(elsewhere.path())?;
    symlink(elsewhere.path(), temporary.join("jobchute-link"))?;
    precious(&temporary.join("jobchute-folder"))?;
    fs::write(temporary.join("jobchute-file"), "")?;
    another_is_run(&variables).await?;
    for folder in [elsewhere.path(), &temporary.join("jobchute-folder")] {
        assert_eq!(names(&folder.join("private"))?, ["precious"]);
    }
    assert_eq!(names(temporary)?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_link_does_not_lead_to_a_jobs_folder_elsewhere() -> Result<()> {
    let variables = keys(stack()).await?;
    let left = left_behind(&variables).await?;
    let elsewhere = tempfile::tempdir()?;
    let moved = elsewhere.path().join("moved");
    fs::rename(&left, &moved)?;
    symlink(&moved, &left)?;
    another_is_run(&variables).await?;
    assert!(moved.join("job/output").exists() && left.is_symlink());
    Ok(())
}

#[tokio::test]
async fn a_folder_without_a_job_cannot_be_delivered_and_goes_with_the_next_start() -> Result<()> {
    let variables = keys(stack()).await?;
    let left = left_behind(&variables).await?;
    fs::write(left.join("precious"), "")?;
    let (code, told) = ended(&variables, &["work", "--resume", left.to_str().context("a path")?]).await?;
    assert!(code == 1 && told.contains("has no job"), "{code}: {told}");
    assert!(left.join("job/output").exists());
    // What no miner has put there stays.
    another_is_run(&variables).await?;
    assert_eq!(names(&left)?, ["precious"]);
    Ok(())
}

#[tokio::test]
async fn a_removal_that_was_interrupted_is_finished_and_delivers_nothing() -> Result<()> {
    let variables = keys(stack()).await?;
    let left = left_behind(&variables).await?;
    let [marker] = &names(&left.join("private"))?[..] else { panic!("more than the marker") };
    fs::rename(left.join("private").join(marker), left.join("private").join(format!("{marker}-removed")))?;
    fs::write(left.join("private/end.json"), r#"{"ended":0}"#)?;
    fs::write(left.join("job/output/half"), "")?;
    let (code, told) = ended(&variables, &["work", "--resume", left.to_str().context("a path")?]).await?;
    assert!(code == 1 && told.contains("is not a job's folder"), "{code}: {told}");
    another_is_run(&variables).await?;
    assert!(!left.exists());
    // Also at its very end.
    fs::create_dir_all(left.join("private"))?;
    fs::set_permissions(&left, Permissions::from_mode(0o711))?;
    another_is_run(&variables).await?;
    assert!(!left.exists());
    Ok(())
}
