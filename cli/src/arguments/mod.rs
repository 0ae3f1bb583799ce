//! The command line: from these types come its parser, `--help`, the completions of shells and the pages of `man`.

mod values;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Error, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;
use uuid::Uuid;

use crate::{exit, inputs::Named};
use values::{cancel_after, id, input, time, word};

/// Chutes that a miner takes jobs of, as many as the API takes in one request.
const MOST_CHUTES: usize = 16;
/// Inputs that a job names, as many as the API takes.
const MOST_INPUTS: usize = 100;

/// Jobs from a terminal, as a user and as a miner
#[derive(Debug, Parser)]
#[command(name = "jobchute", version, after_long_help = after_help(), max_term_width = 100, propagate_version = true)]
pub(crate) struct Line {
    /// Print JSON for scripts
    ///
    /// One document on standard output, and nothing else; `watch` and `work` print one object a line, for each change. What the API
    /// answers is passed on as it is, every digit of it. An error is one object on standard error:
    /// {"error":{"exit_code","detail","message"}}, with the `status` and `detail` of the API where it has refused, and the `job_id` of a
    /// job that goes on.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Subcommand)]
pub(crate) enum Command {
    /// Make a user, a miner and a chute on the stack of `cargo run`
    ///
    /// Prints them as shell variables: eval "$(jobchute keys)"
    Keys,
    /// Make a hotkey: its address, to be registered, and its seed
    Hotkey,
    Create(Create),
    /// List own jobs, newest first
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Show how many jobs were created today (UTC), of how many, by chute
    Usage,
    Watch(Watch),
    Download(Download),
    /// End a job
    ///
    /// At once when it waits, and through its miner when it runs, which may still deliver what there is. Prints what it is now.
    Cancel {
        /// The job's id
        #[arg(value_parser = id)]
        job: Uuid,
    },
    /// Have a job tried again that is over and not complete
    ///
    /// What was reported of it is gone, and it counts as a new one. Prints what it is now.
    Retry {
        /// The job's id
        #[arg(value_parser = id)]
        job: Uuid,
    },
    /// Delete a job and its files
    Delete {
        /// The job's id
        #[arg(value_parser = id)]
        job: Uuid,
    },
    Work(Work),
    /// Print what completes this command in a shell
    ///
    /// For bash: source <(jobchute completions bash)
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a page for `man`
    ///
    /// jobchute man >jobchute.1, and for each command a page of its own: jobchute man create >jobchute-create.1
    Man {
        /// The command to print the page of, instead of that of `jobchute`
        command: Option<String>,
    },
}

/// Create a job, and print its id
#[derive(Args, Debug, PartialEq)]
pub(crate) struct Create {
    /// The id of the chute that it is for
    #[arg(value_parser = id)]
    pub(crate) chute: Uuid,

    /// Which of the chute's methods
    #[arg(value_parser = word)]
    pub(crate) method: String,

    /// A JSON object, sent as it is written, of 4 MiB at most; @FILE, which holds it; or @- for standard input
    #[arg(default_value = "{}")]
    pub(crate) arguments: String,

    /// File it under a label, of 1 to 64 characters; up to 10 times
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,

    /// End it when no miner has claimed it by then: 90, 90s, 15m, 2h or 7d; 10 s to 30 days
    #[arg(long, value_name = "TIME", value_parser = cancel_after)]
    pub(crate) cancel_after: Option<String>,

    /// Upload FILE, and put its `uri` in the place of each string "@NAME" in ARGUMENTS; up to 100 times
    ///
    /// Whatever the string is in: the job's COMMAND gets an https URL of the file there. A file of the same name and content is not
    /// sent again for half of the time for which inputs are kept (15 of 30 days), and one that was cut off goes on. A NAME that
    /// ARGUMENTS don't have is an error, before anything is sent; an "@NAME" without --input stays. NAME has letters, digits, _ - and .
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = input)]
    pub(crate) inputs: Vec<Named>,

    /// Wait until it is over, print its result, and end with its exit code
    ///
    /// Asks as often as the API says. The id and an error's detail go to standard error. A signal ends the waiting, and not the job:
    /// which one goes on is said.
    #[arg(long)]
    pub(crate) wait: bool,

    /// Wait no longer than this, and end with 124: 90, 90s, 15m, 2h or 7d. The job goes on
    #[arg(long, value_name = "TIME", value_parser = time, requires = "wait")]
    pub(crate) timeout: Option<Duration>,
}

/// Which of the caller's jobs.
#[derive(Args, Debug, Default, PartialEq)]
pub(crate) struct Which {
    /// Those with this label; with all of them when it is repeated
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,

    /// Those of this chute
    #[arg(long, value_name = "CHUTE", value_parser = id)]
    pub(crate) chute: Option<Uuid>,
}

