//! One local stack for all tests of a process.

use std::{
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use local::Stack;
use serde_json::Value;
use tokio::runtime::{Builder, Handle};

/// The stack of this process.
pub fn stack() -> &'static Stack {
    &running().0
}

/// Invokes a function of this process's stack directly.
pub async fn invoke(package: &'static str, event: Value) -> anyhow::Result<Value> {
    let (stack, runtime) = running();
    // Not on the test's runtime: what this may start serves other tests too.
    runtime.spawn(stack.invoke(package, event)).await.expect("an invocation ends")
}

/// A stack in which a request waits for an environment nearly as long as for its answer: tests ask more at once than there are.
#[must_use]
pub fn patient() -> local::Builder {
    Stack::builder().queue_time(Duration::from_secs(25))
}

/// The stack runs on a thread of its own, since every test has a runtime that ends with it. Its functions end when the
/// process does: nobody answers them any more.
fn running() -> &'static (Stack, Handle) {
    static STACK: OnceLock<(Stack, Handle)> = OnceLock::new();
    STACK.get_or_init(|| {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                send.send((patient().start().await.expect("the stack starts"), Handle::current())).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().expect("the stack starts")
    })
}
