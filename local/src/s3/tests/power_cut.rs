//! A power cut, as near as it can be had without one: the disk has what it was told to keep, at the moment when it was told, and nothing
//! else. What SQLite does with its own files is SQLite's to test; here it is made sure that it was asked to.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::*;
use crate::{disk, s3::blobs::Settle};

/// A folder on a disk that forgets.
#[derive(Clone)]
struct Disk {
    folder: Arc<TempDir>,
    kept: Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>,
    /// Whether it refuses to keep anything more.
    broken: Arc<Mutex<bool>>,
}

impl Disk {
    fn new() -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        Self { folder, kept: Arc::default(), broken: Arc::default() }
    }

    fn store(&self) -> Store {
        let disk = self.clone();
        let settle: Settle = Arc::new(move |file| disk.settle(file));
        store_in(self.folder.path(), Some(settle))
    }

    fn settle(&self, file: &Path) -> io::Result<()> {
        if *self.broken.lock().expect("no panic") {
            return Err(io::Error::other("broken"));
        }
        disk::settle(file)?;
        // The next one may come as soon as this one is kept, so it is looked at before.
        self.holds_what_is_named();
        self.kept.lock().expect("no panic").insert(file.to_owned(), fs::read(file)?);
        Ok(())
    }

    /// Whether all that the index names, which SQLite has on the disk, would be there if the power went now.
    fn holds_what_is_named(&self) {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let index = Connection::open_with_flags(self.folder.path().join("s3.sqlite"), flags).expect("an index");
        let sql = "SELECT blob, size FROM versions WHERE blob IS NOT NULL UNION SELECT blob, size FROM parts";
        let mut named = index.prepare(sql).expect("a statement");
        let named = named.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, usize>(1)?)));
        let kept = self.kept.lock().expect("no panic");
        for (blob, size) in named.expect("rows").map(|row| row.expect("a row")) {
            let found = kept.get(&self.folder.path().join("objects").join(&blob)).map(Vec::len);
            assert_eq!(found, Some(size), "{blob} is named and would be gone");
        }
    }

    /// What is found when the power is back.
    fn after_a_power_cut(&self) -> (Store, TempDir) {
        self.holds_what_is_named();
        let folder = TempDir::new().expect("a folder");
        fs::create_dir(folder.path().join("objects")).expect("a folder");
        for name in ["s3.sqlite", "s3.sqlite-wal"] {
            fs::copy(self.folder.path().join(name), folder.path().join(name)).expect("SQLite's own");
        }
        for (file, content) in &*self.kept.lock().expect("no panic") {
            let name = file.file_name().expect("a name");
            fs::write(folder.path().join("objects").join(name), content).expect("a file");
        }
        (store_in(folder.path(), None), folder)
    }
}

