//! How a stack is started.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    binaries::{self, Binaries},
    calls::Callers,
    clock::Clock,
    credentials::SECRET_ACCESS_KEY,
    data::DataFolder,
    disk::{PAUSE, TRIES},
    dynamodb::DynamoDb,
    edge::Edge,
    engines,
    event_buses::EventBuses,
    faults::Faults,
    gateway::{
        Gateway,
        front::{Front, ROUTER_SECRET},
    },
    lambda::{Asynchronous, Lambda, Settings},
    ledger::Ledger,
    logs::Logs,
    loopback,
    others::Others,
    rights::Rights,
    s3, schedule,
    secrets::Secrets,
    share::CpuShare,
    stack::Stack,
    streams::Streams,
    template::{STACK_NAME, Table, Template},
    temporary::Temporary,
    tls,
};

/// For how long Lambda's credentials were seen to work.
const CREDENTIALS_LIFE: Duration = Duration::from_secs(12 * 3600);

/// How a stack is to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    port: u16,
    front: Front,
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
    unversioned_objects: u64,
    credentials_life: Duration,
    files_url: Option<String>,
    verbose: bool,
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
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            port: 0,
            front: Front::of_environment(),
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
            unversioned_objects: 0,
            credentials_life: CREDENTIALS_LIFE,
            files_url: None,
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

    /// What stands before the functions, by default what `JOBCHUTE_FRONT` names: `http`, `rest` or `urls`.
    pub fn front(mut self, front: Front) -> Self {
        self.front = front;
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

    /// Gives the first objects that are stored the version id `null`, as a new bucket does: what was switched on with it takes up to
    /// 15 minutes to reach all of S3 ("Enabling versioning on buckets").
    pub fn unversioned_objects(mut self, objects: u64) -> Self {
        self.unversioned_objects = objects;
        self
    }

    /// How long the credentials of an environment are good for, which S3 looks at when a URL is used that they signed. By default 12
    /// hours, as Lambda's were seen to be.
    pub fn credentials_life(mut self, life: Duration) -> Self {
        self.credentials_life = life;
        self
    }

    /// Where S3 is reached from elsewhere, such as `https://files.example.org`: a proxy there hands requests on to the AWS endpoint with the
    /// `Host` that they came with. Presigned URLs begin with it. It needs a data folder: in memory, everybody knows the secret of access keys.
    pub fn files_url(mut self, url: impl Into<String>) -> Self {
        self.files_url = Some(url.into());
        self
    }

    /// Shows the functions' logs on stderr. By default when `RUST_LOG` is set.
    pub fn verbose(mut self, on: bool) -> Self {
        self.verbose = on;
        self
    }

    /// Builds the functions when they are missing or old, and starts everything.
    pub async fn start(mut self) -> Result<Stack> {
        // For whoever makes a client of reqwest's in this process.
        jobchute::install_crypto();
        ensure!(
            self.files_url.is_none() || self.data.is_some(),
            "a public URL of files needs a data folder: in memory, everybody knows the secret that signs it"
        );
        let others = Others::from_env(self.only_here())?;
        if let Some(others) = &others {
            self = self.parameter(STACK_NAME, others.stack_name());
        }
        if let Some(front) = self.front.parameter() {
            self.parameters.entry("Front".to_owned()).or_insert_with(|| front.to_owned());
        }
        let mut template = Template::read(&self.template, &self.parameters)?;
        // Before the build, which may take minutes: the port is taken or it is not.
        let (api, api_address) = listen(self.port).await?;
        let mut router_secret = None;
        if self.front == Front::FunctionUrls {
            // What a deployment has to give: each function has an address of its own, and the router before them another.
            self.parameters.entry("ApiBaseUrl".to_owned()).or_insert_with(|| format!("http://{api_address}"));
            if !self.parameters.contains_key("OriginSecret") {
                self = self.parameter("OriginSecret", ROUTER_SECRET);
                router_secret = Some(ROUTER_SECRET);
            }
            template = Template::read(&self.template, &self.parameters)?;
        }
        let aws_port = if self.port == 0 { 0 } else { self.port.checked_add(1).context("there is no port 65536")? };
        let (aws, aws_address) = listen(aws_port).await?;
        let binaries = match self.artifacts {
            Some(folder) => Binaries::found(folder, &template.functions),
            None => binaries::build(self.release).await?,
        };
        for function in &template.functions {
            binaries.check(function)?;
        }
        let binaries = match &self.copies {
            Some(folder) => binaries.copied(&template.functions, folder)?,
            None => binaries,
        };

        let kept = match &self.data {
            Some(folder) => Some(DataFolder::take(folder).await?),
            None => None,
        };
        let data = kept.as_ref().map(|kept| kept.path.as_path());
        let secret = kept.as_ref().map_or(SECRET_ACCESS_KEY, |kept| &kept.secret).to_owned();
        let temporary = Arc::new(Temporary::new()?);
        let folder = data.unwrap_or(temporary.path());

        let stop = CancellationToken::new();
        let stop_on_drop = stop.clone().drop_guard();
        let clock = Clock::default();
        // What a former stack has presigned is not by a key of this one.
        let first_key = if data.is_some() { fastrand::u64(1..50_000_000_000) } else { 0 };
        let callers = Arc::new(Callers::new(self.credentials_life, first_key));
        let logs = Arc::new(Logs::new(self.verbose));
        let tasks = TaskTracker::new();
        let aws_url = format!("http://{aws_address}");
        let mut endpoints = engines::endpoints(&aws_url);
        if self.tls {
            let tls = tls::start(aws_address, folder, &stop).await?;
            endpoints = engines::endpoints(&tls.url);
            endpoints.insert("AWS_CA_BUNDLE".to_owned(), tls.authority.to_string_lossy().into_owned());
        }
        if let Some(others) = &others {
            others.make(&template).await?;
            endpoints.extend(others.variables());
        }
        let files_host = self.files_url.as_deref().map(loopback::public_name).transpose()?;
        if let Some(url) = self.files_url {
            endpoints.insert("AWS_ENDPOINT_URL_S3".to_owned(), url);
        }
        let share = self.cpu_share.map(CpuShare::new).transpose()?;
        let ledger = Arc::new(Ledger::default());
        let lambda = Arc::new(Lambda::new(
            &template.functions,
            Settings {
                binaries,
                environment: endpoints.into_iter().chain(self.environment).collect(),
                concurrency: self.concurrency,
                share,
                queue_time: self.queue_time,
                ledger: Arc::clone(&ledger),
                logs: Arc::clone(&logs),
                callers: Arc::clone(&callers),
                secret: secret.clone(),
                temporary: Arc::clone(&temporary),
                stop: stop.clone(),
                tasks: tasks.clone(),
            },
        ));
        let asynchronous = Asynchronous::open(&lambda, &clock, &stop, data)?;
        let event_buses = Arc::new(EventBuses::new(&clock));
        let faults = Faults::default();
        let serving = TaskTracker::new();
        let granted = template.functions.iter().map(|function| (function.package.clone(), function.rights.clone()));
        let rights =
            Arc::new(Rights::new(granted.collect(), template.tables.iter().map(Table::partition_key).collect()));
        let dynamodb = DynamoDb::start(&template.tables, data, folder, &clock, &stop).await?;
        let records = dynamodb.records().clone();
        let edge = Arc::new(Edge {
            dynamodb,
            s3: s3::Engine::open(&template.buckets, folder, data.is_some(), &secret, self.unversioned_objects)?,
            files_host,
            s3_cors: template.buckets.iter().flat_map(|bucket| bucket.cors.clone()).collect(),
            secrets: Secrets::open(&template.secrets, data)?,
            lambda: Arc::clone(&lambda),
            asynchronous: Arc::clone(&asynchronous),
            event_buses: Arc::clone(&event_buses),
            callers,
            ledger: Arc::clone(&ledger),
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
        let streams = Streams::start(&template.functions, &records, &lambda, &stop, data)?;
        let gateway = Gateway::new(&template, Arc::clone(&lambda), clock.clone(), api_address);
        let gateway = Arc::new(gateway.behind(self.front, router_secret));
        tokio::spawn(gateway.serve(api, stop.clone()));
        if self.schedules {
            schedule::start(&template.functions, &lambda, &clock, &stop);
        }
        Ok(Stack {
            url: format!("http://{api_address}{}", self.front.prefix()),
            aws_url,
            template,
            lambda,
            asynchronous,
            event_buses,
            streams,
            clock,
            faults,
            rights,
            ledger,
            logs,
            serving,
            tasks,
            stop,
            others,
            _stop_on_drop: stop_on_drop,
            secret,
            _temporary: temporary,
            _data: kept,
        })
    }

    /// Why this stack needs its own engines, if it does.
    fn only_here(&self) -> Option<&'static str> {
        let wanted = [
            (self.data.is_some(), "their data are in no folder"),
            (self.capacity, "nobody counts units there"),
            (self.tls, "they have TLS or not"),
            (self.unversioned_objects > 0, "when a bucket keeps versions is theirs to say"),
            (self.credentials_life != CREDENTIALS_LIFE, "the credentials are given"),
        ];
        wanted.into_iter().find_map(|(wanted, why)| wanted.then_some(why))
    }
}

async fn listen(port: u16) -> Result<(TcpListener, SocketAddr)> {
    let mut tries = 0..TRIES;
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries.next().is_some() => sleep(PAUSE).await,
            bound => break bound,
        }
    };
    let listener = listener.with_context(|| format!("can't listen on port {port}; choose another one with --port"))?;
    let address = listener.local_addr().context("can't listen")?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_left_in_a_moment_is_waited_for() -> Result<()> {
        let (first, address) = listen(0).await?;
        let (second, ()) = tokio::join!(listen(address.port()), async { drop(first) });
        second.map(drop)
    }
}