/// Follow jobs until they are over
///
/// Asks as often as the API says. One job: each status that it comes to, then an error's detail and the result. Several: a line for each
/// change of each, by as few requests as can be; those that are over already count, too. A job that is filed under the labels later, while another one is
/// not over, is followed with the others. Ends with the exit code of the job's status, of several with the largest.
#[derive(Args, Debug, PartialEq)]
pub(crate) struct Watch {
    /// The jobs' ids
    #[arg(value_name = "JOB", value_parser = id, required_unless_present_any = ["labels", "chute"],
        conflicts_with_all = ["labels", "chute"])]
    pub(crate) jobs: Vec<Uuid>,

    #[command(flatten)]
    pub(crate) which: Which,

    /// Watch no longer than this, and end with 124: 90, 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

/// Fetch a job's output files
///
/// What is there and has the right hash is skipped; what is there and differs is replaced with --force only. A name that the file system
/// cannot hold becomes another one, which is printed. Ends with 0 when all of them are there, and with 1 when not: those that are missing
/// are named.
#[derive(Args, Debug, PartialEq)]
pub(crate) struct Download {
    /// The job's id
    #[arg(value_parser = id)]
    pub(crate) job: Uuid,

    /// The folder to put them in, instead of one that is named after the job
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,

    /// Replace what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Be a miner: claim jobs, and run a command for each
///
/// Claims the next job of these chutes, the longest-waiting first, and runs COMMAND for it; where there is none, asks again when the API
/// says.
///
/// The job is `complete` when COMMAND exits with 0 and its result, if there is one, was taken. What was left out of its files does not
/// change that: the job's error_detail names each with the reason. It is `error` when COMMAND fails, with its last words, or when its
/// result is no JSON or too large; the files are delivered all the same.
///
/// What is not the job's fault gives it back, and nothing of it is kept: a folder or arguments that cannot be written, arguments that
/// cannot be fetched, a COMMAND that does not start, and one that fails on a full disk while its files have less than the `_disk_gb` of
/// the job's arguments. After three of these in a row `work` ends, and says why; a COMMAND that does not start ends it at once.
///
/// COMMAND ends when its own process ends: on Linux what it has started ends then, too, and all of it ends with `work`, however that
/// ends. It does not get the keys of `work`, but whatever runs as root can read them in memory: run COMMAND as another user. As the same
/// user it can read its own job's token. What it prints is shown with control characters escaped; with --json on standard error.
///
/// The first SIGINT, SIGTERM or SIGHUP: a job whose COMMAND has ended is delivered; one whose COMMAND runs is given back at once, so that
/// another miner gets it, and COMMAND is stopped (SIGTERM, SIGKILL after 10 s). The second one ends `work` at once. Files that are not
/// confirmed by the API are never removed: `work` prints their folder, and what is to be delivered from it is delivered by --resume. What
/// was left out of a job that is over stays, too.
///
/// When the job's owner cancels it, COMMAND is stopped in the same way with the next heartbeat, and what it has left is delivered: it has
/// 90 s from then on. The job is `cancelled`.
#[derive(Args, Debug, PartialEq)]
#[command(after_long_help = include_str!("work.txt"))]
pub(crate) struct Work {
    /// A chute to take jobs of; up to 16 times
    #[arg(long = "chute", value_name = "CHUTE", value_parser = id, required_unless_present = "resume")]
    pub(crate) chutes: Vec<Uuid>,

    /// End after one job, with 0 when it is complete, and with 1 when not
    #[arg(long)]
    pub(crate) once: bool,

    /// Deliver the job that another `work` has left in DIR, which says which one it is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["chutes", "once", "command"])]
    pub(crate) resume: Option<PathBuf>,

