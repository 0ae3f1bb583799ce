//! The whole stack in one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    account::REGION,
    clock::Clock,
    credentials::ACCESS_KEY_ID,
    data::DataFolder,
    engines,
    event_buses::{BusEvent, EventBuses},
    faults::{EngineCall, Fault, Faults},
    lambda::{Asynchronous, Lambda},
    ledger::{Billed, Ledger},
    logs::{LogLine, Logs},
    others::{Others, STREAMS, own_engines},
    rights::{Right, Rights},
    schedule,
    streams::Streams,
    template::Template,
    temporary::Temporary,
};

thread_local! {
    /// Connections are kept for a caller's next call. A test has its thread to itself, or finds those of the one before closed.
    static HTTP: reqwest::Client = jobchute::plain_http().build().expect("a client");
}

/// A running stack. Dropping it stops everything it started.
pub struct Stack {
    pub(crate) url: String,
    pub(crate) aws_url: String,
    pub(crate) template: Template,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) asynchronous: Arc<Asynchronous>,
    pub(crate) event_buses: Arc<EventBuses>,
    pub(crate) streams: Streams,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) rights: Arc<Rights>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) serving: TaskTracker,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) others: Option<Others>,
    pub(crate) _stop_on_drop: DropGuard,
    pub(crate) secret: String,
    pub(crate) _temporary: Arc<Temporary>,
    pub(crate) _data: Option<DataFolder>,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("url", &self.url).field("aws_url", &self.aws_url).finish_non_exhaustive()
    }
}

impl Stack {
    /// The API, as its clients see it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// DynamoDB, EventBridge, Lambda's Invoke, S3 and Secrets Manager, on one endpoint. Any access key has the secret
    /// [`SECRET_ACCESS_KEY`](crate::SECRET_ACCESS_KEY), or where data are kept the one that [`Stack::environment`] tells.
    pub fn aws_url(&self) -> &str {
        &self.aws_url
    }

    /// The physical name of a resource of the template: what `Ref` gives.
    pub fn resource(&self, logical_id: &str) -> Result<&str> {
        self.template
            .names
            .get(logical_id)
            .map(String::as_str)
            .with_context(|| format!("there is no resource {logical_id}"))
    }

    /// A client of the S3 that the stack uses, where that is not its own.
    pub fn others_s3(&self) -> Option<&aws_sdk_s3::Client> {
        self.others.as_ref().map(Others::s3)
    }

    /// One DynamoDB call, as any client may make it. The engine knows the access key and checks no signature.
    pub async fn dynamodb(&self, operation: &str, input: Value) -> Result<Value> {
        if let Some(others) = &self.others {
            return others.dynamodb(operation, &input).await;
        }
        let credential = format!("{ACCESS_KEY_ID}/20260101/us-east-1/dynamodb/aws4_request");
        let signed = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0");
        let request = HTTP.with(Clone::clone).post(&self.aws_url);
        let request = request.header("authorization", signed).header("x-amz-date", "20260101T000000Z");
        let request = request.header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let request = request.header("content-type", "application/x-amz-json-1.0").body(input.to_string());
        let answer = request.send().await.context("DynamoDB does not answer")?;
        let (status, body) = (answer.status(), answer.text().await.context("DynamoDB's answer ends early")?);
        ensure!(status.is_success(), "{operation}: {body}");
        serde_json::from_str(&body).context("DynamoDB's answer is not JSON")
    }

    /// The file that is a function's program.
    pub fn binary(&self, package: &str) -> Option<PathBuf> {
        self.lambda.binary(package)
    }

    /// The megabytes that the template gives to a function.
    pub fn memory(&self, package: &str) -> Option<u64> {
        let function = self.template.functions.iter().find(|function| function.package == package)?;
        Some(function.memory_mb)
    }

