//! The command line: from these types come its parser, `--help`, the completions of shells and the pages of `man`.

#[cfg(test)]
mod tests;
mod values;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Error, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;
use uuid::Uuid;

use crate::{exit, inputs::Named};
use values::{cancel_after, id, idempotency_key, input, time, word};

/// Chutes that a miner takes jobs of, as many as the API takes in one request.
const MOST_CHUTES: usize = 16;
/// Inputs that a job names, as many as the API takes.
const MOST_INPUTS: usize = 100;

/// Jobs from a terminal, as a user and as a miner
#[derive(Debug, Parser)]
#[command(name = "jobchute", version, after_long_help = after_help(), max_term_width = 100)]
pub(crate) struct Line {
    /// Print JSON for scripts, as `jobchute --help` says
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
    /// Print what a job has printed, of all its attempts
    ///
    /// Its miner sends it about as often as it says that it is alive, 30 seconds to 5 minutes, and at the end. Sequences that steer a terminal
    /// are left out. With --json a line for each piece.
    Logs {
        /// The job's id
        #[arg(value_parser = id)]
        job: Uuid,

        /// Go on until the job is over
        #[arg(long)]
        follow: bool,
    },
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

    /// Create one job however often this command is repeated with this KEY: 1 to 255 printable ASCII characters
    ///
    /// The same KEY with the same CHUTE, METHOD, ARGUMENTS, labels and times gives the same job back, for as long as it exists, and costs
    /// nothing; with anything else it is an error. An --input is the same while its file has the same name and content, for half of the
    /// time for which inputs are kept at most. Without KEY each command has its own, which is told when no answer says what has become of
    /// the job.
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,

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
    #[arg(value_name = "JOB", value_parser = id, conflicts_with_all = ["labels", "chute"])]
    pub(crate) jobs: Vec<Uuid>,

    #[command(flatten)]
    pub(crate) which: Which,

    /// Of one job: also print what it prints
    #[arg(long)]
    pub(crate) logs: bool,

    /// Watch no longer than this, and end with 124: 90, 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

/// Fetch a job's output files
///
/// What is there and has the right hash is skipped; what is there and differs is replaced with --force only. A name that the file system
/// cannot hold, or takes for that of another of the files, becomes another one, which is printed. Ends with 0 when all of them are there; with 1 when files are missing, which are
/// named.
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
/// Claims the next job of these chutes, their users in turn, and runs COMMAND for it; where there is none, asks again when the API
/// says.
///
/// The job is `complete` when COMMAND exits with 0 and its result, if there is one, was taken. What was left out of its files does not
/// change that: the job's error_detail names each with the reason. It is `error` when COMMAND fails, with its last words, or when its
/// result is no JSON or too large; the files are delivered all the same, unless the method has errors tried again: then nothing is.
///
/// What is not the job's fault gives it back, and nothing of it is kept: a folder or arguments that cannot be written, arguments that
/// cannot be fetched, a COMMAND that does not start, and one that fails on a full disk while its files have less than the `_disk_gb` of
/// the job's arguments. After three of these in a row `work` ends, and says why; a COMMAND that does not start ends it at once.
///
/// What COMMAND prints goes to the job's owner, too: `jobchute logs`. Of more than 95 MiB the middle is left out.
///
/// COMMAND ends when its own process ends: on Linux what it has started ends then, too, and all of it ends with `work`, however that
/// ends. Where something of it cannot be ended, `work` takes no more jobs. It does not get the keys of `work`, but whatever runs as root
/// can read them in memory: run COMMAND as another user. As the same user it can read its own job's token. What it prints is shown with
/// control characters escaped; with --json on standard error.
///
/// The first SIGINT, SIGTERM or SIGHUP: a job whose COMMAND has ended is delivered; one whose COMMAND runs is given back at once, so that
/// another miner gets it, and COMMAND is stopped (SIGTERM, SIGKILL after 10 s). The second one, if it comes 1 s after the first or later, ends
/// `work` at once. Files that are not confirmed by the API are never removed, but for those of a job that is tried again elsewhere: `work`
/// prints their folder, and what is to be delivered from it is delivered by --resume. What was left out of a job that is over stays, too.
///
/// When the job's owner cancels it, COMMAND is stopped in the same way with the next heartbeat, and what it has left is delivered: it has
/// 90 s from then on. The job is `cancelled`.
#[derive(Args, Debug, PartialEq)]
#[command(after_long_help = include_str!("work.txt"))]
pub(crate) struct Work {
    /// A chute to take jobs of; up to 16 times
    #[arg(long = "chute", value_name = "CHUTE", value_parser = id, required_unless_present = "resume")]
    pub(crate) chutes: Vec<Uuid>,

    /// End after one job, with 0 when it is complete, and with 1 when it ended otherwise
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
    format!("{}\nExit codes:\n\n{}", include_str!("help.txt"), exit::table())
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
        Some(Command::Watch(Watch { jobs, which, .. })) if jobs.is_empty() && *which == Which::default() => {
            wrong(ErrorKind::MissingRequiredArgument, "a JOB is missing, or --label or --chute".to_owned())
        }
        Some(Command::Watch(Watch { jobs, logs: true, .. })) if jobs.len() != 1 => {
            wrong(ErrorKind::ArgumentConflict, "--logs is for one JOB".to_owned())
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