    /// The program to run, and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "resume")]
    pub(crate) command: Vec<OsString>,
}

fn after_help() -> String {
    format!("{}\nExit codes:\n\n{}", include_str!("environment.txt"), exit::table())
}

/// Reads it. What clap cannot tell of several options together is checked here.
pub(crate) fn read<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Line, Error> {
    let line = Line::try_parse_from(words)?;
    let wrong = |kind, why: String| Err(Line::command().error(kind, why));
    match &line.command {
        None if line.json => wrong(ErrorKind::MissingSubcommand, "a command is missing".to_owned()),
        Some(Command::Completions { .. } | Command::Man { .. }) if line.json => {
            wrong(ErrorKind::ArgumentConflict, "--json means nothing to it".to_owned())
        }
        Some(Command::Create(Create { inputs, .. })) if inputs.len() > MOST_INPUTS => {
            wrong(ErrorKind::TooManyValues, format!("--input: {MOST_INPUTS} at most"))
        }
        Some(Command::Create(Create { inputs, .. })) => {
            let twice = |at: usize| inputs[..at].iter().any(|other| other.name == inputs[at].name);
            match (0..inputs.len()).find(|at| twice(*at)) {
                Some(at) => wrong(ErrorKind::ArgumentConflict, format!("--input {} is given twice", inputs[at].name)),
                None => Ok(line),
            }
        }
        Some(Command::Work(Work { chutes, .. })) if chutes.len() > MOST_CHUTES => {
            wrong(ErrorKind::TooManyValues, format!("--chute: {MOST_CHUTES} at most"))
        }
        _ => Ok(line),
    }
}

/// The definition, for what is made of it.
pub(crate) fn definition() -> clap::Command {
    Line::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f0a1f6e-0000-4000-8000-000000000001";

    fn parsed(arguments: &[&str]) -> Result<Command, Error> {
        let line = read(["jobchute"].iter().chain(arguments))?;
        line.command.ok_or_else(|| definition().error(ErrorKind::MissingSubcommand, ""))
    }

    #[test]
    fn the_definition_holds_together() {
        definition().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_is_the_miners_command() {
        let options = ["work", "--chute", ID, "--once"];
        let program = ["python", "train.py", "--epochs=3", "--json", "--", "-x"];
        let expected = Command::Work(Work {
            chutes: vec![id(ID).expect("an id")],
            once: true,
            resume: None,
            command: program.map(OsString::from).to_vec(),
        });
        for between in [&["--"][..], &[]] {
            let words = [&["jobchute"], &options[..], between, &program[..]].concat();
            let line = read(words).expect("valid");
            assert!(!line.json);
            assert_eq!(line.command.as_ref(), Some(&expected));
        }
    }

    #[test]
    fn a_miner_may_take_jobs_of_sixteen_chutes() {
        let work = |chutes: usize| {
            let chutes = ["--chute", ID].repeat(chutes);
            parsed(&[&["work"], &chutes[..], &["true"]].concat())
        };
        for number in [1, 2, 16] {
            let Ok(Command::Work(Work { chutes, .. })) = work(number) else { panic!("{number} chutes") };
            assert_eq!(chutes.len(), number);
        }
        assert!(work(0).is_err() && work(17).is_err());
    }

    #[test]
    fn arguments_stay_as_they_are_written() {
        for text in [r#"{"seed":18446744073709551616}"#, "{\"a\" : NaN}", "{", ""] {
            let Command::Create(Create { arguments, .. }) = parsed(&["create", ID, "train", text]).expect("valid")
            else {
                panic!("{text}")
            };
            assert_eq!(arguments, text);
        }
    }

    #[test]
    fn an_input_has_a_name_and_a_file() {
        let Ok(Command::Create(Create { inputs, .. })) = parsed(&["create", ID, "m", "--input", "a.b-c_1=x=y", "{}"])
        else {
            panic!("valid")
        };
        assert_eq!(inputs, [Named { name: "a.b-c_1".to_owned(), file: "x=y".into() }]);
        for wrong in ["a", "=f", "a=", "a b=f", "é=f", "\"=f"] {
            assert!(parsed(&["create", ID, "m", "--input", wrong]).is_err(), "{wrong}");
        }
        assert!(parsed(&["create", ID, "m", "--input", "a=f", "--input", "a=g"]).is_err());
        assert!(parsed(&["list", "--input", "a=f"]).is_err());
        let inputs: Vec<_> = (0..101).map(|number| format!("{number}=f")).collect();
        for (count, good) in [(100, true), (101, false)] {
            let inputs = inputs[..count].iter().flat_map(|input| ["--input", input.as_str()]);
            let line: Vec<_> = ["create", ID, "m"].into_iter().chain(inputs).collect();
            assert_eq!(parsed(&line).is_ok(), good, "{count}");
        }
    }

    #[test]
    fn a_command_line_is_read_or_refused() {
        assert!(read(["jobchute"]).expect("valid").command.is_none());
        assert_eq!(parsed(&["delete", ID, "-h"]).expect_err("help").kind(), ErrorKind::DisplayHelp);
        for good in [
            &["work", "--resume", "a b"][..],
            &["watch", ID, ID],
            &["watch", "--label", "a", "--chute", ID],
            &["--json", "list"],
            &["create", ID, "m", "--wait", "--timeout", "90", "--json"],
        ] {
            assert!(parsed(good).is_ok(), "{good:?}");
        }
        for wrong in [
            &["fly"][..],
            &["--once"],
            &["--json"],
            &["create", ID],
            &["create", ID, ""],
            &["create", "../x", "m"],
            &["create", ID, "m", "--timeout", "90"],
            &["create", ID, "m", "{}", "{}"],
            &["watch"],
            &["watch", ""],
            &["watch", "a/../b?c"],
            &["watch", "--timeout", "1h"],
            &["watch", ID, "--timeout", "0"],
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
            &["completions", "tcsh"],
            &["man", "--json"],
        ] {
            assert_eq!(parsed(wrong).expect_err(&format!("{wrong:?}")).exit_code(), 2, "{wrong:?}");
        }
    }
}
