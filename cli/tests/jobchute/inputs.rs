//! `jobchute create --input`: files from here to the machine that runs the job.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use local::{Fault, Stack};

use crate::run::{Variables, ended, keys, printed};

/// What was sent to S3 by others than functions, by operation.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

impl Sent {
    /// Notes all of it from now on, and lets the nth of an operation, and all after it, fail.
    fn watch(&self, stack: &Stack, fails: Option<(&'static str, usize)>) {
        let sent = self.0.clone();
        stack.set_faults(move |call| {
            if call.function.is_some() || !matches!(call.operation.as_str(), "PutObject" | "UploadPart") {
                return Fault::None;
            }
            let Ok(mut sent) = sent.lock() else { return Fault::None };
            sent.push(call.operation.clone());
            let so_far = sent.iter().filter(|operation| **operation == call.operation).count();
            match fails {
                Some((operation, from)) if call.operation == operation && so_far >= from => Fault::FailBefore(500),
                _ => Fault::None,
            }
        });
    }

    fn take(&self) -> Vec<String> {
        self.0.lock().map(|mut sent| std::mem::take(&mut *sent)).unwrap_or_default()
    }
}

async fn begin() -> Result<(Stack, Variables)> {
    // So that the large file goes in four parts of 16 MiB at most.
    let stack = Stack::builder().parameter("MultipartThresholdBytes", "5242880").start().await?;
    let mut variables = keys(&stack).await?;
    variables.insert("JOBCHUTE_SPEED".to_owned(), "20".to_owned());
    Ok((stack, variables))
}

#[tokio::test]
async fn files_go_from_here_to_the_command_of_a_miner_and_each_is_sent_once() -> Result<()> {
    let (stack, variables) = begin().await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().ok().context("a path");
    let (model, data) = (path("model \u{e9}.bin")?, path("data")?);
    fs::write(&model, "the model")?;
    fs::write(&data, vec![7; 20 << 20])?;
    let (model, data) = (format!("m={model}"), format!("d={data}"));
    let arguments = r#"{"n":1.50,"model":"@m","more":["@d","@m","@elsewhere"]}"#;
    let create = ["create", chute, "run", arguments, "--input", &model, "--input", &data];

    let sent = Sent::default();
    sent.watch(&stack, None);
    let job = printed(&variables, &create).await?;
    assert_eq!(sent.take(), ["PutObject", "UploadPart", "UploadPart"]);
    let again = printed(&variables, &create).await?;
    assert!(again != job && sent.take().is_empty(), "what is there is not sent again");

    let script = r#"
        url() { sed -E "s|.*\"$1\":(\[?)\"([^\"]*)\".*|\2|" "$JOBCHUTE_ARGUMENTS"; }
        test "$(curl -sfL "$(url model)")" = "the model"
        curl -sfL "$(url more)" | cmp -n 20971520 - "$DATA"
        grep -q '"n":1.50,' "$JOBCHUTE_ARGUMENTS"
        grep -q '"@elsewhere"' "$JOBCHUTE_ARGUMENTS"
    "#;
    let script = script.replace("$DATA", &data[2..]);
    let worked = ended(&variables, &["work", "--chute", chute, "--once", "--", "sh", "-ec", &script]).await?;
    assert!(worked.0 == 0 && worked.1.trim_end().ends_with(": complete"), "{}", worked.1);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on() -> Result<()> {
    let (stack, variables) = begin().await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("data");
    fs::write(&file, vec![7; 60 << 20])?;
    let input = format!("d={}", file.display());
    let create = ["create", chute, "run", r#"{"a":"@d"}"#, "--input", &input];
    let sent = Sent::default();
    sent.watch(&stack, Some(("UploadPart", 4)));
    let (code, told) = ended(&variables, &create).await?;
    assert!(code == 6 && told.contains("was not uploaded: S3: 500"), "{code}: {told}");
    sent.take();
    sent.watch(&stack, None);
    printed(&variables, &create).await?;
    assert_eq!(sent.take(), ["UploadPart"], "the last of four");
    stack.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_answer_of_s3_that_is_lost_loses_nothing() -> Result<()> {
    let (stack, variables) = begin().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("data");
    fs::write(&file, "hello")?;
    let input = format!("d={}", file.display());
    stack.set_faults(|call| match call.operation.as_str() {
        "PutObject" if call.function.is_none() => Fault::FailAfter,
        _ => Fault::None,
    });
    let create = ["create", &variables["JOBCHUTE_CHUTE"], "run", r#"{"a":"@d"}"#, "--input", &input];
    printed(&variables, &create).await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_never_the_input_of_its_former_content() -> Result<()> {
    let (stack, variables) = begin().await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("data");
    let content = vec![7; 20 << 20];
    fs::write(&file, &content)?;
    let input = format!("d={}", file.display());
    let create = ["create", chute, "run", r#"{"a":"@d"}"#, "--input", &input];
    // As many bytes, and others of them in the second part.
    let (path, mut other) = (file.clone(), content.clone());
    other[18 << 20..].fill(8);
    stack.set_faults(move |call| {
        if call.function.is_none() && call.operation == "UploadPart" {
            fs::write(&path, &other).expect("a file");
        }
        Fault::None
    });
    let (code, told) = ended(&variables, &create).await?;
    assert!(code == 1 && told.contains("data was not uploaded: it has changed while it was sent"), "{told}");
    assert_eq!(printed(&variables, &["list"]).await?, "");

    // Nor is what was sent of it taken for the former content once that is there again.
    stack.set_faults(|_| Fault::None);
    fs::write(&file, &content)?;
    printed(&variables, &create).await?;
    let script = format!(
        r#"url=$(sed -E 's|.*"a":"([^"]*)".*|\1|' "$JOBCHUTE_ARGUMENTS"); curl -sfL "$url" | cmp - {}"#,
        file.display()
    );
    let worked = ended(&variables, &["work", "--chute", chute, "--once", "--", "sh", "-ec", &script]).await?;
    assert!(worked.0 == 0, "{}", worked.1);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn arguments_with_a_byte_order_mark_may_name_inputs() -> Result<()> {
    let (stack, variables) = begin().await?;
    let folder = tempfile::tempdir()?;
    let (file, arguments) = (folder.path().join("data"), folder.path().join("arguments.json"));
    fs::write(&file, "hello")?;
    fs::write(&arguments, "\u{feff}{\"a\":\"@d\"}")?;
    let (input, arguments) = (format!("d={}", file.display()), format!("@{}", arguments.display()));
    printed(&variables, &["create", &variables["JOBCHUTE_CHUTE"], "run", &arguments, "--input", &input]).await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn what_is_of_no_use_is_told_before_anything_is_sent() -> Result<()> {
    let (stack, variables) = begin().await?;
    let chute = variables["JOBCHUTE_CHUTE"].as_str();
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("good"), "hello")?;
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status()?.success());
    let named = |name: &str, file: &str| format!("{name}={}", folder.path().join(file).display());
    let sent = Sent::default();
    sent.watch(&stack, None);
    for (arguments, other, expected) in [
        (r#"{"a":"@good"}"#, named("typo", "good"), "--input typo: no \"@typo\" in the arguments"),
        (r#"{"a":"@good","b":"@none"}"#, named("none", "none"), "can't be opened: No such file"),
        (r#"{"a":"@good","b":"@dir"}"#, named("dir", ""), "is no regular file"),
        (r#"{"a":"@good","b":"@pipe"}"#, named("pipe", "pipe"), "is no regular file"),
        ("{\"a\":\"@good\"", named("b", "good"), "the arguments are not JSON"),
    ] {
        let good = named("good", "good");
        let create = ["create", chute, "run", arguments, "--input", &good, "--input", &other];
        let (code, told) = ended(&variables, &create).await?;
        assert!(code == 1 && told.contains(expected), "{told}");
    }
    let good = named("good", "good");
    // More with a uri in them than they may have, and fewer without.
    let long = folder.path().join("long.json");
    fs::write(&long, format!(r#"{{"a":"@good","b":"{}"}}"#, "x".repeat((4 << 20) - 30)))?;
    let long = format!("@{}", long.display());
    let often = format!("[{}]", ["\"@good\""; 1001].join(","));
    for (arguments, expected) in [
        (long.as_str(), "the arguments are larger than 4 MiB with the inputs in them"),
        (&often, "the arguments name inputs 1001 times, and 1000 are as often as a job's may"),
    ] {
        let (code, told) = ended(&variables, &["create", chute, "run", arguments, "--input", &good]).await?;
        assert!(code == 1 && told.contains(expected), "{told}");
    }
    assert!(sent.take().is_empty());
    assert_eq!(printed(&variables, &["list"]).await?, "");
    stack.shutdown().await;
    Ok(())
}
