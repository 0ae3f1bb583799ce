//! The command line.

use std::{collections::VecDeque, ffi::OsString, path::PathBuf};

use lexopt::{
    Arg::{Long, Short, Value},
    Error, Parser, ValueExt,
};
use uuid::Uuid;

use crate::{inputs::Named, work::command::SUPERVISE};

pub(crate) const HELP: &str = include_str!("help.txt");

/// Chutes that a miner takes jobs of, as many as the API takes in one request.
const MOST_CHUTES: usize = 16;

/// Inputs that a job names, as many as the API takes.
const MOST_INPUTS: usize = 100;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Keys,
    Hotkey,
    Create {
        chute: Uuid,
        method: String,
        arguments: String,
        options: Options,
        inputs: Vec<Named>,
    },
    List {
        labels: Vec<String>,
    },
    Usage,
    Watch {
        job: Uuid,
    },
    Download {
        job: Uuid,
        to: Option<PathBuf>,
        force: bool,
    },
    Cancel {
        job: Uuid,
    },
    Retry {
        job: Uuid,
    },
    Delete {
        job: Uuid,
    },
    Work {
        chutes: Vec<Uuid>,
        once: bool,
        command: Vec<OsString>,
    },
    Resume {
        folder: PathBuf,
    },
    /// What `work` starts for itself.
    Supervise {
        input: PathBuf,
        end: PathBuf,
        command: Vec<OsString>,
    },
}

/// What a create says of the job beside its arguments. Whether it is good, the API decides.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) labels: Vec<String>,
    pub(crate) cancel_after: Option<String>,
}

/// What stands on the command line, in whatever order.
#[derive(Default)]
struct Given {
    words: VecDeque<String>,
    options: Vec<&'static str>,
    to: Option<PathBuf>,
    chutes: Vec<String>,
    labels: Vec<String>,
    cancel_after: Option<String>,
    inputs: Vec<Named>,
    resume: Option<PathBuf>,
    /// What `work` runs.
    command: Vec<OsString>,
}

impl Given {
    fn has(&self, option: &str) -> bool {
        self.options.contains(&option)
    }

    fn word(&mut self, name: &str) -> Result<String, Error> {
        let word = self.words.pop_front().filter(|word| !word.is_empty());
        word.ok_or_else(|| format!("{name} is missing").into())
    }
}

