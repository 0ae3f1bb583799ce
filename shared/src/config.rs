//! Configuration from the environment, read once when a function starts. An error names the variable, never its value.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use crate::{quotas::Quotas, time::DAY, webhook::Reach};

/// Seconds that a job waits for a miner unless the deployment or its creator says otherwise: 7 days.
pub const PENDING: i64 = 7 * DAY;

/// Reads variables; a test hands in its own.
pub struct Environment<F>(pub F);

/// A variable that is missing or unusable: the function must not start.
#[derive(PartialEq, thiserror::Error)]
#[error("environment variable {variable} {problem}")]
pub struct ConfigError {
    variable: &'static str,
    problem: &'static str,
}

impl ConfigError {
    /// That this variable has this problem.
    pub const fn new(variable: &'static str, problem: &'static str) -> Self {
        Self { variable, problem }
    }
}

/// As `main` prints it: one line.
impl std::fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Environment<fn(&str) -> Option<String>> {
    /// The process's own.
    pub fn of_process() -> Self {
        Self(|variable| std::env::var(variable).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// A variable that must be there and not empty.
    pub fn required(&self, variable: &'static str) -> Result<String, ConfigError> {
        self.optional(variable).ok_or(ConfigError { variable, problem: "is not set" })
    }

    /// A variable that may be missing; empty counts as missing, since CloudFormation has no absent values.
    pub fn optional(&self, variable: &'static str) -> Option<String> {
        self.0(variable).filter(|value| !value.is_empty())
    }

    /// A variable that must parse when it is there.
    pub fn parsed<T: FromStr>(&self, variable: &'static str, default: T) -> Result<T, ConfigError> {
        match self.optional(variable) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| ConfigError { variable, problem: "is not a number" }),
        }
    }
}

/// Everything a function may be told. What only some functions need is optional here, and [`crate::App`] asks for it by
/// name where it is used.
#[derive(Debug)]
pub struct Config {
    /// The table of jobs (`JOBS_TABLE`).
    pub jobs_table: String,
    /// The table of users, keys, hotkeys, chutes and usage (`REGISTRY_TABLE`).
    pub registry_table: String,
    /// The bucket of output files (`OUTPUTS_BUCKET`).
    pub outputs_bucket: Option<String>,
    /// The bucket's domain (`OUTPUTS_DOMAIN`).
    pub outputs_domain: Option<String>,
    /// Name or ARN of the secret that signs job tokens (`JOB_TOKEN_SECRET`).
    pub job_token_secret: Option<String>,
    /// Who may issue user JWTs (`USER_JWT_KEYS`, a JWKS document): its keys, of whatever kind. Empty: nobody.
    pub user_jwt_keys: Vec<Value>,
    /// The `iss` that user JWTs must carry, when set (`USER_JWT_ISSUER`).
    pub user_jwt_issuer: Option<String>,
    /// The `aud` that user JWTs must carry, when set (`USER_JWT_AUDIENCE`).
    pub user_jwt_audience: Option<String>,
    /// Jobs a day for users without a quota of their own, by chute id, `global` or `*` (`DEFAULT_QUOTAS`, JSON).
    pub default_quotas: Quotas,
    /// Seconds that a miner has for uploads after the job's time, and that an upload URL lives (`UPLOAD_WINDOW_SECONDS`).
    pub upload_window: i64,
    /// Seconds that a job waits for a miner, unless it is created with a time of its own (`PENDING_SECONDS`).
    pub pending: i64,
    /// Days that a job is kept when it is over (`RETENTION_DAYS`).
    pub retention_days: u32,
    /// Declared sizes above this many bytes are uploaded in parts (`MULTIPART_THRESHOLD_BYTES`).
    pub multipart_threshold: u64,
    /// Bytes that the files of a job may have together (`MAX_JOB_BYTES`; 0 for any number).
    pub max_job_bytes: u64,
    /// Seconds for which jobs can name an input (`INPUT_DAYS`).
    pub input_retention: i64,
    /// Which addresses webhooks may have (`WEBHOOK_NETWORKS`: networks beside the public ones).
    pub reach: Reach,
    /// The function that delivers webhooks (`DELIVER_FUNCTION`).
    pub deliver_function: Option<String>,
    /// The EventBridge bus that jobs' ends are put on (`EVENT_BUS_NAME`).
    pub event_bus: Option<String>,
    /// The CloudFormation stack that metrics are of (`STACK_NAME`).
    pub stack_name: String,
    /// The API's public address, when it is not the one that API Gateway names (`API_BASE_URL`).
    pub api_base_url: Option<String>,
}

