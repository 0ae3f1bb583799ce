//! `cargo run`: the whole stack on this machine, and one job through it.

mod bench;
mod demo;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow};
use local::{Front, Stack};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
Jobchute on this machine: the real function binaries behind a small AWS, read from template.yaml.

Usage: cargo run -- [options]

  --port PORT   port of the API (3000); the next one is its engines'
  --front NAME  what stands before the functions: http (an HTTP API), rest (a REST API)
                or urls (function URLs and a router)
  --data DIR    keep jobs, files, users and keys in DIR (default: in memory);
                what was answered is there after a power cut
  --files-url URL
                the origin of files' URLs, where a proxy hands them on to port 3001; with --data
  --no-demo     serve only
  --once        run the demo job, then exit: 0 when it went through, 1 when not
  --release     build and run the functions optimised
  --artifacts DIR
                run what `sam build` has made in DIR, which is .aws-sam/build,
                or cargo, such as target/release
  --template FILE
                another template than the repository's
  --env-file FILE
                write the functions' variables to FILE, for `cargo lambda watch --env-file FILE`
  --parameter NAME=VALUE
                a parameter of template.yaml; may be repeated
  --units       count what requests consume of DynamoDB: header x-local-engine-units of each answer
  --verbose     show the functions' logs
  --help        this text

With SSL_CERT_FILE in the environment, webhooks trust the certificates in that file, as OpenSSL does; with AWS_CA_BUNDLE,
functions trust those for --files-url.

cargo run -- backup --data DIR --to FOLDER copies what a stack has in DIR, also while it runs.

cargo run --release -- bench measures the functions and what a job costs; bench --help lists its options.";

/// What the command line asks for.
#[derive(Debug)]
enum Command {
    Help(&'static str),
    Serve(Options),
    Backup { data: PathBuf, to: PathBuf },
    Bench(bench::Options),
}

/// How to serve.
#[derive(Debug, PartialEq)]
struct Options {
    port: u16,
    front: Option<Front>,
    data: Option<PathBuf>,
    files_url: Option<String>,
    demo: bool,
    once: bool,
    release: bool,
    artifacts: Option<PathBuf>,
    template: Option<PathBuf>,
    env_file: Option<PathBuf>,
    parameters: Vec<(String, String)>,
    units: bool,
    verbose: bool,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value, ValueExt as _};
    let mut options = Options {
        port: 3000,
        front: None,
        data: None,
        files_url: None,
        demo: true,
        once: false,
        release: false,
        artifacts: None,
        template: None,
        env_file: None,
        parameters: Vec::new(),
        units: false,
        verbose: false,
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => options.port = arguments.value()?.parse()?,
            Long("front") => options.front = Some(arguments.value()?.parse_with(str::parse)?),
            Long("data") => options.data = Some(arguments.value()?.into()),
            Long("files-url") => options.files_url = Some(arguments.value()?.string()?),
            Long("no-demo") => options.demo = false,
            Long("once") => options.once = true,
            Long("release") => options.release = true,
            Long("artifacts") => options.artifacts = Some(arguments.value()?.into()),
            Long("template") => options.template = Some(arguments.value()?.into()),
            Long("env-file") => options.env_file = Some(arguments.value()?.into()),
            Long("parameter") => {
                let given = arguments.value()?.string()?;
                let (name, value) = given.split_once('=').ok_or("--parameter needs NAME=VALUE")?;
                options.parameters.push((name.to_owned(), value.to_owned()));
            }
            Long("units") => options.units = true,
            Long("verbose") => options.verbose = true,
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            Value(command) if command == "bench" => {
                let options = bench::parse(&mut arguments)?;
                return Ok(options.map_or(Command::Help(bench::HELP), Command::Bench));
            }
            Value(command) if command == "backup" => return backup(&mut arguments),
            other => return Err(other.unexpected()),
        }
    }
    if options.files_url.is_some() && options.data.is_none() {
        return Err("--files-url needs --data: in memory, everybody knows the secret that signs files' URLs".into());
    }
    if options.release && options.artifacts.is_some() {
        return Err("--release builds what --artifacts brings along".into());
    }
    if options.once && !options.demo {
        return Err("--once runs the demo that --no-demo leaves out".into());
    }
    Ok(Command::Serve(options))
}

