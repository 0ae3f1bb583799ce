//! `kill -9`, again and again.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use tests::{Authority, Reply, text};
use uuid::Uuid;

use crate::{life::Owner, server::Machine};

const KILLS: usize = 50;
/// Jobs that are lived side by side.
const CALLERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_under_load_lose_nothing_that_was_answered() {
    let authority = Authority::default();
    let mut receiver = authority.receiver(|_| Reply::OK).await;
    let options = ["--parameter", "WebhookNetworks=127.0.0.0/8", "--parameter", "MultipartThresholdBytes=5242880"];
    let machine = Machine::new(&options).await.with("SSL_CERT_FILE", authority.file());
    let mut server = machine.start().await;
    let owner = Owner::new(&machine, Some(format!("{}/end", receiver.url))).await;

    let over = AtomicBool::new(false);
    let callers = join_all((0..CALLERS).map(async |caller| {
        let mut lived = Vec::new();
        while !over.load(Ordering::Relaxed) {
            lived.push(owner.live((lived.len() + caller).is_multiple_of(CALLERS)).await);
        }
        lived
    }));
    let killer = async {
        let mut answered = owner.answered();
        for _ in 0..KILLS {
            // After so many answers more, whatever is under way then.
            let some = 1 + u64::from(Uuid::new_v4().as_bytes()[0] % 24);
            let until = *answered.borrow() + some;
            answered.wait_for(|answered| *answered >= until).await.unwrap();
            server.kill().await;
            server = machine.start().await;
        }
        over.store(true, Ordering::Relaxed);
        server
    };
    let (lived, server) = tokio::join!(callers, killer);
    let lived: Vec<_> = lived.into_iter().flatten().collect();
    assert_eq!(*machine.starts().borrow(), 1 + KILLS as u64);
    eprintln!("{} answers, {} jobs, {KILLS} kills", *owner.answered().borrow(), lived.len());

    let mut untold: BTreeSet<_> = lived.iter().map(|job| job.job_id.clone()).collect();
    for job in &lived {
        owner.check(job, &machine.url()).await;
    }
    while !untold.is_empty() {
        untold.remove(&text(&receiver.next().await.json()["data"]["job_id"]));
    }
    server.kill().await;
}