/// A JWKS document, whose keys may be of kinds that nobody here knows. (RFC 7517, section 5.)
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&Environment::of_process())
    }

    /// Reads any environment.
    pub fn read<F: Fn(&str) -> Option<String>>(env: &Environment<F>) -> Result<Self, ConfigError> {
        Ok(Self {
            jobs_table: env.required("JOBS_TABLE")?,
            registry_table: env.required("REGISTRY_TABLE")?,
            outputs_bucket: env.optional("OUTPUTS_BUCKET"),
            outputs_domain: env.optional("OUTPUTS_DOMAIN"),
            job_token_secret: env.optional("JOB_TOKEN_SECRET"),
            user_jwt_keys: match env.optional("USER_JWT_KEYS") {
                None => Vec::new(),
                Some(document) => serde_json::from_str(&document)
                    .map(|Jwks { keys }| keys)
                    .map_err(|_| ConfigError { variable: "USER_JWT_KEYS", problem: "is not a JWKS document" })?,
            },
            user_jwt_issuer: env.optional("USER_JWT_ISSUER"),
            user_jwt_audience: env.optional("USER_JWT_AUDIENCE"),
            default_quotas: match env.optional("DEFAULT_QUOTAS") {
                None => Quotas::default(),
                Some(document) => {
                    serde_json::from_str(&document).ok().and_then(|map| Quotas::new(map).ok()).ok_or(ConfigError {
                        variable: "DEFAULT_QUOTAS",
                        problem: "is not a JSON map of counts by chute id, global or *",
                    })?
                }
            },
            upload_window: env.parsed("UPLOAD_WINDOW_SECONDS", 3600)?,
            pending: env.parsed("PENDING_SECONDS", PENDING)?,
            retention_days: env.parsed("RETENTION_DAYS", 30)?,
            multipart_threshold: env.parsed("MULTIPART_THRESHOLD_BYTES", 64 << 20)?,
            max_job_bytes: match env.parsed("MAX_JOB_BYTES", 0)? {
                0 => u64::MAX,
                most => most,
            },
            input_retention: DAY * env.parsed("INPUT_DAYS", 30)?,
            reach: Reach::parse(&env.optional("WEBHOOK_NETWORKS").unwrap_or_default())
                .ok_or(ConfigError { variable: "WEBHOOK_NETWORKS", problem: "is not a list of networks" })?,
            deliver_function: env.optional("DELIVER_FUNCTION"),
            event_bus: env.optional("EVENT_BUS_NAME"),
            stack_name: env.optional("STACK_NAME").unwrap_or_else(|| "jobchute".to_owned()),
            api_base_url: env.optional("API_BASE_URL").map(|url| url.trim_end_matches('/').to_owned()),
        })
    }

    /// The outputs bucket, for a function that cannot do without.
    pub fn require_outputs_bucket(&self) -> Result<&str, ConfigError> {
        self.outputs_bucket.as_deref().ok_or(ConfigError { variable: "OUTPUTS_BUCKET", problem: "is not set" })
    }

    /// The bucket's domain, for a function that cannot do without.
    pub fn require_outputs_domain(&self) -> Result<&str, ConfigError> {
        self.outputs_domain.as_deref().ok_or(ConfigError { variable: "OUTPUTS_DOMAIN", problem: "is not set" })
    }

    /// The job-token secret, for a function that cannot do without.
    pub fn require_job_token_secret(&self) -> Result<&str, ConfigError> {
        self.job_token_secret.as_deref().ok_or(ConfigError { variable: "JOB_TOKEN_SECRET", problem: "is not set" })
    }

    /// The function that delivers webhooks, for a function that cannot do without.
    pub fn require_deliver_function(&self) -> Result<&str, ConfigError> {
        self.deliver_function.as_deref().ok_or(ConfigError { variable: "DELIVER_FUNCTION", problem: "is not set" })
    }

    /// The EventBridge bus, for a function that cannot do without.
    pub fn require_event_bus(&self) -> Result<&str, ConfigError> {
        self.event_bus.as_deref().ok_or(ConfigError { variable: "EVENT_BUS_NAME", problem: "is not set" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&Environment(|variable: &str| {
            pairs.iter().find(|(name, _)| *name == variable).map(|(_, value)| (*value).to_owned())
        }))
    }

    #[test]
    fn an_error_names_the_variable_and_never_its_value() {
        let error = read(&[("JOBS_TABLE", "jobs")]).expect_err("REGISTRY_TABLE is missing").to_string();
        assert_eq!(error, "environment variable REGISTRY_TABLE is not set");
        let tables = [("JOBS_TABLE", "j"), ("REGISTRY_TABLE", "r"), ("USER_JWT_KEYS", "hunter2")];
        let error = read(&tables).expect_err("not a JWKS").to_string();
        assert_eq!(error, "environment variable USER_JWT_KEYS is not a JWKS document");
    }

    #[test]
    fn an_empty_variable_counts_as_missing() {
        let error = read(&[("JOBS_TABLE", ""), ("REGISTRY_TABLE", "r")]).expect_err("empty").to_string();
        assert_eq!(error, "environment variable JOBS_TABLE is not set");
        let config = read(&[("JOBS_TABLE", "j"), ("REGISTRY_TABLE", "r"), ("UPLOAD_WINDOW_SECONDS", "")]);
        assert_eq!(config.expect("complete").upload_window, 3600);
    }
}