fn store_in(folder: &Path, settle: Option<Settle>) -> Store {
    let blobs = Blobs::open(&folder.join("objects"), settle).expect("a folder for bytes");
    let index = Index::open(Some(&folder.join("s3.sqlite"))).expect("an index");
    Store { buckets: BTreeMap::from([(BUCKET.to_owned(), true)]), unversioned: 0.into(), index, blobs }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_power_cut() {
    let disk = Disk::new();
    let store = disk.store();
    let whole = vec![1; 5 * MIB];
    let first = put(&store, "k", b"first").await;
    put(&store, "k", &whole).await;
    copy(&store, "k", "copy").await;
    disk.holds_what_is_named();
    let upload = begin(&store).await;
    let parts =
        vec![part(&store, &upload, 1, &whole).await.expect("a part"), part_copy(&store, &upload, 2, "copy").await];
    let (cut, _folder) = disk.after_a_power_cut();
    // The upload goes on where it was.
    complete(&cut, &upload, parts.clone()).await.expect("an object");
    assert_eq!(get(&cut, "k", None, None).await.expect("an object").len(), 10 * MIB);

    complete(&store, &upload, parts).await.expect("an object");
    let (cut, _folder) = disk.after_a_power_cut();
    assert_eq!(get(&cut, "k", Some(&first), None).await.expect("a version"), b"first");
    assert_eq!(get(&cut, "copy", None, None).await.expect("an object"), whole);
    assert_eq!(get(&cut, "k", None, None).await.expect("an object").len(), 10 * MIB);
}

fn source(key: &str) -> CopySource {
    CopySource::Bucket { bucket: BUCKET.into(), key: key.into(), version_id: None }
}

async fn copy(store: &Store, from: &str, to: &str) {
    let input = CopyObjectInput::builder().bucket(BUCKET.into()).copy_source(source(from)).key(to.into()).build();
    store.copy_object(request(input.expect("an input"))).await.expect("a copy");
}

async fn part_copy(store: &Store, upload_id: &str, part_number: i32, from: &str) -> CompletedPart {
    let input = UploadPartCopyInput::builder().bucket(BUCKET.into()).key("k".into()).copy_source(source(from));
    let input = input.part_number(part_number).upload_id(upload_id.into()).build().expect("an input");
    let copied = store.upload_part_copy(request(input)).await.expect("a part").output.copy_part_result;
    let e_tag = copied.expect("a result").e_tag;
    CompletedPart { e_tag, part_number: Some(part_number), ..Default::default() }
}

#[tokio::test]
async fn what_the_disk_does_not_keep_is_not_answered() {
    let disk = Disk::new();
    let store = disk.store();
    put(&store, "a", b"first").await;
    let files = || fs::read_dir(disk.folder.path().join("objects")).expect("a folder").count();
    *disk.broken.lock().expect("no panic") = true;
    let input = PutObjectInput { bucket: BUCKET.into(), key: "a".into(), body: bytes(b"second"), ..Default::default() };
    assert_eq!(code(store.put_object(request(input)).await), "InternalError");
    assert_eq!(get(&store, "a", None, None).await.expect("the former"), b"first");
    assert_eq!(files(), 1);
    *disk.broken.lock().expect("no panic") = false;
    put(&store, "a", b"third").await;
    assert_eq!(get(&store, "a", None, None).await.expect("an object"), b"third");
}

#[tokio::test]
async fn what_a_kill_has_left_behind_goes_at_the_next_start() {
    let disk = Disk::new();
    let store = disk.store();
    put(&store, "a", b"first").await;
    let objects = disk.folder.path().join("objects");
    fs::write(objects.join("half"), b"fir").expect("a file");
    store.blobs.sweep(&store.index.blobs().expect("blobs")).expect("swept");
    assert_eq!(fs::read_dir(objects).expect("a folder").count(), 1);
    assert_eq!(get(&store, "a", None, None).await.expect("an object"), b"first");
}

/// SQLite waits for the disk at each commit: its own default, which the engine of DynamoDB leaves as it is, and ours.
#[test]
fn databases_wait_for_the_disk() {
    let folder = TempDir::new().expect("a folder");
    let synchronous = |connection: &Connection| -> (String, u8) {
        let of = |name: &str| format!("PRAGMA {name}");
        (
            connection.query_row(&of("journal_mode"), [], |row| row.get(0)).expect("a mode"),
            connection.query_row(&of("synchronous"), [], |row| row.get(0)).expect("a number"),
        )
    };
    let full = ("wal".to_owned(), 2);
    let file = folder.path().join("dynamodb.sqlite");
    let engine = dynoxide::Database::new(file.to_str().expect("UTF-8")).expect("an engine");
    assert_eq!(synchronous(&Connection::open(&file).expect("the same file")), full);
    drop(engine);
    let index = Index::open(Some(&folder.path().join("s3.sqlite"))).expect("an index");
    assert_eq!(synchronous(&index.lock()), full);
}

/// What it costs: `cargo test -p local power_cut::a_small_object --release -- --nocapture`.
#[tokio::test]
async fn a_small_object_is_as_quick_as_before_where_nothing_is_kept() {
    let median = async |store: &Store| {
        let mut times = Vec::new();
        for number in 0..101 {
            let started = Instant::now();
            put(store, &format!("key{number}"), &[7; 4096]).await;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        times[50]
    };
    let folder = TempDir::new().expect("a folder");
    let kept = median(&store_in(folder.path(), Some(Arc::new(disk::settle)))).await;
    let forgotten = median(&store().0).await;
    eprintln!("a PUT of 4 KiB: {kept:?} kept, {forgotten:?} in memory");
    assert!(kept > Duration::ZERO);
}
