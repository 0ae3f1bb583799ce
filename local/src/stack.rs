//! The whole stack in one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Clock, EngineCall, Fault, LogLine, Right,
    binaries::{self, Binaries},
    calls::Callers,
    dynamodb::DynamoDb,
    edge::{ACCESS_KEY_ID, Edge},
    faults::Faults,
    gateway::Gateway,
    lambda::{Lambda, Settings},
    logs::Logs,
    rights::Rights,
    s3, schedule,
    secrets::Secrets,
    share::CpuShare,
    template::Template,
    tls,
};

/// How a stack is to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    port: u16,
    data: Option<PathBuf>,
    release: bool,
    artifacts: Option<PathBuf>,
    copies: Option<PathBuf>,
    template: PathBuf,
    parameters: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    concurrency: usize,
    queue_time: Duration,
    schedules: bool,
    check: bool,
    capacity: bool,
    cpu_share: Option<f64>,
    tls: bool,
    verbose: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            port: 0,
            data: None,
            release: false,
            artifacts: None,
            copies: None,
            template: binaries::workspace().join("template.yaml"),
            parameters: BTreeMap::new(),
            environment: BTreeMap::new(),
            concurrency: 16,
            queue_time: Duration::from_secs(5),
            schedules: false,
            check: false,
            capacity: false,
            cpu_share: None,
            tls: false,
            verbose: std::env::var_os("RUST_LOG").is_some(),
        }
    }
}

impl Builder {
    /// The API's port, before that of the AWS endpoint; 0, the default, makes both free ones.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Keeps jobs, files, registry and secret in this folder. By default they are gone at the end.
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Runs the functions' release build.
    pub fn release(mut self, release: bool) -> Self {
        self.release = release;
        self
    }

    /// Runs what `sam build` has made in this folder, and builds nothing.
    pub fn artifacts(mut self, folder: impl Into<PathBuf>) -> Self {
        self.artifacts = Some(folder.into());
        self
    }

    /// Runs copies of the functions' binaries, made in this folder. They are written in one go, as Lambda unpacks a package;
    /// what a linker has written piece by piece the kernel keeps in smaller pieces, and it starts up to a fifth slower.
    pub fn copies(mut self, folder: impl Into<PathBuf>) -> Self {
        self.copies = Some(folder.into());
        self
    }

    /// Another template than the repository's.
    pub fn template(mut self, path: impl Into<PathBuf>) -> Self {
        self.template = path.into();
        self
    }

    /// A parameter of the template.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// A variable in the environment of every function, over the template's.
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Requests that may run at the same time, over all functions; 16 by default.
    pub fn concurrency(mut self, environments: usize) -> Self {
        self.concurrency = environments;
        self
    }

    /// How long a request waits when as many run as may, before it gets 503; 5 seconds by default. Lambda lets none wait, and has
    /// room for a thousand.
    pub fn queue_time(mut self, time: Duration) -> Self {
        self.queue_time = time;
        self
    }

    /// Invokes scheduled functions at their rates. Off by default: tests use [`Stack::run_schedule`].
    pub fn schedules(mut self, on: bool) -> Self {
        self.schedules = on;
        self
    }

    /// Starts every function once, so that one that can't start is an error now. Off by default.
    pub fn check_functions(mut self, on: bool) -> Self {
        self.check = on;
        self
    }

    /// Counts what functions consume of DynamoDB, and tells it with each answer. Off by default: it costs time.
    pub fn capacity(mut self, on: bool) -> Self {
        self.capacity = on;
        self
    }

    /// Gives every function this share of a core, as Lambda gives less to functions with less memory. Needs Linux and root.
    pub fn cpu_share(mut self, share: f64) -> Self {
        self.cpu_share = Some(share);
        self
    }

    /// Has functions speak to the engines through TLS, as they do in AWS.
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// Shows the functions' logs on stderr. By default when `RUST_LOG` is set.
    pub fn verbose(mut self, on: bool) -> Self {
        self.verbose = on;
        self
    }

    /// Builds the functions when they are missing or old, and starts everything.
    pub async fn start(self) -> Result<Stack> {
        // For whoever makes a client of reqwest's in this process.
        jobchute::install_crypto();
        let template = Template::read(&self.template, &self.parameters)?;
        // Before the build, which may take minutes: the port is taken or it is not.
        let (api, api_address) = listen(self.port).await?;
        let aws_port = if self.port == 0 { 0 } else { self.port.checked_add(1).context("there is no port 65536")? };
        let (aws, aws_address) = listen(aws_port).await?;
        let binaries = match self.artifacts {
            Some(folder) => Binaries::Sam(folder),
            None => binaries::build(self.release).await?,
        };
        for function in &template.functions {
            binaries.check(function)?;
        }
        let binaries = match &self.copies {
            Some(folder) => binaries.copied(&template.functions, folder)?,
            None => binaries,
        };

        let temporary = match &self.data {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
                None
            }
            None => Some(TempDir::with_prefix("jobchute-").context("can't make a temporary folder")?),
        };
        let folder = self.data.as_deref().or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        let data = self.data.as_deref();

