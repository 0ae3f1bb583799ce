//! `cargo run -- --artifacts DIR`: the local stack runs what `sam build` has made.

use std::{fs, os::unix::fs::symlink};

use local::Stack;
use tests::{Client, functions, stack};

#[tokio::test]
async fn what_sam_has_built_is_run() {
    // Built beside this test, when the stack is first asked for; `sam build` lays the same binaries out so.
    let _ = stack();
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for function in functions() {
        fs::create_dir(folder.path().join(&function.id)).unwrap();
        symlink(built.join(&function.package), folder.path().join(&function.id).join("bootstrap")).unwrap();
    }
    let sam = Stack::builder().artifacts(folder.path()).check_functions(true).start().await.unwrap();
    assert_eq!(Client::nobody().get(&format!("{}/jobs/x", sam.url())).await.status, 401);

    let missing = folder.path().join("GetJobFunction/bootstrap");
    fs::remove_file(&missing).unwrap();
    let refused = Stack::builder().artifacts(folder.path()).start().await.expect_err("one is missing");
    assert_eq!(refused.to_string(), format!("there is no {}: run `sam build`", missing.display()));
}
