//! What a stack has on disk while it runs.

use std::fs;

use crate::server::Machine;

#[tokio::test]
async fn a_kill_leaves_no_temporary_folder() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(&[]).await.with("TMPDIR", folder.path());
    let server = machine.start().await;
    let left = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left(), 1, "one folder, with all that functions have");
    server.kill().await;
    // Whoever removes it is told by the end of a pipe, which comes with the process's.
    let gone = async {
        while left() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("it goes");
}