        let stop = CancellationToken::new();
        let stop_on_drop = stop.clone().drop_guard();
        let clock = Clock::default();
        let callers = Arc::new(Callers::default());
        let logs = Arc::new(Logs::new(self.verbose));
        let tasks = TaskTracker::new();
        let aws_url = format!("http://{aws_address}");
        let mut endpoints = endpoints(&aws_url);
        if self.tls {
            endpoints = tls::start(aws_address, folder, &stop).await?;
        }
        let share = self.cpu_share.map(CpuShare::new).transpose()?;
        let lambda = Arc::new(Lambda::new(
            &template.functions,
            Settings {
                binaries,
                environment: endpoints.into_iter().chain(self.environment).collect(),
                concurrency: self.concurrency,
                share,
                queue_time: self.queue_time,
                logs: Arc::clone(&logs),
                callers: Arc::clone(&callers),
                stop: stop.clone(),
                tasks: tasks.clone(),
            },
        ));
        let faults = Faults::default();
        let serving = TaskTracker::new();
        let granted = template.functions.iter().map(|function| (function.package.clone(), function.rights.clone()));
        let rights = Arc::new(Rights::new(granted.collect()));
        let edge = Arc::new(Edge {
            dynamodb: DynamoDb::start(&template.tables, data, &clock, &stop).await?,
            s3: s3::Engine::open(&template.buckets, folder, data.is_some())?,
            s3_cors: template.buckets.iter().flat_map(|bucket| bucket.cors.clone()).collect(),
            secrets: Secrets::open(&template.secrets, data)?,
            lambda: Arc::clone(&lambda),
            callers,
            faults: faults.clone(),
            rights: Arc::clone(&rights),
            sequence: AtomicU64::new(0),
            capacity: self.capacity,
            serving: serving.clone(),
        });
        tokio::spawn(edge.serve(aws, stop.clone()));
        if self.check {
            lambda.check().await?;
        }
        let gateway = Arc::new(Gateway::new(&template, Arc::clone(&lambda), clock.clone(), api_address));
        tokio::spawn(gateway.serve(api, stop.clone()));
        if self.schedules {
            schedule::start(&template.functions, &lambda, &clock, &stop);
        }
        Ok(Stack {
            url: format!("http://{api_address}"),
            aws_url,
            template,
            lambda,
            clock,
            faults,
            rights,
            logs,
            serving,
            tasks,
            stop,
            _stop_on_drop: stop_on_drop,
            _temporary: temporary,
        })
    }
}

/// The variables by which the functions' SDKs find their engines.
pub(crate) fn endpoints(url: &str) -> Vec<(String, String)> {
    ["DYNAMODB", "S3", "SECRETS_MANAGER"].map(|engine| (format!("AWS_ENDPOINT_URL_{engine}"), url.to_owned())).into()
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.with_context(|| format!("can't listen on port {port}; choose another one with --port"))?;
    let address = listener.local_addr().context("can't listen")?;
    Ok((listener, address))
}

thread_local! {
    /// Connections are kept for a caller's next call. A test has its thread to itself, or finds those of the one before closed.
    static HTTP: reqwest::Client = jobchute::plain_http().build().expect("a client");
}

/// A running stack. Dropping it stops everything it started.
pub struct Stack {
    url: String,
    aws_url: String,
    template: Template,
    lambda: Arc<Lambda>,
    clock: Clock,
    faults: Faults,
    rights: Arc<Rights>,
    logs: Arc<Logs>,
    serving: TaskTracker,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    _temporary: Option<TempDir>,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("url", &self.url).field("aws_url", &self.aws_url).finish_non_exhaustive()
    }
}

impl Stack {
    /// In memory, on free ports, by the system's clock, without schedules: what a test needs.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Any other way.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The API, as its clients see it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// DynamoDB, S3, Secrets Manager and Lambda's Invoke, on one endpoint. Any access key has the secret
    /// [`SECRET_ACCESS_KEY`](crate::SECRET_ACCESS_KEY).
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

    /// One DynamoDB call, as any client may make it. The engine knows the access key and checks no signature.
    pub async fn dynamodb(&self, operation: &str, input: Value) -> Result<Value> {
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
        self.rights.unused()
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
