//! The command of a job while it runs.

use std::{
    ffi::OsString,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    process,
    screen::{self, Filter},
    secrets::HANDED_OVER,
    work::{
        folder::{Assignment, Folder},
        log::Log,
        supervisor::TERMINATE,
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

/// A command that runs below its supervisor. Dropped, it is killed with all that it has started.
pub(crate) struct Running {
    supervisor: Child,
    /// The supervisor kills when this is closed.
    control: Option<ChildStdin>,
    passing_on: Vec<JoinHandle<()>>,
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut supervisor = supervisor.spawn().context("can't start the command's supervisor")?;
        let errors = Arc::default();
        let stdout = supervisor.stdout.take().context("no standard output")?;
        let stderr = supervisor.stderr.take().context("no standard error")?;
        let passing_on = vec![
            match screen::is_json() {
                true => tokio::spawn(pass_on(stdout, tokio::io::stderr(), None, Arc::clone(log))),
                false => tokio::spawn(pass_on(stdout, tokio::io::stdout(), None, Arc::clone(log))),
            },
            tokio::spawn(pass_on(stderr, tokio::io::stderr(), Some(Arc::clone(&errors)), Arc::clone(log))),
        ];
        Ok(Self { control: supervisor.stdin.take(), supervisor, passing_on, errors })
    }

    /// Waits for its end, and for nothing that outlives it.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        self.supervisor.wait().await?;
        for task in &mut self.passing_on {
            if timeout(LAST_WORDS, &mut *task).await.is_err() {
                task.abort();
            }
        }
        Ok(())
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn stop(&mut self) {
        if let Some(control) = &mut self.control {
            // An error says that it has ended.
            let _ = control.write_all(&[TERMINATE]).await;
        }
        if timeout(PATIENCE, self.ended()).await.is_err() {
            self.control = None;
            let _ = timeout(PATIENCE, self.ended()).await;
        }
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
    mut to: impl AsyncWrite + Unpin,
    keep: Option<Arc<Mutex<Vec<u8>>>>,
    log: Arc<Log>,
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
        // Nobody may read it.
        let _ = to.write_all(filter.pass(&buffer[..read]).as_bytes()).await;
        let _ = to.flush().await;
    }
}
