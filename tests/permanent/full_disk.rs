//! A disk without room.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tests::Client;
use tokio::process::Command;

use crate::{
    life::Owner,
    server::{Machine, program},
};

/// Whether a process may have a file system of its own, which this one does not see.
fn has_namespaces() -> bool {
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

/// A small file system that everybody sees.
struct Mounted(PathBuf);

impl Mounted {
    /// Where sudo asks for no password.
    fn by_sudo(folder: &Path) -> Option<Self> {
        let owner = fs::metadata(folder).unwrap();
        let options = format!("size=16m,mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mut mount = std::process::Command::new("sudo");
        mount.args(["-n", "mount", "-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sudo").args(["-n", "umount", "--lazy"]).arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_nothing_and_goes_on_with_room() {
    let machine = Machine::new(&[]).await;
    fs::create_dir(machine.data()).unwrap();
    let mut command = Command::new(program());
    let mut mounted = None;
    if has_namespaces() {
        command = Command::new("unshare");
        let mount = r#"mount -t tmpfs -o size=16m tmpfs "$1"; shift; exec "$@""#;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", mount, "sh"]);
        command.arg(machine.data()).arg(program());
    } else {
        mounted = Mounted::by_sudo(&machine.data());
        if mounted.is_none() {
            let why = "no file system can be mounted here, neither by unshare nor by sudo";
            assert!(env::var_os("CI").is_none_or(|it| it.is_empty()), "{why}");
            // `eprintln!` is heard of a test that fails.
            writeln!(io::stderr(), "left out: a full disk: {why}").unwrap();
            return;
        }
    }
    let server = machine.start_by(command).await;
    let owner = Owner::new(&machine, None).await;
    let before = owner.live(false).await;
    let (job, upload_url) = owner.reported().await;
    let file = vec![7; 1 << 20];

    // All that is left, as a neighbour would take it. Unless it is mounted for everybody, this process sees another file system there.
    let root = if mounted.is_some() { String::new() } else { format!("/proc/{}/root", server.pid()) };
    let neighbours = PathBuf::from(format!("{root}{}/neighbour", machine.data().display()));
    let mut neighbour = fs::File::create(&neighbours).unwrap();
    let block = vec![1; 1 << 12];
    while neighbour.write_all(&block).is_ok() {}

    let refused = owner.try_create().await;
    assert!([500, 503].contains(&refused.status), "{}", refused.body);
    let refused = tests::upload(&upload_url, &file).await;
    assert_eq!((refused.status, refused.body.as_str().unwrap().contains("InternalError")), (500, true));
    // What is there is read as ever.
    owner.check(&before, &machine.url()).await;

    fs::remove_file(&neighbours).unwrap();
    drop(neighbour);
    assert_eq!(tests::upload(&upload_url, &file).await.status, 200);
    let done = Client::nobody().put(&job, serde_json::Value::Null).await.ok();
    assert_eq!(done["status"], "complete");
    owner.check(&before, &machine.url()).await;
    owner.check(&owner.live(false).await, &machine.url()).await;
    server.kill().await;
}
