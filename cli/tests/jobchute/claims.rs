//! A miner that looks for jobs.

use anyhow::{Context, Result};

use crate::{
    processes::{signal, until},
    proxy::{Way, all, bodies, first, through},
    run::{created, end_of, ended, keys, printed, stack, worked, working},
};

#[tokio::test]
async fn a_miner_signs_with_its_hotkey() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let printed_hotkey = printed(&variables, &["hotkey"]).await?;
    let field = |name: &str| {
        let line = printed_hotkey.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned()).context("a hotkey")
    };
    let miner = stack().invoke("admin", serde_json::json!({"command": "create_user", "roles": ["miner"]})).await?;
    let register =
        serde_json::json!({"command": "register_hotkey", "user_id": miner["user_id"], "hotkey": field("address")?});
    stack().invoke("admin", register).await?;
    variables.remove("JOBCHUTE_MINER_KEY");
    variables.insert("JOBCHUTE_MINER_HOTKEY".to_owned(), field("seed")?);

    let job = printed(&variables, &["create", &chute, "run"]).await?;
    let worked = printed(&variables, &["work", "--chute", &chute, "--once", "--", "true"]).await?;
    assert!(worked.ends_with(&format!("{job}: complete")), "{worked}");
    Ok(())
}

#[tokio::test]
async fn a_busy_worker_makes_one_request_for_each_job_and_takes_them_of_several_chutes() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let first = variables["JOBCHUTE_CHUTE"].clone();
    let key = variables["JOBCHUTE_KEY"].clone();
    let user = key.split('.').nth(1).context("a user")?;
    let second = uuid::Uuid::new_v4().to_string();
    let chute = serde_json::json!({"chute_id": second, "user_id": uuid::Uuid::try_parse(user)?, "name": "second", "public": true,
        "version": "1", "methods": [{"name": "run"}]});
    stack().invoke("admin", serde_json::json!({"command": "put_chute", "chute": chute})).await?;
    let mut jobs = Vec::new();
    for chute in [&first, &second, &first, &second] {
        jobs.push(printed(&variables, &["create", chute, "run"]).await?);
    }
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    let arguments = ["work", "--chute", &first, "--chute", &second, "--", "true"];
    let mut command = crate::run::command(&variables, &arguments);
    let worker = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
    for job in &jobs {
        assert_eq!(ended(&variables, &["watch", job]).await?.0, 0);
    }
    signal(worker.id().context("it runs")?, "TERM")?;
    let (_, told) = end_of(worker).await?;
    assert!(told.starts_with(&format!("looking for jobs of chutes {first}, {second}\n")), "{told}");
    let claimed: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("claimed ")).collect();
    assert_eq!(claimed, jobs, "the longest-waiting first");
    let asked = crate::proxy::all(&seen, |request| request.ends_with("/claim"), |request| request.query.clone());
    assert!(asked.iter().all(|query| *query == format!("chute_id={first}&chute_id={second}")), "{asked:?}");
    // One for each job, and one or more that found none.
    let looks = crate::proxy::all(&seen, |request| request.ends_with("/claimable"), |_| ()).len();
    assert!((4..=8).contains(&asked.len()) && looks == 0, "{} requests", asked.len());
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_the_same_job_the_next_time() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let (job, other) = (created(&variables).await?, created(&variables).await?);
    let cut = first(1, |request| request.ends_with("/claim"));
    let seen = through(stack(), &mut variables, move |request| match cut(request) {
        Some(0) => Way::Cut(0.5),
        _ => Way::Pass,
    })
    .await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    assert_eq!(bodies(&seen, |request| request.ends_with("/claim")).len(), 2);
    assert!(printed(&variables, &["list"]).await?.contains(&format!("{other}  ")));
    Ok(())
}

#[tokio::test]
async fn a_miner_outlives_a_refusal_of_its_look_for_work() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let refuses = first(2, |request| request.ends_with("/claim"));
    let seen = through(stack(), &mut variables, move |request| match refuses(request) {
        Some(1) => Way::Refuse(400),
        _ => Way::Pass,
    })
    .await?;
    let worker = working(&variables, "true")?;
    assert_eq!(ended(&variables, &["watch", &job]).await?.0, 0);
    until("it looks no more", || bodies(&seen, |request| request.ends_with("/claim")).len() > 2).await?;
    let next = created(&variables).await?;
    assert_eq!(ended(&variables, &["watch", &next]).await?.0, 0);
    signal(worker.id().context("it runs")?, "TERM")?;
    end_of(worker).await?;
    // From the beginning it is the user's mistake.
    variables.insert("JOBCHUTE_MINER_KEY".to_owned(), "cpk_wrong".to_owned());
    assert_eq!(worked(&variables, "true").await?.0, 4);
    Ok(())
}

