//! Invocations that nobody waits for ("How Lambda handles errors and retries with asynchronous invocation"): an event is accepted at once and run
//! later, twice more where a run fails, and as long as there is no room for it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{invocation::InvokeError, pool::Lambda};
use crate::{clock::Clock, disk};

/// The most that an event may be ("Invoke": "For asynchronous invocations, the maximum payload size is 1 MB").
pub(crate) const EVENT_LIMIT: usize = 1 << 20;
/// "A one-minute wait between the first two attempts, and two minutes between the second and third attempts", in milliseconds.
const AFTER_A_FAILURE: i64 = 60_000;
/// "The retry interval increases exponentially from 1 second after the first attempt to a maximum of 5 minutes", where there is no room.
const WITHOUT_ROOM: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// The events that were accepted and have not been run to their end.
#[derive(Debug)]
pub(crate) struct Asynchronous {
    lambda: Arc<Lambda>,
    clock: Clock,
    stop: CancellationToken,
    /// Where events outlive this process.
    folder: Option<PathBuf>,
    /// Every event, and when it may run; one that runs could before.
    due: watch::Sender<BTreeMap<Uuid, i64>>,
}

/// One event.
#[derive(Debug, Deserialize, Serialize)]
struct Queued {
    package: String,
    event: Box<RawValue>,
    /// Milliseconds since the Unix epoch.
    accepted: i64,
    /// When it may run.
    due: i64,
    failures: u32,
}

impl Asynchronous {
    /// Goes on with what `folder` has from the last time.
    pub(crate) fn open(
        lambda: &Arc<Lambda>,
        clock: &Clock,
        stop: &CancellationToken,
        folder: Option<&Path>,
    ) -> Result<Arc<Self>> {
        let folder = folder.map(|folder| folder.join("invocations"));
        let queue = Arc::new(Self {
            lambda: Arc::clone(lambda),
            clock: clock.clone(),
            stop: stop.clone(),
            folder,
            due: watch::Sender::default(),
        });
        if let Some(folder) = &queue.folder {
            disk::make_folder(folder).with_context(|| format!("can't make {}", folder.display()))?;
            for entry in fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
                let path = entry.context("can't read a folder")?.path();
                let Some(id) = path.file_name().and_then(|name| Uuid::try_parse(name.to_str()?).ok()) else { continue };
                let text = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
                let queued = serde_json::from_slice(&text).with_context(|| format!("can't use {}", path.display()))?;
                queue.start(id, queued);
            }
        }
        Ok(queue)
    }

    /// Accepts an event, which is JSON: it is run once at least, whatever happens to this process if it has a folder.
    pub(crate) fn accept(self: &Arc<Self>, package: &str, event: Bytes) -> Result<()> {
        let now = self.clock.now();
        let event = serde_json::from_slice(&event).context("the event is not JSON")?;
        let queued = Queued { package: package.to_owned(), event, accepted: now, due: now, failures: 0 };
        let id = Uuid::new_v4();
        self.keep(id, &queued)?;
        self.start(id, queued);
        Ok(())
    }

    /// Waits until no event runs, or could.
    pub(crate) async fn at_rest(&self) {
        // The sender is here.
        let _ = self.due.subscribe().wait_for(|due| due.values().all(|due| *due > self.clock.now())).await;
    }

    fn start(self: &Arc<Self>, id: Uuid, queued: Queued) {
        self.until(id, Some(queued.due));
        let queue = Arc::clone(self);
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(async move { queue.run(id, queued).await }));
    }

    /// Runs an event to its end.
    async fn run(&self, id: Uuid, mut queued: Queued) {
        let limits = self.lambda.asynchronous_limits(&queued.package);
        let mut without_room = 0;
        loop {
            self.clock.reaches(queued.due).await;
            let age = u128::try_from(self.clock.now() - queued.accepted).unwrap_or_default();
            if age > limits.maximum_age.as_millis() {
                self.lambda.note(&queued.package, "An asynchronous event is too old and was dropped.");
                break;
            }
            match self.lambda.invoke(&queued.package, Bytes::from(queued.event.get().to_owned())).await {
                Ok(invocation) if invocation.outcome.is_ok() => break,
                Err(InvokeError::Throttled) => {
                    let [first, longest] = WITHOUT_ROOM;
                    tokio::time::sleep(longest.min(first * (1 << without_room))).await;
                    without_room = (without_room + 1).min(9);
                }
                Ok(_) | Err(_) => {
                    // It was ended with this process, and is no failure of the function's.
                    if self.stop.is_cancelled() {
                        return;
                    }
                    queued.failures += 1;
                    if queued.failures > limits.retries {
                        self.lambda.note(
                            &queued.package,
                            "An asynchronous event has failed for the last time and was dropped.",
                        );
                        break;
                    }
                    queued.due = self.clock.now() + AFTER_A_FAILURE * i64::from(queued.failures);
                    // What can't be written is tried as it was before, should this process end.
                    let _ = self.keep(id, &queued);
                    self.until(id, Some(queued.due));
                }
            }
        }
        if let Some(folder) = &self.folder {
            // At worst it runs again.
            let _ = fs::remove_file(folder.join(id.to_string()));
        }
        self.until(id, None);
    }

    /// Notes when an event may run, or that it is over.
    fn until(&self, id: Uuid, due: Option<i64>) {
        self.due.send_modify(|all| {
            match due {
                Some(due) => all.insert(id, due),
                None => all.remove(&id),
            };
        });
    }

    fn keep(&self, id: Uuid, queued: &Queued) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(id.to_string());
        let text = serde_json::to_vec(queued).context("can't write an event")?;
        disk::replace(&file, &text).with_context(|| format!("can't write {}", file.display()))
    }
}
