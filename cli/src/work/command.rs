//! The command of a job while it runs.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net},
    panic::resume_unwind,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::Pid;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    printer::{self, Stream},
    process,
    screen::{self, Filter},
    secrets::HANDED_OVER,
    signals::Signals,
    work::{
        folder::{Assignment, Folder},
        log::Log,
        supervisor::{CANCEL, HAS_ENDED, STOP},
    },
};

/// The word by which this program knows that it is a supervisor.
pub(crate) const SUPERVISE: &str = "supervise";
/// Bytes of the command's error output that are reported when it fails.
const DETAIL: usize = 8 << 10;
/// How long a command that is asked to end may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long its last words may take after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long its supervisor may take to say whether it has ended. One that the job has stopped never does.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the supervisor may take to end all that is left; and the same when nothing is waited for any more.
const ORDER: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(1));
/// How long what is left may take to end once the supervisor is killed.
const REST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(2));
/// How long that is looked after at once.
const TURN: Duration = Duration::from_millis(100);

/// A command that runs below its supervisor. Dropped, it is killed with all that it has started, if the supervisor can do that.
pub(crate) struct Running {
    supervisor: Child,
    /// The supervisor obeys what is written here, and kills when it is closed.
    control: Option<UnixStream>,
    passing_on: Vec<JoinHandle<()>>,
    /// Whether it has ended: what it has printed is then for the log, and waits for no reader here.
    is_over: watch::Sender<bool>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Starts it for a job whose folder is ready.
    pub(crate) fn start(
        folder: &Folder,
        assignment: &Assignment,
        command: &[OsString],
        log: &Arc<Log>,
    ) -> Result<Self> {
        let (control, its_end) = net::UnixStream::pair().context("can't start the command's supervisor")?;
        control.set_nonblocking(true).context("can't start the command's supervisor")?;
        let mut supervisor = Command::new(process::this_program()?);
        supervisor
            .arg0("jobchute")
            .arg(SUPERVISE)
            .args([folder.arguments(), folder.end_file()])
            .args(command)
            .env("JOBCHUTE_JOB_ID", &assignment.job_id)
            .env("JOBCHUTE_METHOD", &assignment.job_method)
            .env("JOBCHUTE_ARGUMENTS", folder.arguments())
            .env("JOBCHUTE_OUTPUT", folder.output())
            .env("JOBCHUTE_RESULT", folder.job().join("result.json"))
            .env("JOBCHUTE_PROGRESS", folder.job().join("progress"))
            .env_remove(HANDED_OVER)
            .stdin(Stdio::from(OwnedFd::from(its_end)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut supervisor = supervisor.spawn().context("can't start the command's supervisor")?;
        let errors = Arc::default();
        let stdout = supervisor.stdout.take().context("no standard output")?;
        let stderr = supervisor.stderr.take().context("no standard error")?;
        let output = if screen::is_json() { Stream::Error } else { Stream::Output };
        let (is_over, over) = watch::channel(false);
        let passing_on = vec![
            tokio::spawn(pass_on(stdout, output, None, Arc::clone(log), over.clone())),
            tokio::spawn(pass_on(stderr, Stream::Error, Some(Arc::clone(&errors)), Arc::clone(log), over)),
        ];
        Ok(Self { control: UnixStream::from_std(control).ok(), supervisor, passing_on, is_over, errors })
    }

    /// Waits for its end, and for nothing that outlives it. May be called again.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        self.supervisor.wait().await?;
        self.pass_on_the_rest().await;
        Ok(())
    }

    async fn pass_on_the_rest(&mut self) {
        self.is_over.send_replace(true);
        while let Some(task) = self.passing_on.first_mut() {
            if timeout(LAST_WORDS, &mut *task).await.is_err() {
                task.abort();
            }
            self.passing_on.remove(0);
        }
    }

    /// Asks it to end, since its owner wants that. Then `kill` ends what has not.
    pub(crate) async fn cancel(&mut self) {
        if let Some(control) = &mut self.control {
            // An error says that it has ended.
            let _ = control.write_all(&[CANCEL]).await;
        }
        self.wait_patiently().await;
    }

    /// Asks it to end, unless it has by itself: whether it has. If so, its end is written to the folder.
    pub(crate) async fn has_ended_or_stops(&mut self, folder: &Folder) -> bool {
        let Some(control) = &mut self.control else { return false };
        let answer = async {
            control.write_all(&[STOP]).await?;
            control.read_u8().await
        };
        match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer == HAS_ENDED,
            // Its supervisor has ended, after it.
            Ok(Err(_)) => folder.has_ended(),
            Err(_) => false,
        }
    }

    /// Waits as long as one may take that is asked to end.
    pub(crate) async fn wait_patiently(&mut self) {
        let _ = timeout(PATIENCE, self.ended()).await;
    }

    /// Makes sure that nothing of the job runs any more, also where it has stopped its supervisor or got away from it: the processes that
    /// do all the same.
    pub(crate) async fn kill(&mut self, signals: &Signals) -> Vec<Pid> {
        self.control = None;
        tokio::select! {
            _ = timeout(ORDER.0, self.supervisor.wait()) => {}
            () = async { signals.second().await; sleep(ORDER.1).await } => {}
        }
        // An error says that it has ended.
        let _ = self.supervisor.start_kill();
        let begun = Instant::now();
        let left = loop {
            // It alone is waited for by the runtime. What was below it is found once it has ended.
            let has_ended = !matches!(self.supervisor.try_wait(), Ok(None));
            let supervisor = self.supervisor.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            let ending = spawn_blocking(move || process::end_descendants(supervisor, TURN)).await;
            let mut left = ending.unwrap_or_else(|failed| resume_unwind(failed.into_panic()));
            left.extend(supervisor.filter(|_| !has_ended));
            let most = if signals.are_two() { REST.1 } else { REST.0 };
            if left.is_empty() || begun.elapsed() > most {
                break left;
            }
            // The time in which a signal makes a process end.
            sleep(Duration::from_millis(1)).await;
        };
        self.pass_on_the_rest().await;
        left
    }

    /// The last of its error output.
    pub(crate) fn last_words(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = errors.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        String::from_utf8_lossy(&errors[cut..]).into_owned()
    }
}

/// Shows what the command writes, so that a terminal obeys none of it, and keeps the last of it.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    to: Stream,
    keep: Option<Arc<Mutex<Vec<u8>>>>,
    log: Arc<Log>,
    mut over: watch::Receiver<bool>,
) {
    let (mut filter, mut buffer) = (Filter::default(), vec![0; DETAIL]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        log.print(&buffer[..read]);
        if let Some(kept) = &keep {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..read]);
            let beyond = kept.len().saturating_sub(DETAIL);
            kept.drain(..beyond);
        }
        if let Some(printer) = printer::started() {
            tokio::select! {
                biased;
                () = printer.pass_on(to, filter.pass(&buffer[..read]).into()) => {}
                _ = over.wait_for(|is_over| *is_over) => {}
            }
        }
    }
}
