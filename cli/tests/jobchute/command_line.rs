//! What the definition of the command line gives: refusals, help, completions and pages of the manual.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context, Result};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::run::{jobchute, printed};

const ID: &str = "3f0a1f6e-0000-4000-8000-000000000001";
const COMMANDS: [&str; 13] = [
    "keys",
    "hotkey",
    "create",
    "list",
    "usage",
    "watch",
    "download",
    "cancel",
    "retry",
    "delete",
    "work",
    "completions",
    "man",
];

#[tokio::test]
async fn a_wrong_command_line_is_told_on_standard_error_with_2() -> Result<()> {
    for (arguments, why) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (&["watch"], "a JOB is missing, or --label or --chute"),
        (&["watch", "x"], "invalid value 'x' for '[JOB]...': this is not an id"),
        (&["create", ID, "m", "--cancel-after", "5s"], "it has to be 10 s to 30 days"),
        (&["create", ID, "m", "--lable", "a"], "--label"),
        (&["work", "--chute", ID], "<COMMAND>..."),
    ] {
        let refused = jobchute(&BTreeMap::new(), arguments).await?;
        let complaint = String::from_utf8(refused.stderr)?;
        assert!(refused.status.code() == Some(2) && complaint.contains(why), "{arguments:?}: {complaint}");
        assert!(refused.stdout.is_empty());
        let refused = jobchute(&BTreeMap::new(), &[&["--json"], arguments].concat()).await?;
        let error: serde_json::Value = serde_json::from_slice(&refused.stderr)?;
        assert_eq!(error["error"]["exit_code"], 2, "{error}");
        assert!(error["error"]["detail"].as_str().context("words")?.contains(why), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn each_command_has_help() -> Result<()> {
    let all = printed(&BTreeMap::new(), &[]).await?;
    assert_eq!(all, printed(&BTreeMap::new(), &["--help"]).await?);
    for said in ["JOBCHUTE_URL", "JOBCHUTE_MINER_HOTKEY", "TMPDIR", "Exit codes:", "  13       a job"] {
        assert!(all.contains(said), "{said}");
    }
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command}");
        let help = printed(&BTreeMap::new(), &[command, "--help"]).await?;
        assert!(help.contains(&format!("Usage: jobchute {command}")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    Ok(())
}

/// What a program prints that reads this.
async fn piped(program: &str, arguments: &[&str], input: &str) -> Result<Option<String>> {
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        println!("there is no {program}");
        return Ok(None);
    };
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes()).await?;
    let ended = child.wait_with_output().await?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && complaint.is_empty(), "{program} {arguments:?}: {complaint}");
    Ok(Some(String::from_utf8(ended.stdout)?))
}

#[tokio::test]
async fn bash_completes_commands_and_options() -> Result<()> {
    let script = printed(&BTreeMap::new(), &["completions", "bash"]).await?;
    piped("bash", &["-n"], &script).await?;
    for (words, offered) in
        [("jobchute wat", "watch"), ("jobchute watch --lab", "--label"), ("jobchute work --o", "--once")]
    {
        let (before, last) = words.rsplit_once(' ').context("two words")?;
        let previous = before.rsplit(' ').next().context("a word")?;
        let asked = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _jobchute jobchute {last} {previous}; echo \"${{COMPREPLY[@]}}\""
        );
        let Some(answer) = piped("bash", &["--norc", "-s"], &asked).await? else { return Ok(()) };
        assert_eq!(answer.trim(), offered, "{words}");
    }
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let script = printed(&BTreeMap::new(), &["completions", shell]).await?;
        assert!(script.contains("cancel-after") && script.contains("download"), "{shell}");
    }
    Ok(())
}

/// A page without what makes letters bold on a terminal, and with a space between words.
fn plain(page: &str) -> String {
    let mut text = String::new();
    for char in page.chars() {
        match char {
            // Over the letter before it, the same one or a line is printed.
            '\u{8}' => text.truncate(text.len() - text.chars().next_back().map_or(0, char::len_utf8)),
            char => text.push(char),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_pages_of_the_manual_are_read_without_a_warning() -> Result<()> {
    for command in [&[][..], &["create"], &["work"]] {
        let page = printed(&BTreeMap::new(), &[&["man"], command].concat()).await?;
        let Some(shown) = piped("groff", &["-man", "-ww", "-Tascii", "-P-c", "-rLL=78n"], &page).await? else {
            return Ok(());
        };
        let said = match command {
            [] => &["jobchute-create(1)", "JOBCHUTE_URL", "13 a job that was waited for ended: error"][..],
            ["create"] => &["--cancel-after <TIME>", "10 s to 30 days", "jobchute-create - Create a job"],
            _ => &["JOBCHUTE_PROGRESS", "SIGKILL"],
        };
        let shown = plain(&shown);
        for words in said {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }
    let refused = jobchute(&BTreeMap::new(), &["man", "fly"]).await?;
    assert!(!refused.status.success() && refused.stdout.is_empty());
    Ok(())
}
