//! A copy of what a stack keeps, made while it runs: everything as it was at one moment.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags, backup::Backup};

use crate::{
    disk::{self, Lock},
    s3::named_blobs,
};

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

/// Copies a stack's folder to `to`, which is not there yet. It is a folder for `--data` then. Writers wait while the small files are read and
/// the objects that came since the backup began are given a second name, a few microseconds each; what takes long comes before or after that.
/// On one file system objects are not copied: they never change.
pub fn backup(data: &Path, to: &Path) -> Result<Copied> {
    ensure!(!to.exists(), "{} is there already", to.display());
    for name in DATABASES {
        ensure!(data.join(name).exists(), "{} has no {name}: no stack has kept anything there", data.display());
    }
    let name = to.file_name().and_then(|name| name.to_str()).context("--to names no folder")?;
    // It gets its name when it is whole.
    let part = std::path::absolute(to.with_file_name(format!("{name}.part")))?;
    let held = data.join("backup");
    let lock = alone(data, &held, &part)?;
    let copied = copy(data, &held, &part);
    let _ = fs::remove_dir_all(&held);
    match copied {
        Ok(copied) => {
            fs::rename(&part, to).with_context(|| format!("can't make {}", to.display()))?;
            disk::settle_name(to)?;
            lock.0.set_len(0)?;
            Ok(copied)
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&part);
            Err(error)
        }
    }
}

/// The only backup of this folder, for as long as the file is locked. What one has left that was killed goes first: what it held, which has its other
/// names, and its half copy, which the file names.
fn alone(data: &Path, held: &Path, part: &Path) -> Result<Lock> {
    let name = part.to_str().context("--to is not UTF-8")?;
    let path = data.join("backup.lock");
    let lock = fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = lock.context("can't lock the folder")?;
    if file.try_lock().is_err() {
        bail!("another backup of {} is under way", data.display());
    }
    let mut lock = Lock(file);
    let mut left = String::new();
    lock.0.read_to_string(&mut left).context("can't read backup.lock")?;
    for folder in [held, Path::new(left.as_str()), part] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("can't remove {}, of a backup that was killed", folder.display()));
            }
            _ => {}
        }
    }
    lock.0.set_len(0)?;
    lock.0.rewind()?;
    lock.0.write_all(name.as_bytes())?;
    Ok(lock)
}

