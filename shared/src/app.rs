//! What a function has at hand.

use lambda_http::Request;

use crate::{
    audit::Audit,
    auth::{JobClaims, JobTokens, KeyEnd, user_jwt::UserJwtKeys},
    aws::{Aws, EngineCalls},
    config::Config,
    deliveries::Deliverer,
    error::{Error, Result},
    events::EventBus,
    http::request::api_base,
    metrics::Metrics,
    outputs::{Bucket, LogPlaces, Signer},
    payloads::Payloads,
    tables::{Registry, Tables, jobs::Jobs},
    uploads::{InputUploads, Uploads},
};

/// Configuration and stores, made once when the function starts. No connection is opened yet.
pub struct App {
    /// The environment's settings.
    pub config: Config,
    /// Both tables, for reads over them.
    pub tables: Tables,
    /// The store of jobs.
    pub jobs: Jobs,
    /// The store of users, keys, hotkeys and chutes.
    pub registry: Registry,
    /// Calls made to the engines.
    pub calls: EngineCalls,
    /// What the request counts.
    pub metrics: Metrics,
    /// What the administrator asks for.
    pub audit: Audit,
    /// When the API key ends that the request under way has shown.
    pub(crate) key_end: KeyEnd,
    aws: Aws,
    bucket: Option<Bucket>,
    log_places: Option<LogPlaces>,
    job_tokens: Option<JobTokens>,
    deliverer: Option<Deliverer>,
    event_bus: Option<EventBus>,
    /// Who may issue user JWTs.
    pub(crate) user_jwt_keys: UserJwtKeys,
}

impl App {
    /// From the environment. The error is one line that names what is missing.
    pub fn from_env() -> Result<Self, lambda_http::Error> {
        let config = Config::from_env()?;
        let aws = Aws::from_env()?;
        let tables = Tables::new(aws.dynamodb(), config.jobs_table.clone(), config.registry_table.clone());
        Ok(Self {
            jobs: Jobs::new(tables.clone()),
            registry: Registry::new(tables.clone()),
            user_jwt_keys: UserJwtKeys::new(&config)?,
            calls: aws.calls.clone(),
            metrics: Metrics::default(),
            audit: Audit::default(),
            key_end: KeyEnd::default(),
            tables,
            bucket: None,
            log_places: None,
            job_tokens: None,
            deliverer: None,
            event_bus: None,
            config,
            aws,
        })
    }

    /// With the outputs bucket, for functions that use it: the others do not link S3.
    pub fn with_bucket(mut self) -> Result<Self, lambda_http::Error> {
        let bucket = self.config.require_outputs_bucket()?.to_owned();
        let (credentials, region) = self.aws.signing();
        let signer = Signer::new(credentials, region);
        self.bucket = Some(Bucket::new(self.aws.s3(), bucket, signer, self.metrics.clone()));
        Ok(self)
    }

    /// With the places of logs in the bucket, for the function that tells them: it does not link S3.
    pub fn with_log_places(mut self) -> Result<Self, lambda_http::Error> {
        let base = self.aws.bucket_base(self.config.require_outputs_bucket()?, self.config.require_outputs_domain()?);
        let (credentials, region) = self.aws.signing();
        self.log_places = Some(LogPlaces::new(base, Signer::new(credentials, region)));
        Ok(self)
    }

    /// With the keys of job tokens, for functions that use them.
    pub fn with_job_tokens(mut self) -> Result<Self, lambda_http::Error> {
        let secret = self.config.require_job_token_secret()?.to_owned();
        self.job_tokens = Some(JobTokens::new(self.aws.secrets(), secret));
        Ok(self)
    }

    /// With the function that delivers webhooks, for functions that call it.
    pub fn with_deliverer(mut self) -> Result<Self, lambda_http::Error> {
        let function = self.config.require_deliver_function()?.to_owned();
        self.deliverer = Some(Deliverer::new(self.aws.signed("lambda", "AWS_ENDPOINT_URL_LAMBDA"), function));
        Ok(self)
    }

    /// With the EventBridge bus, for the function that puts events on it.
    pub fn with_event_bus(mut self) -> Result<Self, lambda_http::Error> {
        let name = self.config.require_event_bus()?.to_owned();
        self.event_bus = Some(EventBus::new(self.aws.signed("events", "AWS_ENDPOINT_URL_EVENTBRIDGE"), name));
        Ok(self)
    }

    /// The EventBridge bus.
    pub fn event_bus(&self) -> Result<&EventBus> {
        self.event_bus.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the event bus"))
    }

    /// The function that delivers webhooks.
    pub fn deliverer(&self) -> Result<&Deliverer> {
        self.deliverer.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the deliverer"))
    }

    /// The store of output files.
    pub fn bucket(&self) -> Result<&Bucket> {
        self.bucket.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the bucket"))
    }

    /// The places of logs.
    pub fn log_places(&self) -> Result<&LogPlaces> {
        self.log_places.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the places of logs"))
    }

    /// What jobs carry beside their state.
    pub fn payloads(&self) -> Result<Payloads<'_>> {
        Ok(Payloads { bucket: self.bucket()? })
    }

    /// The keys of job tokens.
    pub fn job_tokens(&self) -> Result<&JobTokens> {
        self.job_tokens.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the job tokens"))
    }

    /// The uploads of inputs.
    pub fn input_uploads(&self, request: &Request) -> Result<InputUploads<'_>> {
        Ok(InputUploads {
            bucket: self.bucket()?,
            api_base: api_base(request, &self.config),
            window: self.config.upload_window,
            threshold: self.config.multipart_threshold,
        })
    }

    /// The uploads of the attempt that these claims are for.
    pub fn uploads<'a>(&'a self, request: &Request, claims: &'a JobClaims) -> Result<Uploads<'a>> {
        Ok(Uploads {
            bucket: self.bucket()?,
            tokens: self.job_tokens()?,
            jobs: &self.jobs,
            claims,
            api_base: api_base(request, &self.config),
            window: self.config.upload_window,
            threshold: self.config.multipart_threshold,
        })
    }
}
