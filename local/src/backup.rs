//! A copy of what a stack keeps, made while it runs: everything as it was at one moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags, backup::Backup};

use crate::disk;

/// The databases, in the order in which they are closed to writers.
const DATABASES: [&str; 2] = ["dynamodb.sqlite", "s3.sqlite"];
/// What there is beside them. All of it is small, and a stack may have had no need of some.
const FILES: [&str; 3] = ["access-key-secret", "secrets.json", "streams.json"];
/// How long a writer may keep a database to itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Copied {
    /// Objects' versions, and parts of uploads.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies a stack's folder to `to`, which is not there yet. It is a folder for `--data` then. Writers wait while the objects are given a
/// second name, a few microseconds each; what takes long comes after that. On one file system objects are not copied: they never change.
pub fn backup(data: &Path, to: &Path) -> Result<Copied> {
    ensure!(!to.exists(), "{} is there already", to.display());
    for name in DATABASES {
        ensure!(data.join(name).exists(), "{} has no {name}: no stack has kept anything there", data.display());
    }
    let name = to.file_name().and_then(|name| name.to_str()).context("--to names no folder")?;
    // It gets its name when it is whole.
    let part = to.with_file_name(format!("{name}.part"));
    let lock = fs::File::create(data.join("backup.lock")).context("can't lock the folder")?;
    if lock.try_lock().is_err() {
        bail!("another backup of {} is under way", data.display());
    }
    // What it holds has its other names, also what one held that was killed.
    let held = data.join("backup");
    let _ = fs::remove_dir_all(&held);
    let copied = copy(data, &held, &part);
    let _ = fs::remove_dir_all(&held);
    match copied {
        Ok(copied) => {
            fs::rename(&part, to).with_context(|| format!("can't make {}", to.display()))?;
            disk::settle_name(to)?;
            Ok(copied)
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&part);
            Err(error)
        }
    }
}

fn copy(data: &Path, held: &Path, part: &Path) -> Result<Copied> {
    let _ = fs::remove_dir_all(part);
    for folder in [held, part, &part.join("objects"), &part.join("invocations")] {
        disk::make_folder(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    let snapshots = at_one_moment(data, held, part)?;
    for (name, snapshot) in DATABASES.iter().zip(snapshots) {
        write(&snapshot, &part.join(name)).with_context(|| format!("can't copy {name}"))?;
    }
    let mut copied = Copied::default();
    for object in fs::read_dir(held)? {
        let object = object?;
        copied.objects += 1;
        copied.bytes += object.metadata()?.len();
        let target = part.join("objects").join(object.file_name());
        place(&object.path(), &target).with_context(|| format!("can't write {}", target.display()))?;
    }
    for folder in [&part.join("objects"), &part.join("invocations"), part] {
        fs::File::open(folder)?.sync_all()?;
    }
    check(part)?;
    Ok(copied)
}

/// Closes both databases to writers, gives what S3 has a second name in `held`, copies the small files, and returns the databases as they are
/// at that moment, whatever is written later.
fn at_one_moment(data: &Path, held: &Path, part: &Path) -> Result<Vec<Connection>> {
    let mut locks = Vec::new();
    for name in DATABASES {
        let lock = open(&data.join(name))?;
        lock.execute_batch("BEGIN IMMEDIATE").with_context(|| format!("can't lock {name}"))?;
        locks.push(lock);
    }
    let mut snapshots = Vec::new();
    for name in DATABASES {
        let snapshot = open(&data.join(name))?;
        // A read begins what it sees.
        snapshot.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
        snapshots.push(snapshot);
    }
    // The positions in the streams are of before that moment, so that nothing is left out.
    for name in FILES.into_iter().filter(|name| data.join(name).exists()) {
        let content = fs::read(data.join(name)).with_context(|| format!("can't read {name}"))?;
        disk::replace(&part.join(name), &content).with_context(|| format!("can't write {name}"))?;
    }
    for event in fs::read_dir(data.join("invocations")).into_iter().flatten() {
        let event = event?;
        match fs::read(event.path()) {
            Ok(content) => disk::replace(&part.join("invocations").join(event.file_name()), &content)?,
            // It has been run to its end meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("can't read an event"),
        }
    }
    for (blob, _) in blobs(&snapshots[1])? {
        fs::hard_link(data.join("objects").join(&blob), held.join(&blob))
            .with_context(|| format!("can't link the object {blob}"))?;
    }
    for lock in locks {
        lock.execute_batch("ROLLBACK")?;
    }
    Ok(snapshots)
}

fn open(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags);
    let connection = connection.with_context(|| format!("can't open {}", file.display()))?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// The blobs that something names, with their sizes.
fn blobs(index: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let sql = "SELECT blob, size FROM versions WHERE blob IS NOT NULL UNION SELECT blob, size FROM parts";
    index.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Writes a database to a file, as its transaction sees it.
fn write(database: &Connection, file: &Path) -> Result<()> {
    let mut target = Connection::open(file)?;
    Backup::new(database, &mut target)?.run_to_completion(1 << 14, Duration::ZERO, None)?;
    drop(target);
    Ok(disk::settle(file)?)
}

/// A second name for a file's bytes, or where that can't be a copy.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// Reads a copy: its databases are whole, and it has every object that they name.
fn check(folder: &Path) -> Result<()> {
    let mut index = None;
    for name in DATABASES {
        let database = open(&folder.join(name))?;
        let found: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if found != "ok" {
            bail!("the copy of {name} is damaged: {found}");
        }
        index = Some(database);
    }
    let Some(index) = index else { return Ok(()) };
    for (blob, size) in blobs(&index)? {
        let object: PathBuf = folder.join("objects").join(&blob);
        let found = fs::metadata(&object).with_context(|| format!("the copy has no object {blob}"))?.len();
        ensure!(found == size, "the object {blob} has {found} bytes, and not {size}");
    }
    Ok(())
}