/// The options after `backup`.
fn backup(arguments: &mut lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::{Long, Short};
    let (mut data, mut to) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("data") => data = Some(arguments.value()?.into()),
            Long("to") => to = Some(arguments.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            other => return Err(other.unexpected()),
        }
    }
    match (data, to) {
        (Some(data), Some(to)) => Ok(Command::Backup { data, to }),
        _ => Err("backup needs --data DIR and --to FOLDER".into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    let command = parse(lexopt::Parser::from_env()).map_err(|error| anyhow!("{error}; see --help"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Who stops what was to end by itself has not seen it go through.
    let stopped = match &command {
        Command::Serve(options) if !options.once => ExitCode::SUCCESS,
        _ => ExitCode::from(130),
    };
    let work = async {
        match command {
            Command::Help(text) => println!("{text}"),
            Command::Bench(options) => bench::run(options).await?,
            Command::Backup { data, to } => {
                let copied = local::backup(&data, &to)?;
                println!("{} has {} objects of {} bytes.", to.display(), copied.objects, copied.bytes);
            }
            Command::Serve(options) => return serve(options).await,
        }
        Ok(ExitCode::SUCCESS)
    };
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Ok(stopped),
        _ = terminate.recv() => Ok(stopped),
    }
}

async fn serve(options: Options) -> Result<ExitCode> {
    let mut builder =
        Stack::builder().port(options.port).release(options.release).schedules(true).check_functions(true);
    if options.verbose {
        builder = builder.verbose(true);
    }
    builder = builder.capacity(options.units);
    if let Some(front) = options.front {
        builder = builder.front(front);
    }
    for (name, value) in options.parameters {
        builder = builder.parameter(name, value);
    }
    for name in ["SSL_CERT_FILE", "AWS_CA_BUNDLE"] {
        if let Ok(file) = std::env::var(name) {
            builder = builder.environment(name, file);
        }
    }
    if let Some(url) = options.files_url {
        builder = builder.files_url(url);
    }
    if let Some(folder) = options.artifacts {
        builder = builder.artifacts(folder);
    }
    if let Some(file) = options.template {
        builder = builder.template(file);
    }
    if let Some(folder) = options.data {
        builder = builder.data_dir(folder);
    }
    let stack = builder.start().await?;
    println!("Jobchute listens on {}, the AWS endpoint of its engines on {}.", stack.url(), stack.aws_url());
    if let Some(file) = options.env_file {
        let lines: String = stack.environment().iter().map(variable).collect::<Result<_>>()?;
        std::fs::write(&file, lines).with_context(|| format!("can't write {}", file.display()))?;
    }
    if options.demo {
        let outcome = demo::run(&stack).await;
        if options.once {
            stack.shutdown().await;
            outcome?;
            return Ok(ExitCode::SUCCESS);
        }
        outcome.map_err(|error| anyhow!("the demo failed: {error:#}"))?;
    }
    println!("\nCtrl-C stops everything.");
    std::future::pending().await
}

/// A line of an env file. The value is in quotes: cargo-lambda takes JSON in no other way, and knows no escape for every character.
fn variable((name, value): (&String, &String)) -> Result<String> {
    let quote = ['\'', '`'].into_iter().find(|quote| !value.contains(*quote));
    let quote = quote.with_context(|| format!("an env file can't hold the value of {name}"))?;
    Ok(format!("{name}={quote}{value}{quote}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_quoted() {
        let line = |value: &str| variable((&"A".to_owned(), &value.to_owned())).ok();
        assert_eq!(line(r#"{"b":1}"#).as_deref(), Some("A='{\"b\":1}'\n"));
        assert_eq!(line("it's").as_deref(), Some("A=`it's`\n"));
        assert_eq!(line("'`"), None);
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = |arguments: &[&str]| parse(lexopt::Parser::from_args(arguments));
        let given = options(&["--port=4000", "--data", "x", "--once", "--artifacts", "y", "--env-file=z", "--units"])
            .expect("valid");
        let Command::Serve(given) = given else { panic!("it serves") };
        assert_eq!((given.port, given.data, given.once, given.units), (4000, Some("x".into()), true, true));
        let given_parameters = options(&["--parameter", "A=b=c", "--parameter=D="]).expect("valid");
        let Command::Serve(with) = given_parameters else { panic!("it serves") };
        assert_eq!(with.parameters, [("A".into(), "b=c".into()), ("D".into(), String::new())]);
        assert_eq!((given.artifacts, given.env_file), (Some("y".into()), Some("z".into())));
        assert!(matches!(options(&["--help"]), Ok(Command::Help(HELP))));
        assert!(matches!(options(&["bench", "--help"]), Ok(Command::Help(bench::HELP))));
        assert!(matches!(options(&["bench", "--stored", "1000,100"]), Ok(Command::Bench(_))));
        assert!(matches!(options(&["bench", "--scale", "--json", "x"]), Ok(Command::Bench(_))));
        for wrong in [
            &["--port", "70000"][..],
            &["--frobnicate"],
            &["--parameter", "A"],
            &["serve"],
            &["--once", "--no-demo"],
            &["bench", "--stored", "x"],
            &["backup", "--data", "x"],
            &["--release", "--artifacts=x"],
            &["--files-url", "https://files.example.org"],
        ] {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
