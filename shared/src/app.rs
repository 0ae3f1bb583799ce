//! What a function has at hand.

use crate::{
    auth::{Credentials, user_jwt::UserJwtKeys},
    aws::{Aws, EngineCalls},
    config::Config,
    error::{Error, Result},
    job_token::JobTokens,
    jobs::Jobs,
    metrics::Metrics,
    outputs::Outputs,
    registry::Registry,
};

/// Configuration and stores, made once when the function starts. No connection is opened yet.
pub struct App {
    /// The environment's settings.
    pub config: Config,
    /// DynamoDB, for reads over both tables.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// The store of jobs.
    pub jobs: Jobs,
    /// The store of users, keys, hotkeys and chutes.
    pub registry: Registry,
    /// Calls made to the engines.
    pub calls: EngineCalls,
    /// What the request counts.
    pub metrics: Metrics,
    aws: Aws,
    outputs: Option<Outputs>,
    job_tokens: Option<JobTokens>,
    user_jwt_keys: UserJwtKeys,
}

impl App {
    /// From the environment. The error is one line that names what is missing.
    pub fn from_env() -> Result<Self, lambda_http::Error> {
        let config = Config::from_env()?;
        let aws = Aws::from_env()?;
        let dynamodb = aws.dynamodb();
        Ok(Self {
            jobs: Jobs::new(dynamodb.clone(), config.jobs_table.clone(), config.registry_table.clone()),
            registry: Registry::new(dynamodb.clone(), config.registry_table.clone()),
            user_jwt_keys: UserJwtKeys::new(&config)?,
            calls: aws.calls.clone(),
            metrics: Metrics::default(),
            dynamodb,
            outputs: None,
            job_tokens: None,
            config,
            aws,
        })
    }

    /// With the outputs bucket, for functions that use it: the others do not link S3.
    pub fn with_outputs(mut self) -> Result<Self, lambda_http::Error> {
        let bucket = self.config.require_outputs_bucket()?.to_owned();
        self.outputs = Some(Outputs::new(self.aws.s3(), bucket, self.aws.signer(), self.metrics.clone()));
        Ok(self)
    }

    /// With the keys of job tokens, for functions that use them.
    pub fn with_job_tokens(mut self) -> Result<Self, lambda_http::Error> {
        let secret = self.config.require_job_token_secret()?.to_owned();
        self.job_tokens = Some(JobTokens::new(self.aws.secrets(), secret));
        Ok(self)
    }

    /// The store of output files.
    pub fn outputs(&self) -> Result<&Outputs> {
        self.outputs.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the outputs"))
    }

    /// The keys of job tokens.
    pub fn job_tokens(&self) -> Result<&JobTokens> {
        self.job_tokens.as_ref().ok_or_else(|| Error::internal("start", "main.rs does not ask for the job tokens"))
    }

    /// What the request proves about its caller, before anything is read.
    pub fn credentials(&self, request: &lambda_http::Request) -> Result<Credentials> {
        Credentials::verify(request, &self.user_jwt_keys)
    }
}
