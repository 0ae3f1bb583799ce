//! What the bucket holds: versions, uploads under way and their parts, in SQLite. The bytes are in [`super::blobs`].

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};
use s3s::dto::{ETag, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checksums::Checksums;

/// What is committed is there after a power cut, each time. ("PRAGMA synchronous": in WAL mode, NORMAL would lose the last commits.)
const KEPT: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS versions (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
        blob TEXT, size INTEGER NOT NULL, etag TEXT NOT NULL, modified INTEGER NOT NULL, attributes TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_key ON versions (bucket, key, sequence);
    CREATE TABLE IF NOT EXISTS uploads (
        upload TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, initiated INTEGER NOT NULL, attributes TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS parts (
        upload TEXT NOT NULL, number INTEGER NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
        modified INTEGER NOT NULL, PRIMARY KEY (upload, number)
    );
";

const VERSION_COLUMNS: &str = "key, version, blob, size, etag, modified, attributes, sequence";

/// The version of what was stored when its bucket kept none.
const UNVERSIONED: &str = "null";

/// What an object carries besides its bytes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Attributes {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) checksums: Checksums,
}

/// Bytes that were stored.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) blob: String,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
}

/// One version of an object, or a delete marker.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) key: String,
    pub(super) id: String,
    /// `None` is a delete marker.
    pub(super) content: Option<Content>,
    pub(super) modified: Timestamp,
    pub(super) attributes: Attributes,
    /// Whether it is the key's newest.
    pub(super) latest: bool,
}

/// A version to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewVersion<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// Whether it is a version of its own; otherwise it takes the place of the last that was none.
    pub(super) versioned: bool,
    /// `None` is a delete marker.
    pub(super) content: Option<&'a Content>,
    pub(super) attributes: &'a Attributes,
    /// The upload that ends with it.
    pub(super) upload: Option<&'a str>,
}

/// An upload under way.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) initiated: Timestamp,
    pub(super) attributes: Attributes,
}

/// A part of an upload under way.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) content: Content,
    pub(super) modified: Timestamp,
}

/// The index of every bucket. A call takes well under a millisecond, or where it is kept as long as the disk needs to say so, or as a backup
/// closes it to writers (`backup.rs`): none leaves the executor's thread.
#[derive(Debug)]
pub(super) struct Index(Mutex<Connection>);

impl Index {
    pub(super) fn open(file: Option<&Path>) -> Result<Self> {
        let connection = match file {
            Some(file) => Connection::open(file).with_context(|| format!("can't open {}", file.display()))?,
            None => Connection::open_in_memory().context("can't open an index in memory")?,
        };
        connection.execute_batch(KEPT).context("can't prepare the index of S3")?;
        connection.execute_batch(SCHEMA).context("can't prepare the index of S3")?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Adds a version, unless `accept` refuses with a look at the newest one. Tells the blobs that nothing names any more.
    pub(super) fn add<E: From<rusqlite::Error>>(
        &self,
        new: &NewVersion<'_>,
        accept: impl FnOnce(Option<&Version>) -> Result<(), E>,
    ) -> Result<(Version, Vec<String>), E> {
        let NewVersion { bucket, key, versioned, content, attributes, upload } = *new;
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        accept(newest(&transaction, bucket, key)?.as_ref())?;
        let mut freed = Vec::new();
        if !versioned {
            freed.extend(remove(&transaction, bucket, key, UNVERSIONED)?);
        }
        if let Some(upload) = upload {
            freed.extend(end_upload(&transaction, upload)?);
        }
        let id = if versioned { Uuid::new_v4().simple().to_string() } else { UNVERSIONED.to_owned() };
        let modified = now();
        transaction.execute(
            "INSERT INTO versions (bucket, key, version, blob, size, etag, modified, attributes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                bucket,
                key,
                id,
                content.map(|c| &c.blob),
                content.map_or(0, |c| c.size),
                content.map_or("", |c| &c.etag),
                modified,
                json(attributes)
            ],
        )?;
        transaction.commit()?;
        let version = Version {
            key: key.to_owned(),
            id,
            content: content.cloned(),
            modified: timestamp(modified),
            attributes: attributes.clone(),
            latest: true,
        };
        Ok((version, freed))
    }

