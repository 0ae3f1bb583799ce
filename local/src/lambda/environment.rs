//! One execution environment: a process, its Runtime API and its variables.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    invocation::Used,
    runtime_api::{Event, RuntimeApi},
    settings::Settings,
};
use crate::{
    account::REGION,
    calls::{Caller, Counts},
    credentials::SESSION_TOKEN,
    process,
    template::Function,
};

/// "Lambda runtime environment lifecycle": init may take 10 seconds.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// A process that serves one request at a time. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Environment {
    function: Arc<Function>,
    api: Arc<RuntimeApi>,
    caller: Arc<Caller>,
    exited: watch::Receiver<Option<ExitStatus>>,
    pid: Option<u32>,
    init_time: Duration,
    kill: CancellationToken,
    _kill_on_drop: DropGuard,
    started: Instant,
    longest_life: Duration,
}

impl Environment {
    /// Starts a process and waits until it asks for its first event.
    pub(super) async fn start(function: &Arc<Function>, settings: &Arc<Settings>) -> Result<Self> {
        let started = Instant::now();
        let kill = settings.stop.child_token();
        let kill_on_drop = kill.clone().drop_guard();
        let (access_key, caller) = settings.callers.register(&function.package, kill.clone());
        let temporary = settings.temporary.folder(&access_key)?;

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("can't listen for the Runtime API")?;
        let address = listener.local_addr().context("can't listen for the Runtime API")?;
        let api = Arc::new(RuntimeApi::new(function));
        let (exit, exited) = watch::channel(None);

        let mut child = spawn(function, settings, &access_key, &address.to_string(), &temporary)?;
        let pid = child.id();
        let stdout = child.stdout.take().map(|pipe| forward_lines(pipe, settings, function));
        let stderr = child.stderr.take().map(|pipe| forward_lines(pipe, settings, function));
        tokio::spawn(Arc::clone(&api).serve(listener, kill.clone()));
        let (watched, callers, stop) = (settings.tasks.token(), Arc::clone(&settings.callers), kill.clone());
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status.ok(),
                () = stop.cancelled() => {
                    // It may have ended by itself in the meantime.
                    let _ = child.kill().await;
                    child.wait().await.ok()
                }
            };
            callers.remove(&access_key);
            exit.send_replace(Some(status.unwrap_or_default()));
            stop.cancel();
            // What is left of it goes with the stack.
            let _ = tokio::fs::remove_dir_all(temporary).await;
            drop(watched);
        });

        let mut environment = Self {
            function: Arc::clone(function),
            api,
            caller,
            exited,
            pid,
            init_time: Duration::ZERO,
            kill,
            _kill_on_drop: kill_on_drop,
            started,
            longest_life: settings.callers.life() / 6,
        };
        if let Err(error) = environment.wait_for_init().await {
            // What a function that can't start says last tells more than its exit status.
            environment.kill.cancel();
            for output in [stderr, stdout].into_iter().flatten() {
                if let Ok(Some(line)) = output.await {
                    return Err(error.context(line));
                }
            }
            return Err(error);
        }
        environment.init_time = started.elapsed();
        Ok(environment)
    }

    async fn wait_for_init(&mut self) -> Result<()> {
        let exited = self.exited.clone();
        tokio::select! {
            initialised = self.api.initialised() => initialised.map_err(anyhow::Error::msg),
            status = exit_status(exited) => bail!("the process ended before its first event: {status}"),
            () = tokio::time::sleep(INIT_LIMIT) => bail!("no first event within {INIT_LIMIT:?}"),
        }
    }

    /// Hands over one event and waits for the answer. After an error the environment is unusable.
    pub(super) async fn invoke(&mut self, event: Bytes) -> Result<(Result<Bytes, Bytes>, Used)> {
        self.caller.take_counts();
        let timeout = self.function.timeout;
        let (started, cpu) = (Instant::now(), self.pid.and_then(process::cpu));
        let answer = self.api.push(Event::new(event, timeout)).await?;
        tokio::select! {
            biased;
            answer = answer => {
                let time = started.elapsed();
                let cpu = self.pid.and_then(process::cpu).zip(cpu).map(|(after, before)| after.saturating_sub(before));
                let used = Used { time, cpu, peak_memory: self.pid.and_then(process::peak_memory) };
                Ok((answer.context("the Runtime API went away")?, used))
            }
            status = exit_status(self.exited.clone()) => bail!("the process ended: {status}"),
            () = tokio::time::sleep(timeout) => {
                self.kill.cancel();
                bail!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
            }
        }
    }

    /// From spawn to the first event asked for.
    pub(super) fn init_time(&self) -> Duration {
        self.init_time
    }

    /// Engine calls since the last event was handed over.
    pub(super) fn take_counts(&self) -> Counts {
        self.caller.take_counts()
    }

    /// Whether it may have another event. It ends long before what it has signed with its credentials does, as in AWS. ("Lambda terminates
    /// execution environments every few hours.")
    pub(super) fn is_usable(&self) -> bool {
        self.exited.borrow().is_none() && !self.kill.is_cancelled() && self.started.elapsed() < self.longest_life
    }
}

async fn exit_status(mut exited: watch::Receiver<Option<ExitStatus>>) -> String {
    match exited.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(status)) => status.to_string(),
        _ => "unknown".to_owned(),
    }
}

/// Starts the binary with the variables that Lambda sets, and nothing of the user's own environment.
fn spawn(
    function: &Function,
    settings: &Settings,
    access_key: &str,
    runtime_api: &str,
    temporary: &Path,
) -> Result<Child> {
    let binary = settings.binaries.of(function);
    let log_group = format!("/aws/lambda/{}", function.name);
    let mut command = match &settings.share {
        Some(share) => share.command(&binary),
        None => Command::new(&binary),
    };
    command
        .env_clear()
        .envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime_api),
            ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", &settings.secret),
            ("AWS_SESSION_TOKEN", &SESSION_TOKEN),
            ("LAMBDA_TASK_ROOT", "/var/task"),
            ("TZ", ":UTC"),
            ("_HANDLER", "bootstrap"),
        ])
        // Lambda's is an environment's own without a variable.
        .env("TMPDIR", temporary)
        .envs(&function.environment)
        .envs(&settings.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("can't start {}", binary.display()))
}

/// Copies what the process writes to the logs; the result is its last line.
fn forward_lines(
    pipe: impl AsyncRead + Send + Unpin + 'static,
    settings: &Arc<Settings>,
    function: &Arc<Function>,
) -> JoinHandle<Option<String>> {
    let (settings, function, read) = (Arc::clone(settings), Arc::clone(function), settings.tasks.token());
    tokio::spawn(async move {
        let _read = read;
        let (mut lines, mut last) = (BufReader::new(pipe).split(b'\n'), None);
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            settings.logs.push(&function.package, line.clone());
            last = Some(line);
        }
        last
    })
}