/// Reads it. An option that means nothing to the command is an error.
pub(crate) fn parse(mut arguments: Parser) -> Result<Command, Error> {
    let mut given = Given::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("to") => {
                given.to = Some(arguments.value()?.into());
                given.options.push("--to");
            }
            Long("force") => given.options.push("--force"),
            Long("chute") => {
                given.chutes.push(arguments.value()?.string()?);
                given.options.push("--chute");
            }
            Long("label") => {
                given.labels.push(arguments.value()?.string()?);
                given.options.push("--label");
            }
            Long("cancel-after") => {
                given.cancel_after = Some(arguments.value()?.string()?);
                given.options.push("--cancel-after");
            }
            Long("input") => {
                given.inputs.push(input(&arguments.value()?.string()?)?);
                given.options.push("--input");
            }
            Long("once") => given.options.push("--once"),
            Long("resume") => {
                given.resume = Some(arguments.value()?.into());
                given.options.push("--resume");
            }
            Value(word) if given.words.is_empty() && word == SUPERVISE => return supervise(arguments),
            Value(word) if given.words == ["work"] => {
                given.command.push(word);
                given.command.extend(arguments.raw_args()?);
            }
            Value(word) => given.words.push_back(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let Some(name) = given.words.pop_front() else {
        return if given.options.is_empty() { Ok(Command::Help) } else { Err("COMMAND is missing; see --help".into()) };
    };
    let known: &[&str] = match name.as_str() {
        "create" => &["--input", "--label", "--cancel-after"],
        "list" => &["--label"],
        "download" => &["--to", "--force"],
        "work" => &["--chute", "--once", "--resume"],
        _ => &[],
    };
    let command = command(&name, &mut given)?;
    match given.options.iter().find(|option| !known.contains(option)) {
        Some(option) => Err(format!("{option} means nothing to {name}").into()),
        None if !given.words.is_empty() => Err(format!("{:?} is too much", given.words[0]).into()),
        None => Ok(command),
    }
}

fn command(name: &str, given: &mut Given) -> Result<Command, Error> {
    Ok(match name {
        "keys" => Command::Keys,
        "hotkey" => Command::Hotkey,
        "create" => Command::Create {
            chute: id("CHUTE", &given.word("CHUTE")?)?,
            method: given.word("METHOD")?,
            // Whether they are good, the API decides.
            arguments: given.words.pop_front().unwrap_or_else(|| "{}".to_owned()),
            inputs: inputs(given)?,
            options: Options { labels: std::mem::take(&mut given.labels), cancel_after: given.cancel_after.take() },
        },
        "list" => Command::List { labels: std::mem::take(&mut given.labels) },
        "usage" => Command::Usage,
        "watch" => Command::Watch { job: id("JOB", &given.word("JOB")?)? },
        "download" => {
            Command::Download { job: id("JOB", &given.word("JOB")?)?, to: given.to.take(), force: given.has("--force") }
        }
        "cancel" => Command::Cancel { job: id("JOB", &given.word("JOB")?)? },
        "retry" => Command::Retry { job: id("JOB", &given.word("JOB")?)? },
        "delete" => Command::Delete { job: id("JOB", &given.word("JOB")?)? },
        "work" => work(given)?,
        other => return Err(format!("there is no command {other:?}; see --help").into()),
    })
}

/// `NAME=FILE`. A name has nothing that JSON could spell in another way.
fn input(word: &str) -> Result<Named, Error> {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        !name.is_empty() && name.bytes().all(is_plain)
    };
    match word.split_once('=') {
        Some((name, file)) if is_name(name) && !file.is_empty() => {
            Ok(Named { name: name.to_owned(), file: file.into() })
        }
        _ => Err(format!("--input is not NAME=FILE, with letters, digits, _ - and . in NAME: {word:?}").into()),
    }
}

fn inputs(given: &mut Given) -> Result<Vec<Named>, Error> {
    let inputs = std::mem::take(&mut given.inputs);
    for (at, Named { name, .. }) in inputs.iter().enumerate() {
        if inputs[..at].iter().any(|other| other.name == *name) {
            return Err(format!("--input {name} is given twice").into());
        }
    }
    if inputs.len() > MOST_INPUTS {
        return Err(format!("--input: {MOST_INPUTS} at most").into());
    }
    Ok(inputs)
}

fn work(given: &mut Given) -> Result<Command, Error> {
    if let Some(folder) = given.resume.take() {
        if given.options != ["--resume"] || !given.command.is_empty() {
            return Err("--resume DIR stands alone: the folder says which job it is".into());
        }
        return Ok(Command::Resume { folder });
    }
    if given.command.is_empty() {
        return Err("the command to run is missing: -- COMMAND…".into());
    }
    let chutes = given.chutes.iter().map(|chute| id("--chute", chute)).collect::<Result<Vec<_>, _>>()?;
    match chutes.len() {
        0 => return Err("--chute is missing".into()),
        1..=MOST_CHUTES => {}
        _ => return Err(format!("--chute: {MOST_CHUTES} at most").into()),
    }
    Ok(Command::Work { chutes, once: given.has("--once"), command: std::mem::take(&mut given.command) })
}

fn supervise(mut arguments: Parser) -> Result<Command, Error> {
    let mut words = arguments.raw_args()?;
    let mut word = || words.next().ok_or("a miner starts this for itself");
    let (input, end) = (word()?.into(), word()?.into());
    Ok(Command::Supervise { input, end, command: words.collect() })
}

