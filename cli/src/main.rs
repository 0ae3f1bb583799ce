//! `jobchute`: the API from a terminal, as a user and as a miner, against `cargo run` or a deployment.
//!
//! Windows has the user's half: a miner's rests on what only Unix has. `--cfg portable` builds that half on any system, so that a machine
//! without Windows can check and run it: `cargo rustc -p jobchute --bin jobchute -- --cfg portable`.

// Some of it only a miner calls.
#![cfg_attr(any(windows, portable), allow(dead_code))]

mod api;
mod arguments;
#[cfg(all(unix, not(portable)))]
mod beneath;
mod body;
mod digest;
mod download;
mod exit;
mod file;
mod inputs;
mod jobs;
mod keys;
mod logs;
mod pace;
mod pages;
mod printer;
#[cfg(all(unix, not(portable)))]
mod process;
mod refusal;
mod screen;
#[cfg(all(unix, not(portable)))]
mod secrets;
mod settings;
mod signals;
mod upload;
mod usage;
mod wait;
mod watch;
#[cfg(all(unix, not(portable)))]
mod work;

use std::{collections::BTreeMap, env, ffi::OsString, io, process::ExitCode, time::Duration};

use anyhow::Result;
#[cfg(all(unix, not(portable)))]
use jobchute::Identity;

use api::Api;
#[cfg(all(unix, not(portable)))]
use arguments::Work;
use arguments::{Command, Download, Watch};
use exit::Stopped;
use settings::Settings;
use signals::Signals;
use watch::Jobs;
#[cfg(all(unix, not(portable)))]
use work::command::SUPERVISE;

/// How long the last words may take. Whoever reads has them at once.
const LAST_WORDS: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    // What `work` starts for itself.
    #[cfg(all(unix, not(portable)))]
    if let [_, word, input, end, command @ ..] = &words[..]
        && word == SUPERVISE
    {
        return work::supervisor::run(input.as_ref(), end.as_ref(), command);
    }
    let is_json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let code = start(&words, is_json).unwrap_or_else(|error| {
        let broken = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        };
        if error.downcast_ref::<io::Error>().is_some_and(|error| broken(error)) {
            return ExitCode::from(exit::NOBODY_READS);
        }
        exit::complain(&error);
        exit::of_error(&error).into()
    });
    if let Some(printer) = printer::started() {
        printer.finish(LAST_WORDS);
    }
    code
}

fn start(words: &[OsString], is_json: bool) -> Result<ExitCode> {
    let line = match arguments::read(words) {
        Ok(line) => line,
        Err(asked) if !asked.use_stderr() => {
            screen::line(asked.render().to_string().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(wrong) => {
            if is_json {
                screen::speak_json();
            }
            exit::refuse(wrong.render().to_string().trim_end());
            return Ok(exit::USAGE.into());
        }
    };
    if line.json {
        screen::speak_json();
    }
    let Some(command) = line.command else {
        screen::line(arguments::definition().render_long_help().to_string().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let settings = match &command {
        Command::Completions { shell } => {
            pages::completions(*shell)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man { command } => {
            pages::manual(command.as_deref())?;
            return Ok(ExitCode::SUCCESS);
        }
        #[cfg(all(unix, not(portable)))]
        Command::Work(Work { resume: None, .. }) => secrets::out_of_the_environment()?,
        _ => Settings::read(BTreeMap::new())?,
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(command, Command::Work(_)) {
        // A thread that once was to be had is kept: beside a job, the next one may not be.
        runtime.thread_keep_alive(Duration::MAX);
    }
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(run(command, &settings));
    // What still reads a file for nobody is not waited for.
    runtime.shutdown_background();
    done
}

/// What a signal does to a command that has nothing to bring to an end. The kernel keeps from a container's first process each signal that it
/// does not handle.
fn end_at_a_signal() -> Result<()> {
    if std::process::id() == 1 {
        let signals = Signals::take()?;
        tokio::spawn(async move {
            signals.first().await;
            std::process::exit(signals.exit_code().map_or(1, i32::from));
        });
    }
    Ok(())
}

async fn run(command: Command, settings: &Settings) -> Result<ExitCode> {
    let user = || Api::new(settings.url()?, settings.user()?);
    if !matches!(command, Command::Create(_) | Command::Download(_) | Command::Work(_)) {
        end_at_a_signal()?;
    }
    match command {
        Command::Keys => keys::print(&settings.aws()?).await?,
        Command::Hotkey => keys::hotkey()?,
        Command::Create(order) if order.wait => return wait::create(&user()?, &Signals::take()?, &order).await,
        Command::Create(order) => jobs::create(&user()?, &order).await?,
        Command::Usage => usage::print(&user()?).await?,
        Command::List { which } => jobs::list(&user()?, &which).await?,
        Command::Watch(order) => return watched(&user()?, order).await,
        Command::Download(Download { job, to, force }) => {
            return download::all_files(&user()?, &Signals::take()?, job, to, force).await;
        }
        Command::Logs { job, follow } => watch::logs(&user()?, job, follow).await?,
        Command::Cancel { job } => jobs::cancel(&user()?, job).await?,
        Command::Retry { job } => jobs::retry(&user()?, job).await?,
        Command::Delete { job } => jobs::delete(&user()?, job).await?,
        #[cfg(all(unix, not(portable)))]
        Command::Work(Work { resume: Some(folder), .. }) => {
            // The folder holds the job's token, and where it goes.
            let api = Api::new(settings.url()?, Identity::Nobody)?;
            printer::start();
            return work::resume(&api, &Signals::take()?, &folder).await;
        }
        #[cfg(all(unix, not(portable)))]
        Command::Work(Work { chutes, once, command, .. }) => {
            let api = Api::new(settings.url()?, settings.miner()?)?;
            printer::start();
            return work::work(&api, &Signals::take()?, &chutes, once, &command).await;
        }
        #[cfg(any(windows, portable))]
        Command::Work(_) => anyhow::bail!("a miner needs Linux or macOS: on Windows, run `jobchute work` in WSL"),
        Command::Completions { .. } | Command::Man { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn watched(api: &Api, Watch { jobs, which, timeout, logs }: Watch) -> Result<ExitCode> {
    let watch = async {
        match jobs[..] {
            [job] => watch::until_over(api, job, logs).await,
            [] => watch::until_all_are_over(api, &Jobs::Listed(jobs::filter(&which))).await,
            _ => watch::until_all_are_over(api, &Jobs::These(jobs)).await,
        }
    };
    let late = pace::late(timeout);
    tokio::select! {
        code = watch => code.map(ExitCode::from),
        () = late() => Err(Stopped::Late.into()),
    }
}