#[tokio::test]
async fn a_miner_whose_key_has_ended_asks_less_and_less_and_ends() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let is_claim = |request: &str| request.ends_with("/claim");
    let welcome = first(1, is_claim);
    let seen = through(stack(), &mut variables, move |request| match welcome(request) {
        None if is_claim(request) => Way::Refuse(401),
        _ => Way::Pass,
    })
    .await?;
    // An hour in ten seconds.
    variables.insert("JOBCHUTE_SPEED".to_owned(), "360".to_owned());
    let (code, told) = end_of(working(&variables, "true")?).await?;
    assert!(code == 4 && told.contains("401"), "{code}: {told}");
    // 4, 8, … 256, and then each 300 seconds.
    let claims = all(&seen, is_claim, |_| ()).len();
    assert!((9..30).contains(&claims), "{claims}");
    Ok(())
}

#[tokio::test]
async fn a_workers_claims_say_which_process_asks() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let seen = through(stack(), &mut variables, |_| Way::Pass).await?;
    for _ in 0..2 {
        created(&variables).await?;
        assert_eq!(worked(&variables, "true").await?.0, 0);
    }
    let mut workers: Vec<String> = Vec::new();
    for body in bodies(&seen, |request| request.ends_with("/claim")) {
        let body: serde_json::Value = serde_json::from_str(&body)?;
        workers.push(body["worker"].as_str().context("no worker")?.to_owned());
    }
    assert!(workers.len() == 2 && workers[0] != workers[1], "{workers:?}");
    assert!(workers.iter().all(|worker| (1..=64).contains(&worker.len())));
    Ok(())
}

#[tokio::test]
async fn a_chute_that_does_not_exist_is_told_at_once() -> Result<()> {
    let mut variables = keys(stack()).await?;
    through(stack(), &mut variables, |request| if request.ends_with("/claim") { Way::Refuse(404) } else { Way::Pass })
        .await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 3 && told.contains("404"), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_miner_without_work_says_what_it_looks_for() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let (_, told) = worked(&variables, "true").await?;
    let chute = &variables["JOBCHUTE_CHUTE"];
    assert!(told.starts_with(&format!("looking for jobs of chute {chute}\nclaimed {job}\n")), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_is_named_at_once() -> Result<()> {
    let good = keys(stack()).await?;
    let (job, chute) = (uuid::Uuid::nil().to_string(), good["JOBCHUTE_CHUTE"].clone());
    let work = ["work", "--chute", &chute, "--", "true"];
    for (name, value) in [
        ("JOBCHUTE_MINER_KEY", "cpk_1\r"),
        ("JOBCHUTE_KEY", "cpk 1"),
        ("JOBCHUTE_URL", "localhost:3000"),
        ("JOBCHUTE_URL", "x"),
    ] {
        let mut variables = good.clone();
        variables.insert(name.to_owned(), value.to_owned());
        let watch = ["watch", job.as_str()];
        let commands = if name == "JOBCHUTE_MINER_KEY" { vec![&work[..]] } else { vec![&["list"][..], &watch] };
        for arguments in commands {
            let (code, told) = ended(&variables, arguments).await?;
            assert!(code == 1 && told.starts_with(&format!("jobchute: {name} ")), "{code}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
    let mut variables = good.clone();
    for name in ["JOBCHUTE_KEY", "JOBCHUTE_HOTKEY"] {
        variables.insert(name.to_owned(), String::new());
    }
    let (code, told) = ended(&variables, &["list"]).await?;
    assert_eq!((code, told.as_str()), (1, "jobchute: set JOBCHUTE_KEY or JOBCHUTE_HOTKEY; see --help\n"));
    Ok(())
}

#[tokio::test]
async fn workers_that_share_a_key_share_the_work() -> Result<()> {
    let variables = keys(stack()).await?;
    let folder = tempfile::tempdir()?;
    let runs = folder.path().join("runs");
    let script = format!("echo $JOBCHUTE_JOB_ID >>{}; sleep 0.2", runs.display());
    let workers: Vec<_> = (0..4).map(|_| working(&variables, &script)).collect::<Result<_>>()?;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(created(&variables).await?);
    }
    for job in &jobs {
        assert_eq!(ended(&variables, &["watch", job]).await?.0, 0);
    }
    for worker in workers {
        signal(worker.id().context("it runs")?, "TERM")?;
        end_of(worker).await?;
    }
    let runs = std::fs::read_to_string(runs)?;
    let mut ran: Vec<_> = runs.lines().collect();
    ran.sort_unstable();
    jobs.sort_unstable();
    assert_eq!(ran, jobs);
    Ok(())
}
