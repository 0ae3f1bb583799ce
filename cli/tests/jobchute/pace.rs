//! How often the command asks. Of two that differ only in what they were told, one asks again and again meanwhile and the other does not.

use std::process::Stdio;

use anyhow::Result;

use crate::{
    processes::until,
    proxy::{Seen, Way, all, bodies, due, first, through},
    run::{Variables, command, created, ended, keys, printed, stack, worked, working},
};

/// The longest time that the command waits for.
const LONG: u64 = 300;

fn is_look(request: &str) -> bool {
    request.starts_with("GET /jobs/")
}

fn is_claim(request: &str) -> bool {
    request == "PUT /jobs/claim"
}

fn is_beat(request: &str) -> bool {
    request.ends_with("/heartbeat")
}

fn is_upload(request: &str) -> bool {
    request.starts_with("PUT /") && request.contains("/outputs/")
}

/// How many requests of a kind there were.
fn count(seen: &Seen, what: impl Fn(&str) -> bool) -> usize {
    all(seen, what, |_| ()).len()
}

/// Through one proxy the answers to requests of a kind say to wait, through the other they say a second.
async fn two(variables: &Variables, what: fn(&str) -> bool, way: fn(u64) -> Way) -> Result<[(Variables, Seen); 2]> {
    let mut both = Vec::new();
    for seconds in [LONG, 1] {
        let mut variables = variables.clone();
        let seen =
            through(stack(), &mut variables, move |request| if what(request) { way(seconds) } else { Way::Pass })
                .await?;
        both.push((variables, seen));
    }
    both.try_into().map_err(|_| anyhow::Error::msg("two"))
}

/// Waits until the one that was told a second has asked so often that the other one, if it did not wait, would have asked again.
async fn only_the_second_asks_again(first: &Seen, second: &Seen, what: fn(&str) -> bool, times: usize) -> Result<()> {
    until("the first one does not ask", || count(first, what) > 0).await?;
    let before = count(second, what);
    until("the second one does not ask again", || count(second, what) >= before + times).await?;
    assert_eq!(count(first, what), 1);
    Ok(())
}

#[tokio::test]
async fn a_watch_asks_when_it_was_told_to_and_only_for_the_state_until_the_end() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let [(patient, seldom), (quick, often)] = two(&variables, is_look, Way::Wait).await?;
    let start = |variables| command(variables, &["watch", &job]).stdout(Stdio::piped()).spawn();
    let (mut waits, watches) = (start(&patient)?, start(&quick)?);
    only_the_second_asks_again(&seldom, &often, is_look, 4).await?;
    waits.kill().await?;
    assert_eq!(worked(&variables, r#"echo '{"n": 1}' >"$JOBCHUTE_RESULT""#).await?.0, 0);
    let shown = String::from_utf8(watches.wait_with_output().await?.stdout)?;
    assert!(shown.starts_with("pending\n") && shown.ends_with("complete\n{\"n\": 1}\n"), "{shown}");
    let mut views = all(&often, is_look, |request| request.query.clone());
    assert_eq!(views.pop().as_deref(), Some(""));
    assert!(views.iter().all(|view| view == "view=status"), "{views:?}");
    Ok(())
}

#[tokio::test]
async fn a_miner_looks_for_work_when_it_was_told_to() -> Result<()> {
    let variables = keys(stack()).await?;
    let [(patient, seldom), (quick, often)] = two(&variables, is_claim, Way::Wait).await?;
    let (mut waits, mut looks) = (working(&patient, "true")?, working(&quick, "true")?);
    only_the_second_asks_again(&seldom, &often, is_claim, 4).await?;
    waits.kill().await?;
    Ok(looks.kill().await?)
}

#[tokio::test]
async fn heartbeats_are_sent_when_they_are_wanted_and_tell_the_progress() -> Result<()> {
    let variables = keys(stack()).await?;
    let script = r#"echo 0.25 >"$JOBCHUTE_PROGRESS"; sleep 600"#;
    let mut miners = Vec::new();
    for is_pressed in [false, true] {
        let mut variables = variables.clone();
        let job = created(&variables).await?;
        let seen = through(stack(), &mut variables, move |request| {
            let is_told = request.ends_with("/claim") || is_beat(request);
            if is_pressed && is_told { Way::Change(due) } else { Way::Pass }
        })
        .await?;
        let miner = working(&variables, script)?;
        until("it does not claim", || count(&seen, |request| request.ends_with("/claim")) > 0).await?;
        miners.push((job, seen, miner));
    }
    let [(_, calm, first), (job, busy, second)] = &mut miners[..] else { anyhow::bail!("two") };
    until("no heartbeat comes", || count(busy, is_beat) > 3).await?;
    assert!(count(calm, is_beat) <= 1, "the first one comes half a minute after the claim");
    assert!(bodies(busy, is_beat).iter().any(|body| body == r#"{"progress":0.25}"#));
    let url = format!("{}/jobs/{job}?view=status", stack().url());
    let shown = jobchute::plain_http().build()?.get(url).bearer_auth(&variables["JOBCHUTE_KEY"]).send().await?;
    assert!(shown.text().await?.contains(r#""progress":0.25"#));
    first.kill().await?;
    Ok(second.kill().await?)
}

#[tokio::test]
async fn a_store_that_is_busy_says_when_to_try_again() -> Result<()> {
    let variables = keys(stack()).await?;
    let [(patient, seldom), (quick, often)] = two(&variables, is_upload, Way::Busy).await?;
    let script = r#"echo 1 >"$JOBCHUTE_OUTPUT/a""#;
    for _ in 0..2 {
        created(&variables).await?;
    }
    let (mut waits, mut tries) = (working(&patient, script)?, working(&quick, script)?);
    only_the_second_asks_again(&seldom, &often, is_upload, 3).await?;
    waits.kill().await?;
    Ok(tries.kill().await?)
}

#[tokio::test]
async fn a_busy_api_gets_its_job_and_one_that_is_busy_for_long_is_told_at_once() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let good = variables.clone();
    let busy = first(1, |request| request.ends_with("/run"));
    through(stack(), &mut variables, move |request| if busy(request).is_some() { Way::Busy(1) } else { Way::Pass })
        .await?;
    let job = created(&variables).await?;
    assert_eq!(printed(&variables, &["list"]).await?.lines().count(), 1);
    printed(&variables, &["delete", &job]).await?;

    let mut variables = good;
    let seen =
        through(stack(), &mut variables, |request| if is_look(request) { Way::Busy(3600) } else { Way::Pass }).await?;
    let (code, told) = ended(&variables, &["watch", &job]).await?;
    assert!(code == 6 && told.contains("503"), "{code}: {told}");
    assert_eq!(count(&seen, is_look), 1);
    Ok(())
}
