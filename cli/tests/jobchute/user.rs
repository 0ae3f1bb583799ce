//! A user's commands.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc};

use anyhow::{Context, Result};
use local::Stack;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    proxy::{Way, first, through},
    run::{command, created, ended, jobchute, keys, printed, stack, worked},
};

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
    assert!(watched.starts_with("complete\n") && watched.contains(r#"{"frames": 42}"#), "{watched}");

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
async fn a_lost_answer_does_not_make_a_second_job() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let cut = first(2, |request| request.ends_with("/run"));
    through(stack(), &mut variables, move |request| match cut(request) {
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
async fn a_quota_that_is_used_up_is_told_at_once() -> Result<()> {
    let mut variables = keys(stack()).await?;
    let user = stack().invoke("admin", serde_json::json!({"command": "create_user"})).await?["user_id"].take();
    let key = stack().invoke("admin", serde_json::json!({"command": "create_key", "user_id": user})).await?;
    let quotas = serde_json::json!({"command": "set_quotas", "user_id": user, "quotas": {"*": 0}});
    stack().invoke("admin", quotas).await?;
    variables.insert("JOBCHUTE_KEY".to_owned(), key["key"].as_str().context("a key")?.to_owned());
    let (code, told) = ended(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run"]).await?;
    assert!(code == 5 && told.contains("429 Too Many Requests: Daily job quota exceeded"), "{code}: {told}");
    Ok(())
}

#[tokio::test]
async fn a_command_ends_quietly_when_nobody_reads() -> Result<()> {
    let variables = keys(stack()).await?;
    let job = created(&variables).await?;
    let (chute, job) = (variables["JOBCHUTE_CHUTE"].as_str(), job.as_str());
    for arguments in [
        &["--help"][..],
        &["completions", "bash"],
        &["man"],
        &["hotkey"],
        &["keys"],
        &["list"],
        &["list", "--json"],
        &["create", chute, "run"],
        &["watch", job],
        &["watch", job, "--json"],
        &["watch", "--chute", chute],
    ] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let ended = command(&variables, arguments).stdout(writer).stderr(Stdio::piped()).spawn()?;
        let ended = ended.wait_with_output().await?;
        assert_eq!(ended.status.code(), Some(141), "{arguments:?}");
        assert_eq!(String::from_utf8(ended.stderr)?, "", "{arguments:?}");
    }
    // What is worth more than the words about it goes on.
    assert_eq!(worked(&variables, r#"echo 1 >"$JOBCHUTE_OUTPUT/a""#).await?.0, 0);
    let done = printed(&variables, &["list"]).await?;
    let done = done.lines().find(|line| line.contains(" complete ")).context("a complete job")?;
    let folder = tempfile::tempdir()?;
    let to = folder.path().to_str().context("a path")?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let download = ["download", done.split(' ').next().unwrap_or_default(), "--to", to];
    assert_eq!(command(&variables, &download).stdout(writer).status().await?.code(), Some(0));
    assert!(folder.path().join("a").exists());
    // Nor does a complaint that nobody reads panic.
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let ended = command(&variables, &["fly"]).stderr(writer).status().await?;
    assert_eq!(ended.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_deployment_is_reached_by_https() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let folder = tempfile::tempdir()?;
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    jobchute::install_crypto();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let variables = BTreeMap::from([
        ("JOBCHUTE_URL".to_owned(), format!("https://localhost:{port}")),
        ("JOBCHUTE_KEY".to_owned(), "cpk_1".to_owned()),
        ("SSL_CERT_FILE".to_owned(), trusted.display().to_string()),
    ]);
    let serve = async {
        let mut connection = TlsAcceptor::from(Arc::new(config)).accept(listener.accept().await?.0).await?;
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(connection.read_u8().await?);
        }
        let body = r#"{"jobs":[],"next_cursor":null}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await?;
        connection.shutdown().await?;
        anyhow::Ok(String::from_utf8(asked)?)
    };
    let (asked, listed) = tokio::join!(serve, printed(&variables, &["list"]));
    assert!(asked?.contains("Bearer cpk_1\r\n"));
    assert_eq!(listed?, "");
    Ok(())
}

#[tokio::test]
async fn jobs_are_filed_under_labels_and_counted_against_the_quota() -> Result<()> {
    let variables = keys(stack()).await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let filed = ["create", chute, "run", "--label", "team red", "--label", "a,b", "--cancel-after", "1h"];
    let filed = printed(&variables, &filed).await?;
    let other = printed(&variables, &["create", chute, "run", "{}", "--label", "a,b"]).await?;
    let listed = printed(&variables, &["list", "--label", "team red", "--label", "a,b"]).await?;
    assert!(listed.starts_with(&filed) && !listed.contains(&other), "{listed}");
    assert_eq!(printed(&variables, &["list", "--label", "a,b"]).await?.lines().count(), 2);
    let usage = printed(&variables, &["usage"]).await?;
    let lines: Vec<_> = usage.lines().collect();
    assert!(lines.contains(&format!("{chute}  2 of 100").as_str()), "{usage}");
    assert!(lines.iter().any(|line| line.starts_with("all chutes ") && line.ends_with(" 2 of 100")), "{usage}");
    let refused = jobchute(&variables, &["create", chute, "run", "{}", "--cancel-after", "5x"]).await?;
    let complaint = String::from_utf8(refused.stderr)?;
    assert!(
        !refused.status.success() && complaint.contains("'5x' for '--cancel-after <TIME>': this is not a time"),
        "{complaint}"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_about_to_end_is_told_of_once() -> Result<()> {
    let variables = keys(stack()).await?;
    let mine = &variables["JOBCHUTE_KEY"];
    let key_id = uuid::Uuid::try_parse(mine.trim_start_matches("cpk_").split('.').next().context("an id")?)?;
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    for (days, is_told) in [(15, false), (13, true)] {
        let end =
            (time::OffsetDateTime::now_utc() + time::Duration::days(days)).replace_nanosecond(0)?.format(rfc3339)?;
        let command = serde_json::json!({"command": "update_key", "key_id": key_id, "expires_at": end});
        stack().invoke("admin", command).await?;
        // Two requests.
        let output = jobchute(&variables, &["list", "--json"]).await?;
        let told = String::from_utf8(output.stderr)?;
        let expected =
            format!("{{\"warning\":{{\"message\":\"the API key ends on {}Z: ask for another\"}}}}\n", &end[..19]);
        assert_eq!(told, if is_told { expected } else { String::new() });
    }
    Ok(())
}