    /// One version, the newest when no id is given.
    pub(super) fn find(&self, bucket: &str, key: &str, id: Option<&str>) -> rusqlite::Result<Option<Version>> {
        let connection = self.lock();
        let Some(id) = id else { return newest(&connection, bucket, key) };
        let sql = format!("SELECT {VERSION_COLUMNS} FROM versions WHERE bucket = ?1 AND key = ?2 AND version = ?3");
        connection.prepare_cached(&sql)?.query_row(params![bucket, key, id], version).optional()
    }

    /// Removes one version for good; its blob is returned.
    pub(super) fn remove(&self, bucket: &str, key: &str, id: &str) -> rusqlite::Result<Option<String>> {
        remove(&self.lock(), bucket, key, id)
    }

    /// Removes every version of a key; their blobs are returned.
    pub(super) fn remove_all(&self, bucket: &str, key: &str) -> rusqlite::Result<Vec<String>> {
        remove_all(&self.lock(), bucket, key)
    }

    /// Visits the versions with a prefix by key, each key's newest first, from the key `from` on, until `visit` is false.
    pub(super) fn walk(
        &self,
        bucket: &str,
        prefix: &str,
        from: &str,
        mut visit: impl FnMut(Version) -> bool,
    ) -> rusqlite::Result<()> {
        let connection = self.lock();
        let sql = format!(
            "SELECT {VERSION_COLUMNS} FROM versions WHERE bucket = ?1 AND key >= ?2 ORDER BY key, sequence DESC"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![bucket, prefix.max(from)])?;
        let mut last_key = String::new();
        while let Some(row) = rows.next()? {
            let mut found = version(row)?;
            if !found.key.starts_with(prefix) {
                break;
            }
            found.latest = found.key != last_key;
            last_key.clone_from(&found.key);
            if !visit(found) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn begin_upload(&self, bucket: &str, key: &str, attributes: &Attributes) -> rusqlite::Result<String> {
        let id = Uuid::new_v4().simple().to_string();
        self.lock().execute(
            "INSERT INTO uploads VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, bucket, key, now(), json(attributes)],
        )?;
        Ok(id)
    }

    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> rusqlite::Result<Option<Upload>> {
        let sql =
            "SELECT upload, key, initiated, attributes FROM uploads WHERE bucket = ?1 AND key = ?2 AND upload = ?3";
        self.lock().query_row(sql, params![bucket, key, id], upload).optional()
    }

    /// Uploads under way with a prefix, by key and then by age.
    pub(super) fn uploads(&self, bucket: &str, prefix: &str) -> rusqlite::Result<Vec<Upload>> {
        let connection = self.lock();
        let sql = "SELECT upload, key, initiated, attributes FROM uploads WHERE bucket = ?1 AND substr(key, 1, length(?2)) = ?2
                   ORDER BY key, initiated, upload";
        connection.prepare_cached(sql)?.query_map(params![bucket, prefix], upload)?.collect()
    }

    /// Adds a part to an upload, unless it has ended; the blob of the part that it replaces is returned.
    pub(super) fn add_part(&self, id: &str, number: i32, content: &Content) -> rusqlite::Result<Option<Vec<String>>> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let sql = "SELECT 1 FROM uploads WHERE upload = ?1";
        if transaction.query_row(sql, params![id], |_| Ok(())).optional()?.is_none() {
            return Ok(None);
        }
        let sql = "DELETE FROM parts WHERE upload = ?1 AND number = ?2 RETURNING blob";
        let replaced: Option<String> = transaction.query_row(sql, params![id, number], |row| row.get(0)).optional()?;
        transaction.execute(
            "INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, number, content.blob, content.size, content.etag, now()],
        )?;
        transaction.commit()?;
        Ok(Some(replaced.into_iter().collect()))
    }

    /// An upload's parts by number.
    pub(super) fn parts(&self, id: &str) -> rusqlite::Result<Vec<Part>> {
        let connection = self.lock();
        let sql = "SELECT number, blob, size, etag, modified FROM parts WHERE upload = ?1 ORDER BY number";
        let part = |row: &Row<'_>| {
            Ok(Part {
                number: row.get(0)?,
                content: Content { blob: row.get(1)?, size: row.get(2)?, etag: row.get(3)? },
                modified: timestamp(row.get(4)?),
            })
        };
        connection.prepare_cached(sql)?.query_map(params![id], part)?.collect()
    }

