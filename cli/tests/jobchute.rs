//! The command `jobchute`, as a user and as a miner, against the local stack.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use local::{EngineCall, Fault, Stack};
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

/// Runs the command with these variables.
async fn jobchute(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobchute"));
    Ok(command.args(arguments).envs(variables).kill_on_drop(true).output().await?)
}

/// What it prints when it succeeds.
async fn printed(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Result<String> {
    let output = jobchute(variables, arguments).await?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The variables that `jobchute keys` exports for this stack.
async fn keys(stack: &Stack) -> Result<BTreeMap<String, String>> {
    let addresses = [("JOBCHUTE_URL", stack.url()), ("JOBCHUTE_AWS", stack.aws_url())];
    let mut variables: BTreeMap<_, _> =
        addresses.into_iter().map(|(name, address)| (name.to_owned(), address.to_owned())).collect();
    for line in printed(&variables, &["keys"]).await?.lines() {
        let (name, value) = line.strip_prefix("export ").and_then(|line| line.split_once('=')).context("a variable")?;
        variables.insert(name.to_owned(), value.split(' ').next().unwrap_or_default().to_owned());
    }
    Ok(variables)
}

/// Its exit code and all that it prints.
async fn ended(variables: &BTreeMap<String, String>, arguments: &[&str]) -> Result<(i32, String)> {
    let output =
        timeout(Duration::from_secs(60), jobchute(variables, arguments)).await.context("it does not end")??;
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.code().context("killed")?, String::from_utf8(printed)?))
}

/// A job that waits for a miner.
async fn created(variables: &BTreeMap<String, String>) -> Result<String> {
    printed(variables, &["create", &variables["JOBCHUTE_CHUTE"], "run"]).await
}

/// `work --once` with a script.
async fn worked(variables: &BTreeMap<String, String>, script: &str) -> Result<(i32, String)> {
    ended(variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--once", "--", "sh", "-c", script]).await
}

/// What becomes of a request on its way.
enum Way {
    Pass,
    /// The API does not see it.
    Refuse(u16),
    /// The API serves it, and this part of the answer's bytes arrives.
    Cut(f64),
}

/// Lets the command reach the API only through here. `way` is asked with every request's method and path, without the query.
async fn through(
    stack: &Stack,
    variables: &mut BTreeMap<String, String>,
    way: impl Fn(&str) -> Way + Send + Sync + 'static,
) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (api, url) = (stack.url().to_owned(), format!("http://{}", listener.local_addr()?));
    variables.insert("JOBCHUTE_URL".to_owned(), url.clone());
    let way = Arc::new(way);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (api, url, way) = (api.clone(), url.clone(), way.clone());
            tokio::spawn(async move { relay(connection, &api, &url, way.as_ref()).await });
        }
    });
    Ok(())
}

async fn relay(mut connection: TcpStream, api: &str, url: &str, way: &(dyn Fn(&str) -> Way + Sync)) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let (first, headers) = head.split_once("\r\n").context("a request")?;
    let [method, path, _] = first.split(' ').collect::<Vec<_>>()[..] else { anyhow::bail!("{first}") };
    // A second job is on a second page.
    let path = path.replace("/claimable?", "/claimable?limit=1&");
    let headers: Vec<_> = headers.lines().filter_map(|line| line.split_once(": ")).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(Ok(0), |(_, length)| length.parse())?];
    connection.read_exact(&mut body).await?;

    let (status, text, part) = match way(&format!("{method} {}", path.split('?').next().unwrap_or_default())) {
        Way::Refuse(status) => (status, r#"{"detail":"not now"}"#.to_owned(), 1.0),
        pass => {
            let mut request =
                reqwest::Client::new().request(Method::from_bytes(method.as_bytes())?, format!("{api}{path}"));
            for (name, value) in headers.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
                request = request.header(name, value);
            }
            let answer = request.body(body).send().await?;
            let (status, text) = (answer.status().as_u16(), answer.text().await?.replace(api, url));
            (status, text, if let Way::Cut(part) = pass { part } else { 1.0 })
        }
    };
    let answer = format!("HTTP/1.1 {status} .\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    let arrives = (answer.len() as f64 * part) as usize;
    connection.write_all(&answer.as_bytes()[..arrives]).await?;
    Ok(())
}

/// Picks the first `times` requests that are `what`.
fn first(times: usize, what: impl Fn(&str) -> bool + Send + Sync) -> impl Fn(&str) -> Option<usize> + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |request| {
        let number = what(request).then(|| seen.fetch_add(1, Ordering::Relaxed))?;
        (number < times).then_some(number)
    }
}