    /// Invokes a function by its package, as `aws lambda invoke` does. An error that the function reports is one here.
    pub async fn invoke(&self, package: &str, event: Value) -> Result<Value> {
        let invocation = self.lambda.invoke(package, event.to_string().into()).await;
        let invocation = invocation.map_err(|error| anyhow!("{package}: {error}"))?;
        match invocation.outcome {
            Ok(answer) => serde_json::from_slice(&answer).with_context(|| format!("{package}: the answer is not JSON")),
            Err(document) => {
                let error: Value = serde_json::from_slice(&document).unwrap_or_default();
                bail!("{package}: {}", error["errorMessage"].as_str().unwrap_or("unknown error"))
            }
        }
    }

    /// Invokes a scheduled function once, with the event of its schedule at the clock's time.
    pub async fn run_schedule(&self, package: &str) -> Result<Value> {
        let function = self.template.functions.iter().find(|function| function.package == package);
        let schedule = function.and_then(|function| function.schedules.first());
        let schedule = schedule.with_context(|| format!("{package} has no schedule"))?;
        self.invoke(package, schedule::event(schedule, &self.clock)?).await
    }

    /// What every function finds in its environment here, with an operator's credentials: enough to run any of them elsewhere, such as
    /// under `cargo lambda watch --env-file`. Empty values are left out.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<_, _> = self.template.functions.iter().flat_map(|f| f.environment.clone()).collect();
        all.extend(engines::endpoints(&self.aws_url));
        let credentials =
            [("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", &self.secret)];
        all.extend(credentials.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.retain(|_, value| !value.is_empty());
        all
    }

    /// Ends every execution environment that waits for work: the next request of each function is a cold start.
    pub fn reclaim(&self) {
        self.lambda.reclaim();
    }

    /// The clock that tells functions what time it is.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks `hook` what happens to each engine call of a function, and of a client with a presigned URL, from now on.
    pub fn set_faults(&self, hook: impl Fn(&EngineCall) -> Fault + Send + Sync + 'static) {
        own_engines("they do not fail when they are told to");
        self.faults.set(hook);
    }

    /// Waits until every engine call that was begun has ended. A process that was killed may have left some under way.
    pub async fn engines_at_rest(&self) {
        self.serving.close();
        self.serving.wait().await;
        self.serving.reopen();
    }

    /// What the template's policies allow and no call has needed so far, by package. What they do not allow is refused.
    pub fn unused_rights(&self) -> BTreeSet<(String, Right)> {
        own_engines("what functions may do is not the template's");
        self.rights.unused()
    }

    /// What AWS would have billed since the last time this was asked, the oldest first. It is kept from the first time on; DynamoDB's
    /// units only with [`Builder::capacity`](crate::Builder::capacity).
    pub fn take_billed(&self) -> Vec<Billed> {
        own_engines("nobody counts what is asked of them");
        self.ledger.take()
    }

    /// What was put on EventBridge since the last time this was asked, the oldest first.
    pub fn take_events(&self) -> Vec<BusEvent> {
        own_engines(STREAMS);
        self.event_buses.take()
    }

    /// Waits until functions were invoked with everything that is in a stream or was accepted for them, and have taken it. An event that is to
    /// be tried again at a time that the clock has not reached is not waited for.
    pub async fn events_at_rest(&self) {
        own_engines(STREAMS);
        self.streams.at_rest().await;
        self.asynchronous.at_rest().await;
        // A function that was invoked may have written.
        self.streams.at_rest().await;
    }

    /// Removes the items whose time to live is over, as DynamoDB does "within a few days", and the stack every 10 minutes.
    pub async fn expire_items(&self) -> Result<usize> {
        own_engines("they expire items when they see fit");
        self.streams.expire().await
    }

    /// What functions wrote to stdout and stderr, the oldest first. The last lines of a request may arrive a moment
    /// after its answer.
    pub fn logs(&self) -> Vec<LogLine> {
        self.logs.lines()
    }

    /// Stops everything and waits until the last process is gone: what functions wrote, to the last line.
    pub async fn shutdown(self) -> Vec<LogLine> {
        self.stop.cancel();
        self.tasks.close();
        // A process that was killed and does not go is the kernel's.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        self.logs.lines()
    }
}
