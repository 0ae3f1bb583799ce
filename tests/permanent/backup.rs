//! `local backup`: a copy of what a stack keeps, made while it runs.

use std::{fs, process::Command};

use crate::{
    life::Owner,
    server::{Machine, copy_folder, program},
};

fn backup(machine: &Machine, to: &std::path::Path) -> (bool, String) {
    let output = Command::new(program()).arg("backup").arg("--data").arg(machine.data()).arg("--to").arg(to).output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_everything_as_it_was_at_one_moment() {
    let machine = Machine::new(&["--parameter", "MultipartThresholdBytes=5242880"]).await;
    let server = machine.start().await;
    let owner = Owner::new(&machine, None).await;
    let before = [owner.live(true).await, owner.live(false).await];
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let (made, during) = tokio::join!(
        async { tokio::task::block_in_place(|| backup(&machine, &copy)) },
        futures_util::future::join_all((0..4).map(|_| owner.live(false)))
    );
    assert!(made.0, "{}", made.1);
    // What was lived meanwhile is as it was, and the copy is not written over.
    for job in before.iter().chain(&during) {
        owner.check(job, &machine.url()).await;
    }
    let (again, words) = backup(&machine, &copy);
    assert!(!again && words.contains("is there already"), "{words}");
    assert!(!machine.data().join("backup").exists() && !copy.with_file_name("copy.part").exists());
    server.kill().await;

    // The machine is lost; on another one, the copy is the data.
    fs::remove_dir_all(machine.data()).unwrap();
    copy_folder(&copy, &machine.data());
    let server = machine.start().await;
    for job in &before {
        owner.check(job, &machine.url()).await;
    }
    // What was under way when it was copied goes on, and there is no job without its files.
    for job in &during {
        owner.check_if_complete(job, &machine.url()).await;
    }
    owner.check(&owner.live(true).await, &machine.url()).await;
    server.kill().await;
}

#[tokio::test]
async fn a_folder_without_data_is_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let output = Command::new(program()).arg("backup").arg("--data").arg(folder.path()).arg("--to").arg(&to).output();
    let output = output.unwrap();
    assert!(!output.status.success() && !to.exists());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no stack has kept anything there"));
}
