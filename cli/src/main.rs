//! `jobchute`: the API from a terminal, as a user and as a miner, against `cargo run` or a deployment.

mod api;
mod download;
mod keys;
mod upload;
mod watch;
mod work;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use jobchute::Hotkey;
use reqwest::Method;
use serde_json::{Value, json};

use api::Api;

const HELP: &str = "\
Jobs from a terminal, as a user and as a miner.

Usage: jobchute COMMAND

  keys                              make a user, a miner and a chute on the stack of `cargo run`, and
                                    print them as shell variables: eval \"$(cargo run --bin jobchute keys)\"
  hotkey                            make a hotkey: its address, to be registered, and its seed
  create CHUTE METHOD [ARGUMENTS]   create a job; ARGUMENTS are a JSON object. Prints its id
  list                              own jobs, newest first
  watch JOB                         follow a job until it is over: 0 when it is complete, 1 when not
  download JOB [--to DIR]           fetch its output files, and check their sizes and hashes: 0 when all
                                    of them are there, 1 when not
  delete JOB                        delete it and its files
  work --chute CHUTE [--once] -- COMMAND…
                                    be a miner: claim the chute's jobs and run COMMAND for each. Variables
                                    hold paths for it: the job's arguments, which are on its standard input
                                    too, are in the file $JOBCHUTE_ARGUMENTS; output files go into the
                                    folder $JOBCHUTE_OUTPUT; it may write its result (JSON) to the file
                                    $JOBCHUTE_RESULT and its progress (0 to 1) to the file
                                    $JOBCHUTE_PROGRESS. --once: end after one job, with 0 when it is complete

Environment:

  JOBCHUTE_URL      the API (http://127.0.0.1:3000)
  JOBCHUTE_KEY      an API key or a JWT
  JOBCHUTE_HOTKEY   or a hotkey's seed, in hex, to sign with
  JOBCHUTE_MINER_KEY, JOBCHUTE_MINER_HOTKEY   the same for `work`, when the miner is somebody else
  JOBCHUTE_AWS      the local stack's AWS endpoint, for `keys` (http://127.0.0.1:3001)";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Command {
    Help,
    Keys,
    Hotkey,
    Create { chute: String, method: String, arguments: Value },
    List,
    Watch { job: String },
    Download { job: String, to: PathBuf },
    Delete { job: String },
    Work { chute: String, once: bool, command: Vec<String> },
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value, ValueExt as _};
    let (mut words, mut to, mut chute, mut once, mut command) =
        (Vec::new(), PathBuf::from("."), None, false, Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("to") => to = arguments.value()?.into(),
            Long("chute") => chute = Some(arguments.value()?.string()?),
            Long("once") => once = true,
            Value(word) if words == ["work"] => {
                command.push(word.string()?);
                for rest in arguments.raw_args()? {
                    command.push(rest.string()?);
                }
            }
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let mut words = words.into_iter();
    let mut word = |name: &str| words.next().ok_or_else(|| lexopt::Error::from(format!("{name} is missing")));
    let parsed = match word("COMMAND").as_deref() {
        Ok("keys") => Command::Keys,
        Ok("hotkey") => Command::Hotkey,
        Ok("create") => {
            let (chute, method) = (word("CHUTE")?, word("METHOD")?);
            let text = word("ARGUMENTS").unwrap_or_else(|_| "{}".to_owned());
            let arguments = serde_json::from_str(&text).map_err(|error| format!("ARGUMENTS are no JSON: {error}"))?;
            Command::Create { chute, method, arguments }
        }
        Ok("list") => Command::List,
        Ok("watch") => Command::Watch { job: word("JOB")? },
        Ok("download") => Command::Download { job: word("JOB")?, to },
        Ok("delete") => Command::Delete { job: word("JOB")? },
        Ok("work") if command.is_empty() => return Err("the command to run is missing: -- COMMAND…".into()),
        Ok("work") => Command::Work { chute: chute.ok_or("--chute is missing")?, once, command },
        Ok(other) => return Err(format!("there is no command {other:?}; see --help").into()),
        Err(_) => Command::Help,
    };
    match words.next() {
        None => Ok(parsed),
        Some(word) => Err(format!("{word:?} is too much").into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match parse(lexopt::Parser::from_env()) {
        Ok(command) => run(command).await,
        Err(error) => Err(error.into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("jobchute: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Help => println!("{HELP}"),
        Command::Keys => keys::print().await?,
        Command::Hotkey => {
            let hotkey = Hotkey::generate();
            println!("address {}\nseed    {}", hotkey.address, hotkey.seed);
        }
        Command::Create { chute, method, arguments } => {
            let job = Api::of_user()?.json(Method::POST, &format!("/jobs/{chute}/{method}"), Some(&arguments)).await?;
            println!("{}", job["job_id"].as_str().context("the answer has no job_id")?);
        }
        Command::List => list(&Api::of_user()?).await?,
        Command::Watch { job } => return watch::until_over(&Api::of_user()?, &job).await,
        Command::Download { job, to } => return download::all_files(&Api::of_user()?, &job, &to).await,
        Command::Delete { job } => {
            Api::of_user()?.json(Method::DELETE, &format!("/jobs/{job}"), None).await?;
        }
        Command::Work { chute, once, command } => return work::work(&Api::of_miner()?, &chute, once, &command).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(api: &Api) -> Result<()> {
    let mut cursor = json!(null);
    loop {
        let more = cursor.as_str().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = api.json(Method::GET, &format!("/jobs?limit=100{more}"), None).await?;
        for job in page["jobs"].as_array().context("the answer has no jobs")? {
            let text = |field: &str| job[field].as_str().unwrap_or_default().to_owned();
            println!("{}  {}  {:<24} {}", text("job_id"), text("created_at"), text("status"), text("method"));
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, lexopt::Error> {
        parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn what_follows_two_dashes_is_the_miners_command() {
        let command =
            read(&["work", "--chute", "c", "--once", "--", "python", "train.py", "--epochs=3"]).expect("valid");
        let expected = ["python", "train.py", "--epochs=3"].map(str::to_owned).to_vec();
        assert_eq!(command, Command::Work { chute: "c".into(), once: true, command: expected });
    }

    #[test]
    fn a_command_line_is_read_or_refused() {
        let create = read(&["create", "c", "train", r#"{"epochs":3}"#]).expect("valid");
        assert_eq!(
            create,
            Command::Create { chute: "c".into(), method: "train".into(), arguments: json!({"epochs": 3}) }
        );
        assert_eq!(read(&[]).expect("valid"), Command::Help);
        for wrong in [
            &["fly"][..],
            &["create", "c"],
            &["create", "c", "m", "{"],
            &["watch"],
            &["watch", "a", "b"],
            &["work", "--", "true"],
            &["work", "--chute", "c"],
            &["list", "--fast"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