fn copy(data: &Path, held: &Path, part: &Path) -> Result<Copied> {
    for folder in [held, part, &part.join("objects"), &part.join("invocations")] {
        disk::make_folder(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    let linked = Linked::before(data, held)?;
    let Moment { databases, files } = at_one_moment(data, held, &linked)?;
    for (name, content) in files {
        disk::replace(&part.join(&name), &content).with_context(|| format!("can't write {}", name.display()))?;
    }
    let named: HashSet<String> = named_blobs(&databases[1])?.into_iter().map(|(blob, _)| blob).collect();
    for (name, database) in DATABASES.iter().zip(databases) {
        write(&database, &part.join(name)).with_context(|| format!("can't copy {name}"))?;
    }
    let mut copied = Copied::default();
    for object in fs::read_dir(held)? {
        let object = object?;
        // Some were removed between their second name and that moment.
        if !object.file_name().to_str().is_some_and(|blob| named.contains(blob)) {
            continue;
        }
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

/// Objects that have a second name in `held` before anybody has to wait.
struct Linked {
    blobs: HashSet<String>,
    /// The newest version that was looked at. A later one has a larger number.
    sequence: i64,
}

impl Linked {
    fn before(data: &Path, held: &Path) -> Result<Self> {
        let index = open(&data.join(DATABASES[1]))?;
        index.execute_batch("BEGIN")?;
        let sequence = index.query_row("SELECT coalesce(max(sequence), 0) FROM versions", [], |row| row.get(0))?;
        let named = named_blobs(&index)?;
        index.execute_batch("ROLLBACK")?;
        let mut linked = Self { blobs: HashSet::with_capacity(named.len()), sequence };
        for (blob, _) in named {
            match link(data, held, &blob) {
                Ok(()) => _ = linked.blobs.insert(blob),
                // It has been removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("can't link the object {blob}")),
            }
        }
        Ok(linked)
    }

    /// What else the index names.
    fn missing(&self, index: &Connection) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT blob FROM versions WHERE sequence > ?1 AND blob IS NOT NULL UNION SELECT blob FROM parts";
        let mut named = index.prepare(sql)?;
        let named = named.query_map([self.sequence], |row| row.get(0))?;
        named.filter(|blob| !blob.as_ref().is_ok_and(|blob| self.blobs.contains(blob))).collect()
    }
}

/// What a stack has at one moment.
struct Moment {
    /// As they are then, whatever is written later.
    databases: Vec<Connection>,
    /// The small files, with their contents.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Closes both databases to writers, reads the small files, and gives what S3 has by then a second name in `held`. Nothing here waits for the disk
/// to have written.
fn at_one_moment(data: &Path, held: &Path, linked: &Linked) -> Result<Moment> {
    let mut locks = Vec::new();
    for name in DATABASES {
        let lock = open(&data.join(name))?;
        lock.execute_batch("BEGIN IMMEDIATE").with_context(|| format!("can't lock {name}"))?;
        locks.push(lock);
    }
    let mut databases = Vec::new();
    for name in DATABASES {
        let database = open(&data.join(name))?;
        // A read begins what it sees.
        database.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
        databases.push(database);
    }
    // The positions in the streams are of before that moment, so that nothing is left out.
    let mut files = Vec::new();
    for name in FILES.into_iter().filter(|name| data.join(name).exists()) {
        let content = fs::read(data.join(name)).with_context(|| format!("can't read {name}"))?;
        files.push((name.into(), content));
    }
    for event in fs::read_dir(data.join("invocations")).into_iter().flatten() {
        let event = event?;
        match fs::read(event.path()) {
            Ok(content) => files.push((Path::new("invocations").join(event.file_name()), content)),
            // It has been run to its end meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("can't read an event"),
        }
    }
    for blob in linked.missing(&databases[1])? {
        link(data, held, &blob).with_context(|| format!("can't link the object {blob}"))?;
    }
    for lock in locks {
        lock.execute_batch("ROLLBACK")?;
    }
    Ok(Moment { databases, files })
}

/// Gives an object its second name.
fn link(data: &Path, held: &Path, blob: &str) -> io::Result<()> {
    fs::hard_link(data.join("objects").join(blob), held.join(blob))
}

fn open(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags);
    let connection = connection.with_context(|| format!("can't open {}", file.display()))?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
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
    for (blob, size) in named_blobs(&index)? {
        let object: PathBuf = folder.join("objects").join(&blob);
        let found = fs::metadata(&object).with_context(|| format!("the copy has no object {blob}"))?.len();
        ensure!(found == size, "the object {blob} has {found} bytes, and not {size}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a stack leaves it, as far as a backup looks.
    fn stack() -> (tempfile::TempDir, Connection) {
        let data = tempfile::tempdir().expect("a folder");
        fs::create_dir(data.path().join("objects")).expect("objects");
        fs::create_dir(data.path().join("backup")).expect("held");
        let tables =
            "CREATE TABLE versions (sequence INTEGER PRIMARY KEY AUTOINCREMENT, blob TEXT, size INTEGER NOT NULL);
                      CREATE TABLE parts (blob TEXT NOT NULL, size INTEGER NOT NULL);";
        let mut index = None;
        for name in DATABASES {
            let database = Connection::open(data.path().join(name)).expect("a database");
            database.execute_batch("PRAGMA journal_mode = WAL").expect("a log");
            database.execute_batch(tables).expect("tables");
            index = Some(database);
        }
        (data, index.expect("the last one"))
    }

    fn store(data: &Path, index: &Connection, table: &str, blob: &str) {
        fs::write(data.join("objects").join(blob), blob).expect("room");
        let sql = format!("INSERT INTO {table} (blob, size) VALUES (?1, ?2)");
        index.execute(&sql, (blob, blob.len())).expect("room");
    }

    fn remove(data: &Path, index: &Connection, blob: &str) {
        for table in ["versions", "parts"] {
            index.execute(&format!("DELETE FROM {table} WHERE blob = ?1"), [blob]).expect("room");
        }
        fs::remove_file(data.join("objects").join(blob)).expect("the object");
    }

    #[test]
    fn only_what_came_since_is_linked_while_writers_wait() {
        let (data, index) = stack();
        let (data, held) = (data.path(), data.path().join("backup"));
        for blob in ["kept", "removed"] {
            store(data, &index, "versions", blob);
        }
        store(data, &index, "parts", "part");
        let linked = Linked::before(data, &held).expect("links");
        assert_eq!(linked.blobs, ["kept", "removed", "part"].map(str::to_owned).into());

        remove(data, &index, "removed");
        store(data, &index, "versions", "new");
        store(data, &index, "parts", "new-part");
        assert_eq!(linked.missing(&index).expect("names"), ["new", "new-part"]);
        let moment = at_one_moment(data, &held, &linked).expect("a moment");
        // Nobody waits any more, and what is removed now is of before.
        remove(data, &index, "kept");
        let named = named_blobs(&moment.databases[1]).expect("names");
        let named: Vec<_> = named.iter().map(|(blob, _)| blob.as_str()).collect();
        assert_eq!(named, ["kept", "new", "new-part", "part"]);
        assert!(named.iter().all(|blob| held.join(blob).exists()));
    }

    #[test]
    fn a_backup_removes_what_one_has_left_that_was_killed() {
        let (data, _index) = stack();
        let (data, held, elsewhere) = (data.path(), data.path().join("backup"), tempfile::tempdir().expect("a folder"));
        let part = elsewhere.path().join("killed.part");
        let lock = alone(data, &held, &part).expect("nobody else");
        fs::create_dir(&part).expect("a half copy");
        assert!(alone(data, &held, &data.join("other.part")).is_err(), "it is under way");
        assert!(part.exists());
        drop(lock);
        backup(data, &data.join("copy")).expect("a copy");
        assert!(!part.exists() && !held.exists());
        assert_eq!(fs::read(data.join("backup.lock")).expect("the file"), b"");
    }

    #[test]
    fn small_files_are_written_when_nobody_waits() {
        let (data, index) = stack();
        let data = data.path();
        fs::create_dir(data.join("invocations")).expect("events");
        fs::write(data.join("invocations/event"), b"{}").expect("room");
        fs::write(data.join("secrets.json"), b"{}").expect("room");
        store(data, &index, "versions", "object");
        let linked = Linked::before(data, &data.join("backup")).expect("links");
        let moment = at_one_moment(data, &data.join("backup"), &linked).expect("a moment");
        let mut names: Vec<_> = moment.files.iter().map(|(name, _)| name.as_path()).collect();
        names.sort();
        assert_eq!(names, [Path::new("invocations/event"), Path::new("secrets.json")]);
        drop(moment);

        let to = data.join("copy");
        assert_eq!(backup(data, &to).expect("a copy"), Copied { objects: 1, bytes: 6 });
        assert_eq!(fs::read(to.join("invocations/event")).expect("the event"), b"{}");
        assert_eq!(fs::read(to.join("objects/object")).expect("the object"), b"object");
    }
}