fn id(name: &str, word: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(word).map_err(|_| format!("{name} is not an id: {word:?}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f0a1f6e-0000-4000-8000-000000000001";

    fn read(arguments: &[&str]) -> Result<Command, Error> {
        parse(Parser::from_args(arguments))
    }

    #[test]
    fn what_follows_two_dashes_is_the_miners_command() {
        let command =
            read(&["work", "--chute", ID, "--once", "--", "python", "train.py", "--epochs=3"]).expect("valid");
        let expected = ["python", "train.py", "--epochs=3"].map(OsString::from).to_vec();
        assert_eq!(command, Command::Work { chutes: vec![id("", ID).expect("an id")], once: true, command: expected });
    }

    #[test]
    fn a_miner_may_take_jobs_of_sixteen_chutes() {
        let work = |chutes: usize| {
            let chutes = ["--chute", ID].repeat(chutes);
            read(&[&["work"], &chutes[..], &["true"]].concat())
        };
        for number in [1, 2, 16] {
            let Ok(Command::Work { chutes, .. }) = work(number) else { panic!("{number} chutes") };
            assert_eq!(chutes.len(), number);
        }
        assert!(work(0).is_err() && work(17).is_err());
    }

    #[test]
    fn arguments_stay_as_they_are_written() {
        for text in [r#"{"seed":18446744073709551616}"#, "{\"a\" : NaN}", "{", ""] {
            let Command::Create { arguments, .. } = read(&["create", ID, "train", text]).expect("valid") else {
                panic!("{text}")
            };
            assert_eq!(arguments, text);
        }
    }

    #[test]
    fn an_input_has_a_name_and_a_file() {
        let Ok(Command::Create { inputs, .. }) = read(&["create", ID, "m", "--input", "a.b-c_1=x=y", "{}"]) else {
            panic!("valid")
        };
        assert_eq!(inputs, [Named { name: "a.b-c_1".to_owned(), file: "x=y".into() }]);
        for wrong in ["a", "=f", "a=", "a b=f", "é=f", "\"=f"] {
            assert!(read(&["create", ID, "m", "--input", wrong]).is_err(), "{wrong}");
        }
        assert!(read(&["create", ID, "m", "--input", "a=f", "--input", "a=g"]).is_err());
        assert!(read(&["list", "--input", "a=f"]).is_err());
        let inputs: Vec<_> = (0..101).map(|number| format!("{number}=f")).collect();
        for (count, good) in [(100, true), (101, false)] {
            let inputs = inputs[..count].iter().flat_map(|input| ["--input", input.as_str()]);
            let line: Vec<_> = ["create", ID, "m"].into_iter().chain(inputs).collect();
            assert_eq!(read(&line).is_ok(), good, "{count}");
        }
    }

    #[test]
    fn a_command_line_is_read_or_refused() {
        assert_eq!(read(&[]).expect("valid"), Command::Help);
        assert_eq!(read(&["delete", ID, "-h"]).expect("valid"), Command::Help);
        assert_eq!(read(&["work", "--resume", "a b"]).expect("valid"), Command::Resume { folder: "a b".into() });
        for wrong in [
            &["fly"][..],
            &["--once"],
            &["create", ID],
            &["create", ID, ""],
            &["create", "../x", "m"],
            &["watch"],
            &["watch", ""],
            &["watch", "a/../b?c"],
            &["watch", ID, ID],
            &["work", "--", "true"],
            &["work", "--chute", ID],
            &["work", "--chute", "c", "true"],
            &["work", "--chute", ID, "--to", "x", "true"],
            &["work", "--resume", "d", "--once"],
            &["work", "--resume", "d", "true"],
            &["list", "--fast"],
            &["usage", ID],
            &["list", "--force"],
            &["cancel"],
            &["cancel", ID, ID],
            &["retry"],
            &["retry", ID, "--once"],
            &["delete", ID, "--once"],
            &["watch", ID, "--to", "x"],
            &["download", ID, "--chute", ID],
            &["create", ID, "m", "{}", "--force"],
            &["create", ID, "m", "--label"],
            &["watch", ID, "--label", "a"],
            &["list", "--cancel-after", "1h"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
