//! `jobchute`: the API from a terminal, as a user and as a miner, against `cargo run` or a deployment.

mod api;
mod arguments;
mod beneath;
mod body;
mod digest;
mod download;
mod inputs;
mod jobs;
mod keys;
mod pace;
mod process;
mod refusal;
mod screen;
mod secrets;
mod settings;
mod signals;
mod upload;
mod usage;
mod watch;
mod work;

use std::{collections::BTreeMap, io, process::ExitCode};

use anyhow::{Error, Result};
use jobchute::Identity;

use api::Api;
use arguments::Command;
use settings::Settings;
use signals::Signals;

/// As a shell tells of a program that SIGPIPE has ended.
const NOBODY_READS: u8 = 141;

fn main() -> ExitCode {
    let done = arguments::parse(lexopt::Parser::from_env()).map_err(Error::from).and_then(start);
    done.unwrap_or_else(|error| {
        let broken = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        };
        if error.downcast_ref::<io::Error>().is_some_and(|error| broken(error)) {
            return ExitCode::from(NOBODY_READS);
        }
        screen::complain(format_args!("jobchute: {error:#}"));
        ExitCode::FAILURE
    })
}

fn start(command: Command) -> Result<ExitCode> {
    let settings = match &command {
        Command::Supervise { input, end, command } => return Ok(work::supervisor::run(input, end, command)),
        Command::Work { .. } => secrets::out_of_the_environment()?,
        _ => Settings::read(BTreeMap::new())?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(run(command, &settings));
    // What still reads a file for nobody is not waited for.
    runtime.shutdown_background();
    done
}

async fn run(command: Command, settings: &Settings) -> Result<ExitCode> {
    let user = || Api::new(settings.url()?, settings.user()?);
    match command {
        Command::Help => screen::line(arguments::HELP.trim_end())?,
        Command::Keys => keys::print(&settings.aws()?).await?,
        Command::Hotkey => keys::hotkey()?,
        Command::Create { chute, method, arguments, inputs } => {
            jobs::create(&user()?, chute, &method, &arguments, &inputs).await?;
        }
        Command::Usage => usage::print(&user()?).await?,
        Command::List => jobs::list(&user()?).await?,
        Command::Watch { job } => return watch::until_over(&user()?, job).await,
        Command::Download { job, to, force } => {
            return download::all_files(&user()?, &Signals::take()?, job, to, force).await;
        }
        Command::Cancel { job } => jobs::cancel(&user()?, job).await?,
        Command::Retry { job } => jobs::retry(&user()?, job).await?,
        Command::Delete { job } => jobs::delete(&user()?, job).await?,
        Command::Work { chutes, once, command } => {
            let api = Api::new(settings.url()?, settings.miner()?)?;
            return work::work(&api, &Signals::take()?, &chutes, once, &command).await;
        }
        Command::Resume { folder } => {
            // The folder holds the job's token, and where it goes.
            let api = Api::new(settings.url()?, Identity::Nobody)?;
            return work::resume(&api, &Signals::take()?, &folder).await;
        }
        Command::Supervise { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
