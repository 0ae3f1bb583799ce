//! More requests than the stack can run at once: who gets no environment is told so at once, no other 5xx is answered, and what
//! was acknowledged is there. `OVERLOAD_SECONDS` says for how long (2).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use local::Stack;
use reqwest::Method;
use serde_json::json;
use tests::{Answer, Client, Night, item, text};
use uuid::Uuid;

const CLIENTS: usize = 32;
/// What a client that was refused waits: much less than it is asked to.
const PAUSE: Duration = Duration::from_millis(10);

/// What one client saw: how often no function saw its request, the others' answers by status, and the jobs that it was told are
/// complete.
#[derive(Default)]
struct Seen {
    refused: usize,
    statuses: BTreeMap<u16, usize>,
    complete: Vec<String>,
    millis: Vec<u128>,
}

impl Seen {
    /// Repeats a request until it is let in.
    async fn insist<F: Future<Output = Answer>>(&mut self, request: impl Fn() -> F) -> Answer {
        loop {
            let started = Instant::now();
            let answer = request().await;
            if answer.is_throttled() {
                assert_eq!(answer.header("retry-after"), None, "no function has said it");
                self.refused += 1;
            } else {
                *self.statuses.entry(answer.status).or_default() += 1;
                if answer.status != 503 {
                    self.millis.push(started.elapsed().as_millis());
                    return answer;
                }
                assert_eq!(answer.body["detail"], "Service busy, please try again");
                assert!(answer.header("retry-after").is_some());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Takes jobs from their creation to their end until the time is over.
async fn client(night: &Night, miner: &Client, until: Instant) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < until {
        let (create, key) = (night.url(&format!("/jobs/{}/train", night.chute_id)), Uuid::new_v4().to_string());
        let headers = [("idempotency-key", key.as_str())];
        let job = seen.insist(|| night.user.send(Method::POST, &create, Vec::new(), &headers)).await.ok();
        let job_id = text(&job["job_id"]);
        let assignment = seen.insist(|| night.try_claim(miner, &job_id)).await.ok();
        let (url, nobody) = (text(&assignment["job_status_url"]), Client::nobody());
        let done = seen.insist(|| nobody.post(&url, json!({"status": "complete", "result": key.clone()}))).await.ok();
        assert_eq!((&done["terminal"], &done["result"]), (&json!(true), &json!(key)));
        seen.complete.push(job_id);
    }
    seen
}

/// Milliseconds of the middle one of a list.
fn median(mut millis: Vec<u128>) -> u128 {
    millis.sort_unstable();
    millis.get(millis.len() / 2).copied().unwrap_or_default()
}

#[tokio::test]
async fn more_requests_than_may_run_are_refused_and_nothing_is_lost() {
    let seconds = std::env::var("OVERLOAD_SECONDS").map_or(2, |text| text.parse().unwrap());
    let stack = Stack::builder().concurrency(4).queue_time(Duration::ZERO).start().await.unwrap();
    let night = Night::on(stack).await;
    let miner = night.miner().await;

    let alone = client(&night, &miner, Instant::now() + Duration::from_secs(seconds) / 20).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let crowd = join_all((0..CLIENTS).map(|_| client(&night, &miner, until))).await;
    let after = client(&night, &miner, Instant::now() + Duration::from_secs(seconds) / 20).await;

    let mut statuses = BTreeMap::<u16, usize>::new();
    for (status, count) in crowd.iter().flat_map(|seen| &seen.statuses) {
        *statuses.entry(*status).or_default() += count;
    }
    let refused: usize = crowd.iter().map(|seen| seen.refused).sum();
    let complete: Vec<_> = crowd.iter().chain([&alone, &after]).flat_map(|seen| seen.complete.clone()).collect();
    println!(
        "{CLIENTS} clients, 4 environments, {seconds} s: {refused} refused, {statuses:?}, {:.0} jobs and {:.0} served requests a second; median of \
         a served request: {} ms before, {} ms during, {} ms after",
        complete.len() as f64 / seconds as f64,
        statuses[&200] as f64 / seconds as f64,
        median(alone.millis),
        median(crowd.iter().flat_map(|seen| seen.millis.clone()).collect()),
        median(after.millis),
    );
    assert_eq!(after.refused, 0, "nobody is refused once the crowd is gone");
    assert_eq!(after.statuses.keys().collect::<Vec<_>>(), [&200]);
    assert!(refused > 0 && statuses.keys().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    let day = &text(&night.get(&complete[0]).await["created_at"])[..10];
    let usage = item(&night.stack, "RegistryTable", "pk", &format!("usage#{}#{day}", night.user_id)).await;
    assert_eq!(usage["total"]["N"], complete.len().to_string());
    for job_id in &complete {
        let job = item(&night.stack, "JobsTable", "job_id", job_id).await;
        assert_eq!((&job["status"]["S"], &job["attempt"]["N"]), (&json!("complete"), &json!("1")));
    }
    night.stack.shutdown().await;
}
