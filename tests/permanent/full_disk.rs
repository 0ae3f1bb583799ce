//! A disk without room.

use std::{fs, io::Write};

use tests::Client;
use tokio::process::Command;

use crate::{
    life::Owner,
    server::{Machine, program},
};

/// Where a user may have no file system of its own, or none of its own that can be filled, nothing of this can be shown.
fn may_mount() -> bool {
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    unshare.status().is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_loses_nothing_and_goes_on_with_room() {
    if !may_mount() {
        eprintln!("left out: no file system can be mounted here");
        return;
    }
    let machine = Machine::new(&[]).await;
    fs::create_dir(machine.data()).unwrap();
    let mut command = Command::new("unshare");
    let mount = r#"mount -t tmpfs -o size=16m tmpfs "$1"; shift; exec "$@""#;
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", mount, "sh"]);
    command.arg(machine.data()).arg(program());
    let server = machine.start_by(command).await;
    let owner = Owner::new(&machine, None).await;
    let before = owner.live(false).await;
    let (job, upload_url) = owner.reported().await;
    let file = vec![7; 1 << 20];

    // All that is left, as a neighbour would take it. This process sees another file system there.
    let data = format!("/proc/{}/root{}", server.pid(), machine.data().display());
    let mut neighbour = fs::File::create(format!("{data}/neighbour")).unwrap();
    let block = vec![1; 1 << 12];
    while neighbour.write_all(&block).is_ok() {}

    let refused = owner.try_create().await;
    assert!([500, 503].contains(&refused.status), "{}", refused.body);
    let refused = tests::upload(&upload_url, &file).await;
    assert_eq!((refused.status, refused.body.as_str().unwrap().contains("InternalError")), (500, true));
    // What is there is read as ever.
    owner.check(&before, &machine.url()).await;

    fs::remove_file(format!("{data}/neighbour")).unwrap();
    drop(neighbour);
    assert_eq!(tests::upload(&upload_url, &file).await.status, 200);
    let done = Client::nobody().put(&job, serde_json::Value::Null).await.ok();
    assert_eq!(done["status"], "complete");
    owner.check(&before, &machine.url()).await;
    owner.check(&owner.live(false).await, &machine.url()).await;
    server.kill().await;
}