#[tokio::test]
async fn a_job_goes_from_create_to_download_by_hand() -> Result<()> {
    // So that the large file goes in two parts.
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "5242880").start().await?;
    let variables = keys(&stack).await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let job = printed(&variables, &["create", chute, "run", r#"{"scene":"teapot"}"#]).await?;
    assert!(printed(&variables, &["list"]).await?.contains(&job));

    let script = r#"
        mkdir -p "$JOBCHUTE_OUTPUT/sub dir"
        cat >"$JOBCHUTE_OUTPUT/sub dir/arguments.json"
        cmp "$JOBCHUTE_OUTPUT/sub dir/arguments.json" "$JOBCHUTE_ARGUMENTS"
        head -c 20000000 /dev/zero >"$JOBCHUTE_OUTPUT/zeros.bin"
        : >"$JOBCHUTE_OUTPUT/empty"
        echo 0.5 >"$JOBCHUTE_PROGRESS"
        echo '{"frames": 42}' >"$JOBCHUTE_RESULT"
        test -z "$JOBCHUTE_KEY$JOBCHUTE_MINER_KEY"
    "#;
    let worked = printed(&variables, &["work", "--chute", chute, "--once", "--", "sh", "-ec", script]).await?;
    assert!(worked.ends_with(&format!("{job}: complete")), "{worked}");
    let watched = printed(&variables, &["watch", &job]).await?;
    assert!(watched.starts_with("complete\n") && watched.contains("\"frames\": 42"), "{watched}");

    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    printed(&variables, &["download", &job, "--to", to]).await?;
    let content = |name: &str| std::fs::read(Path::new(to).join(name));
    assert_eq!(content("zeros.bin")?, vec![0; 20_000_000]);
    assert_eq!(content("empty")?, b"");
    let arguments: serde_json::Value = serde_json::from_slice(&content("sub dir/arguments.json")?)?;
    assert_eq!(arguments["scene"], "teapot");
    assert!(!Path::new(to).join("zeros.bin.part").exists());

    printed(&variables, &["delete", &job]).await?;
    assert_eq!(printed(&variables, &["list"]).await?, "");
    let gone = jobchute(&variables, &["watch", &job]).await?;
    let complaint = String::from_utf8(gone.stderr)?;
    assert!(!gone.status.success() && complaint.contains("404 Not Found: Job"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_is_an_error_with_its_last_words() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let (code, told) = worked(&variables, "echo out of memory >&2; exit 3").await?;
    assert!(code == 1 && told.contains("out of memory"), "{code}: {told}");
    let watched = jobchute(&variables, &["watch", &job]).await?;
    assert_eq!(watched.status.code(), Some(1));
    let shown = String::from_utf8(watched.stdout)?;
    assert!(shown.contains("error\nexit status: 3\nout of memory"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_miner_signs_with_its_hotkey() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let chute = variables["JOBCHUTE_CHUTE"].clone();
    let printed_hotkey = printed(&variables, &["hotkey"]).await?;
    let field = |name: &str| {
        let line = printed_hotkey.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned()).context("a hotkey")
    };
    let miner = stack.invoke("admin", serde_json::json!({"command": "create_user", "roles": ["miner"]})).await?;
    let register =
        serde_json::json!({"command": "register_hotkey", "user_id": miner["user_id"], "hotkey": field("address")?});
    stack.invoke("admin", register).await?;
    variables.remove("JOBCHUTE_MINER_KEY");
    variables.insert("JOBCHUTE_MINER_HOTKEY".to_owned(), field("seed")?);

    let job = printed(&variables, &["create", &chute, "run"]).await?;
    let worked = printed(&variables, &["work", "--chute", &chute, "--once", "--", "true"]).await?;
    assert!(worked.ends_with(&format!("{job}: complete")), "{worked}");
    Ok(())
}

#[tokio::test]
async fn a_mistyped_program_claims_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    created(&variables).await?;
    for program in ["pyhton", "./pyhton", "/tmp"] {
        let (code, told) = ended(&variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", program]).await?;
        assert!(code == 1 && told.contains(&format!("can't run {program}")), "{code}: {told}");
    }
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn a_program_that_does_not_start_fails_one_job_and_ends_the_miner() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let first = created(&variables).await?;
    created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("no-interpreter");
    std::fs::write(&program, "#!/nowhere\n")?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let program = program.to_str().context("a path")?;
    let (code, _) = ended(&variables, &["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", program]).await?;
    assert_eq!(code, 1);
    let (code, told) = ended(&variables, &["watch", &first]).await?;
    assert!(code == 1 && told.contains(&format!("can't run {program}")), "{code}: {told}");
    assert!(printed(&variables, &["list"]).await?.contains("pending"));
    Ok(())
}

#[tokio::test]
async fn work_that_can_not_be_reported_is_an_error_and_is_kept() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    for (result, why) in [
        ("echo done", "JOBCHUTE_RESULT is no JSON"),
        ("printf '\"'; head -c 200000 /dev/zero | tr '\\0' x; printf '\"'", "413 Payload Too Large"),
    ] {
        let job = created(&variables).await?;
        let script = format!(r#"echo precious >"$JOBCHUTE_OUTPUT/a"; ({result}) >"$JOBCHUTE_RESULT""#);
        let (code, told) = worked(&variables, &script).await?;
        assert!(code == 1 && told.contains(why), "{code}: {told}");
        let kept = told.lines().find_map(|line| line.strip_prefix("its files are kept in ")).context("kept")?;
        assert_eq!(std::fs::read_to_string(Path::new(kept).join("a"))?, "precious\n");
        std::fs::remove_dir_all(Path::new(kept).parent().context("a folder")?)?;
        let (_, told) = ended(&variables, &["watch", &job]).await?;
        assert!(told.starts_with("error\n") && told.contains(why), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_fails_does_not_keep_the_others() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    // As often as a file is tried.
    let fails = first(5, |operation| operation == "PutObject");
    stack.set_faults(move |call: &EngineCall| match fails(&call.operation) {
        Some(_) if call.function.is_none() => Fault::FailBefore(503),
        _ => Fault::None,
    });
    let (code, told) = worked(&variables, r#"cd "$JOBCHUTE_OUTPUT"; echo 1 >a; echo 2 >b; echo 3 >c"#).await?;
    assert!(code == 1 && told.contains(&format!("{job}: partial_failure")), "{code}: {told}");
    let kept = told.lines().find_map(|line| line.strip_prefix("its files are kept in ")).context("kept")?;
    std::fs::remove_dir_all(Path::new(kept).parent().context("a folder")?)?;

    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let (code, told) = ended(&variables, &["download", &job, "--to", to]).await?;
    assert_eq!(code, 1);
    assert!(told.ends_with("a is not uploaded\n") && told.contains("b\n") && told.contains("c\n"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_that_fails_is_not_a_lost_job() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let fails = first(2, |request| request.ends_with("/heartbeat"));
    through(&stack, &mut variables, move |request| match fails(request) {
        Some(0) => Way::Refuse(429),
        Some(_) => Way::Refuse(400),
        None => Way::Pass,
    })
    .await?;
    let job = created(&variables).await?;
    let (code, told) = worked(&variables, "sleep 8").await?;
    assert!(code == 0 && told.contains("400 Bad Request: not now"), "{code}: {told}");
    assert!(told.ends_with(&format!("{job}: complete\n")), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_job_ends_its_command_and_all_that_it_started() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! >{0}.new; mv {0}.new {0}; wait", pid.display());
    let delete = async {
        appears(&pid).await;
        printed(&variables, &["delete", &job]).await
    };
    let (ended, deleted) = tokio::join!(worked(&variables, &script), delete);
    deleted?;
    let (code, told) = ended?;
    assert!(code == 1 && told.contains("given up") && !told.contains("kept in"), "{code}: {told}");
    ends(&pid).await
}

/// Waits until the process whose id is in the file is dead, or a zombie that nobody waits for.
async fn ends(pid: &Path) -> Result<()> {
    let stat = format!("/proc/{}/stat", std::fs::read_to_string(pid)?.trim());
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let end = async {
        while runs() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), end).await.context("it goes on")
}

async fn appears(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_miner_that_is_stopped_leaves_nothing_running() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    created(&variables).await?;
    let folder = tempfile::tempdir()?;
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! >{0}.new; mv {0}.new {0}; wait", pid.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobchute"));
    command.args(["work", "--chute", &variables["JOBCHUTE_CHUTE"], "--", "sh", "-c", &script]).envs(&variables);
    let mut miner = command.kill_on_drop(true).spawn()?;
    timeout(Duration::from_secs(30), appears(&pid)).await?;
    let id = miner.id().context("it runs")?.to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await?.success());
    assert_eq!(timeout(Duration::from_secs(30), miner.wait()).await??.code(), Some(143));
    ends(&pid).await
}

#[tokio::test]
async fn an_upload_may_fail_often_while_it_proceeds() -> Result<()> {
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "5242880").start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let tries = AtomicUsize::new(0);
    stack.set_faults(move |call| match call.operation.as_str() {
        "UploadPart" if tries.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Fault::FailBefore(503),
        _ => Fault::None,
    });
    // Six parts: more failures than one part may have.
    let (code, told) = worked(&variables, r#"head -c 100000000 /dev/zero >"$JOBCHUTE_OUTPUT/zeros""#).await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_second_job() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let cut = first(2, |request| request.ends_with("/run"));
    through(&stack, &mut variables, move |request| match cut(request) {
        Some(0) => Way::Cut(0.0),
        Some(_) => Way::Cut(0.5),
        None => Way::Pass,
    })
    .await?;
    let job = created(&variables).await?;
    let list = printed(&variables, &["list"]).await?;
    assert!(list.starts_with(&job) && list.lines().count() == 1, "{list}");
    created(&variables).await?;
    assert_eq!(printed(&variables, &["list"]).await?.lines().count(), 2);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_and_tells_no_token() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let finish = format!("POST /jobs/{job}");
    let cut = first(7, move |request| request == finish);
    through(&stack, &mut variables, move |request| cut(request).map_or(Way::Pass, |_| Way::Cut(0.9))).await?;
    let (code, told) = worked(&variables, r#"echo 1 >"$JOBCHUTE_OUTPUT/a""#).await?;
    assert!(code == 0 && told.contains(&format!("/jobs/{job}: ")), "{code}: {told}");
    assert!(!told.contains("token"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_job_that_was_taken_may_come_back() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let fails = first(2, |request| request.ends_with("/claim"));
    through(&stack, &mut variables, move |request| match fails(request) {
        Some(0) => Way::Refuse(409),
        _ => Way::Pass,
    })
    .await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_miner_looks_for_work_beyond_what_it_was_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let (first, last) = (created(&variables).await?, created(&variables).await?);
    let claim = format!("PUT /jobs/{first}/claim");
    through(&stack, &mut variables, move |request| if request == claim { Way::Refuse(403) } else { Way::Pass }).await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{last}: complete\n")), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_miner_outlives_a_refusal_of_its_look_for_work() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let job = created(&variables).await?;
    let (looks, claims) = (AtomicUsize::new(0), first(1, |request| request.ends_with("/claim")));
    through(&stack, &mut variables, move |request| {
        let second = request.ends_with("/claimable") && looks.fetch_add(1, Ordering::Relaxed) == 1;
        if second || claims(request).is_some() { Way::Refuse(400) } else { Way::Pass }
    })
    .await?;
    let (code, told) = worked(&variables, "true").await?;
    assert!(code == 0 && told.ends_with(&format!("{job}: complete\n")), "{code}: {told}");
    // From the beginning it is the user's mistake.
    variables.insert("JOBCHUTE_MINER_KEY".to_owned(), "cpk_wrong".to_owned());
    assert_eq!(worked(&variables, "true").await?.0, 1);
    Ok(())
}

#[tokio::test]
async fn outputs_of_any_name_are_downloaded_and_none_is_a_failure() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let empty = created(&variables).await?;
    assert_eq!(worked(&variables, "true").await?.0, 0);
    let (code, told) = ended(&variables, &["download", &empty, "--to", to]).await?;
    assert_eq!((code, told.as_str()), (1, "the job has no output files\n"));

    let job = created(&variables).await?;
    worked(&variables, r#"cd "$JOBCHUTE_OUTPUT"; echo whole >a; echo part >a.part"#).await?;
    std::fs::write(folder.path().join("a.part"), "older")?;
    printed(&variables, &["download", &job, "--to", to]).await?;
    assert_eq!(std::fs::read_to_string(folder.path().join("a"))?, "whole\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("a.part"))?, "part\n");
    assert_eq!(folder.path().read_dir()?.count(), 2);
    Ok(())
}

#[tokio::test]
async fn what_a_command_complains_is_passed_on_and_its_end_is_reported() -> Result<()> {
    let stack = Stack::start().await?;
    let variables = keys(&stack).await?;
    let job = created(&variables).await?;
    // Also when a child of it lives on.
    let script = "sleep 600 & (echo begin; head -c 20000 /dev/zero | tr '\\0' x; echo end) >&2; exit 1";
    let (_, told) = worked(&variables, script).await?;
    assert!(told.contains("begin\nx") && told.contains("xend\n"), "{told}");
    let (_, told) = ended(&variables, &["watch", &job]).await?;
    let xs = told.chars().filter(|char| *char == 'x').count();
    assert!(told.ends_with("xend\n\n") && !told.contains("begin") && (8000..8200).contains(&xs), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_at_once() -> Result<()> {
    let stack = Stack::start().await?;
    let mut variables = keys(&stack).await?;
    let user = stack.invoke("admin", serde_json::json!({"command": "create_user"})).await?["user_id"].take();
    let key = stack.invoke("admin", serde_json::json!({"command": "create_key", "user_id": user})).await?;
    let quotas = serde_json::json!({"command": "set_quotas", "user_id": user, "quotas": {"*": 0}});
    stack.invoke("admin", quotas).await?;
    variables.insert("JOBCHUTE_KEY".to_owned(), key["key"].as_str().context("a key")?.to_owned());
    let (code, told) = ended(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run"]).await?;
    assert!(code == 1 && told.contains("429 Too Many Requests: Daily job quota exceeded"), "{code}: {told}");
    Ok(())
}