    /// Ends an upload without an object; its parts' blobs are returned. `QueryReturnedNoRows` when it has ended already.
    pub(super) fn abort(&self, id: &str) -> rusqlite::Result<Vec<String>> {
        end_upload(&self.lock(), id)
    }

    /// Every blob that something names.
    pub(super) fn blobs(&self) -> rusqlite::Result<HashSet<String>> {
        Ok(named_blobs(&self.lock())?.into_iter().map(|(blob, _)| blob).collect())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blobs that something names, with their sizes.
pub(crate) fn named_blobs(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    let sql = "SELECT blob, size FROM versions WHERE blob IS NOT NULL UNION SELECT blob, size FROM parts";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn newest(connection: &Connection, bucket: &str, key: &str) -> rusqlite::Result<Option<Version>> {
    let sql =
        format!("SELECT {VERSION_COLUMNS} FROM versions WHERE bucket = ?1 AND key = ?2 ORDER BY sequence DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row(params![bucket, key], version).optional()
}

fn remove(connection: &Connection, bucket: &str, key: &str, id: &str) -> rusqlite::Result<Option<String>> {
    let sql = "DELETE FROM versions WHERE bucket = ?1 AND key = ?2 AND version = ?3 RETURNING blob";
    let removed = connection.query_row(sql, params![bucket, key, id], |row| row.get(0)).optional();
    Ok(removed?.flatten())
}

fn remove_all(connection: &Connection, bucket: &str, key: &str) -> rusqlite::Result<Vec<String>> {
    let mut delete = connection.prepare_cached("DELETE FROM versions WHERE bucket = ?1 AND key = ?2 RETURNING blob")?;
    let blobs = delete.query_map(params![bucket, key], |row| row.get::<_, Option<String>>(0))?;
    Ok(blobs.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn end_upload(connection: &Connection, id: &str) -> rusqlite::Result<Vec<String>> {
    if connection.execute("DELETE FROM uploads WHERE upload = ?1", params![id])? == 0 {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let mut delete = connection.prepare_cached("DELETE FROM parts WHERE upload = ?1 RETURNING blob")?;
    delete.query_map(params![id], |row| row.get(0))?.collect()
}

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let blob: Option<String> = row.get(2)?;
    let (size, etag) = (row.get(3)?, row.get(4)?);
    Ok(Version {
        key: row.get(0)?,
        id: row.get(1)?,
        content: blob.map(|blob| Content { blob, size, etag }),
        modified: timestamp(row.get(5)?),
        attributes: attributes(row, 6)?,
        latest: true,
    })
}

fn upload(row: &Row<'_>) -> rusqlite::Result<Upload> {
    Ok(Upload { id: row.get(0)?, key: row.get(1)?, initiated: timestamp(row.get(2)?), attributes: attributes(row, 3)? })
}

fn attributes(row: &Row<'_>, column: usize) -> rusqlite::Result<Attributes> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn json(attributes: &Attributes) -> String {
    serde_json::to_string(attributes).expect("attributes are serialisable")
}

pub(super) fn etag(content: &Content) -> Option<ETag> {
    Some(ETag::Strong(content.etag.clone()))
}

pub(super) fn size(bytes: u64) -> Option<i64> {
    i64::try_from(bytes).ok()
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or_default()
}

fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(millis))
}
