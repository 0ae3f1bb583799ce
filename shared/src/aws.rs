//! SDK configuration, built from the environment that Lambda gives to every function.
//!
//! `aws-config` would look for profile files, a metadata service and more, none of which a Lambda has, and would read the
//! system's 145 root certificates: 5 ms of every cold start. Lambda's own variables are all there is to read.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{Region, SharedCredentialsProvider, SharedHttpClient, retry::RetryConfig};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn},
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{config_bag::ConfigBag, timeout::TimeoutConfig};

use crate::{config::Environment, credentials, signed::SignedCalls};

/// How many calls to each engine a function has made, every attempt counted: they are the bill.
#[derive(Debug, Clone, Default)]
pub struct EngineCalls {
    dynamodb: Arc<AtomicU32>,
    s3: Arc<AtomicU32>,
    secrets: Arc<AtomicU32>,
}

impl EngineCalls {
    /// The counts since the last call, as (DynamoDB, S3, Secrets Manager), and starts again from zero.
    pub fn take(&self) -> (u32, u32, u32) {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        (take(&self.dynamodb), take(&self.s3), take(&self.secrets))
    }
}

/// Counts the attempts of one client.
#[derive(Debug)]
struct CountCalls(Arc<AtomicU32>);

#[dyn_dispatch_hint]
impl Intercept for CountCalls {
    fn name(&self) -> &'static str {
        "CountCalls"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A client that is made at its first call. To make one takes 0.1 ms, most of it for the SDK's table of partitions, and a
/// request need not use it: one of the reaper's hardly ever comes to S3.
pub type Lazy<Client> = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// What the three SDK clients have in common.
#[derive(Debug, Clone)]
pub struct Aws {
    region: Region,
    credentials: Credentials,
    http: SharedHttpClient,
    connector: SharedHttpConnector,
    /// Counts of every client made here.
    pub calls: EngineCalls,
}

impl Aws {
    /// Reads Lambda's variables, of which an empty one is missing. An error names the one that is.
    pub fn from_env() -> Result<Self, lambda_http::Error> {
        let env = Environment::of_process();
        let credentials = Credentials::from_keys(
            env.required("AWS_ACCESS_KEY_ID")?,
            env.required("AWS_SECRET_ACCESS_KEY")?,
            env.optional("AWS_SESSION_TOKEN"),
        );
        let connector = connector()?;
        let shared = connector.clone();
        Ok(Self {
            region: Region::new(env.required("AWS_REGION")?),
            credentials,
            http: http_client_fn(move |_, _| shared.clone()),
            connector,
            calls: EngineCalls::default(),
        })
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(self.region.clone())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone())
            .retry_config(retries())
            .timeout_config(timeouts(Duration::from_secs(3)))
            .interceptor(CountCalls(self.calls.dynamodb.clone()));
        config.set_endpoint_url(endpoint("AWS_ENDPOINT_URL_DYNAMODB"));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// An S3 client.
    pub fn s3(&self) -> Lazy<aws_sdk_s3::Client> {
        let (aws, endpoint) = (self.clone(), endpoint("AWS_ENDPOINT_URL_S3"));
        LazyLock::new(Box::new(move || aws.new_s3(endpoint)))
    }

    fn new_s3(&self, endpoint: Option<String>) -> aws_sdk_s3::Client {
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(self.region.clone())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone())
            .retry_config(retries())
            .timeout_config(timeouts(Duration::from_secs(20)))
            // A checksum computed here would be signed into every presigned URL, and nobody's upload would match it.
            .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
            // A local engine has no wildcard DNS for buckets.
            .force_path_style(endpoint.is_some())
            .interceptor(CountCalls(self.calls.s3.clone()));
        config.set_endpoint_url(endpoint);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// What the URLs of a bucket's objects begin with, for who has no S3 client to ask. As there, a local engine has no wildcard DNS.
    pub fn bucket_base(&self, bucket: &str, domain: &str) -> String {
        match endpoint("AWS_ENDPOINT_URL_S3") {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{domain}"),
        }
    }

    /// What URLs are signed with: the credentials, with their end, and the region.
    pub fn signing(&self) -> (Credentials, String) {
        (credentials::with_end(&self.credentials), self.region.to_string())
    }

    /// Calls of a service that has no client here: `lambda` or `events`. `variable` says where it is reached, where that is elsewhere.
    pub fn signed(&self, service: &'static str, variable: &'static str) -> SignedCalls {
        let region = self.region.to_string();
        let endpoint = endpoint(variable).unwrap_or_else(|| format!("https://{service}.{region}.amazonaws.com"));
        SignedCalls::new(service, region, endpoint, self.credentials.clone(), self.connector.clone())
    }

    /// A Secrets Manager client.
    pub fn secrets(&self) -> Lazy<aws_sdk_secretsmanager::Client> {
        let (aws, endpoint) = (self.clone(), endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"));
        LazyLock::new(Box::new(move || aws.new_secrets(endpoint)))
    }

    fn new_secrets(&self, endpoint: Option<String>) -> aws_sdk_secretsmanager::Client {
        let mut config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version_latest()
            .region(self.region.clone())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.http.clone())
            .retry_config(retries())
            .timeout_config(timeouts(Duration::from_secs(3)))
            .interceptor(CountCalls(self.calls.secrets.clone()));
        config.set_endpoint_url(endpoint);
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }
}

/// Where a service is reached, when it is not where the SDK knows it to be.
fn endpoint(variable: &'static str) -> Option<String> {
    Environment::of_process().optional(variable)
}

/// The SDK's standard retries with shorter pauses: a caller waits for them.
fn retries() -> RetryConfig {
    RetryConfig::standard().with_initial_backoff(Duration::from_millis(50)).with_max_backoff(Duration::from_secs(2))
}

/// A call that got no answer in `attempt` is tried again; the invocation's deadline bounds them all (see [`crate::serve`]).
fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(attempt).build()
}

/// One TLS configuration and one connection pool for all clients: the SDK's own HTTP client would make a configuration when each
/// of them is made, throw it away, and make another at the first call. `ring`, because its first handshake needs a third of
/// aws-lc's CPU, and aws-lc is not linked otherwise. Nothing is connected before the first request: a handshake takes less than
/// 2 ms of a core, and a whole cold start through TLS 4 to 7 ms at 0.58 of a core, which 1,024 MB have
/// (`cargo run --release -- bench --tls`); the SDK could open a connection only by a call, which would be paid for. To connect
/// may take two seconds; what a client's own configuration says about that is not asked.
fn connector() -> Result<SharedHttpConnector, String> {
    let context = TlsContext::builder()
        .with_trust_store(trusted()?)
        .build()
        .map_err(|error| format!("cannot configure TLS: {error}"))?;
    let settings = HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(2)).build();
    let connector = Connector::builder().connector_settings(settings);
    let connector = connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build();
    Ok(SharedHttpConnector::new(connector))
}

/// The roots that AWS endpoints chain to ("Amazon Trust Services") and nothing else, as PEM: to pick them out of the 145 of
/// `webpki-root-certs` at every start took 0.1 ms.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");

/// Amazon's roots; or, as in every AWS SDK, the PEM file that `AWS_CA_BUNDLE` names.
fn trusted() -> Result<TrustStore, String> {
    let roots = match Environment::of_process().optional("AWS_CA_BUNDLE") {
        Some(file) => std::fs::read(file).map_err(|_| "environment variable AWS_CA_BUNDLE names no file")?,
        None => AMAZON_ROOTS.into(),
    };
    Ok(TrustStore::empty().with_pem_certificate(roots))
}

#[cfg(test)]
mod tests {
    use super::AMAZON_ROOTS;
    use aws_smithy_types::base64;

    /// When Amazon gets another root, or loses one, this fails with the next update of `webpki-root-certs`.
    #[test]
    fn the_roots_are_those_of_amazon() {
        let ours: Vec<_> = AMAZON_ROOTS.split("-----END CERTIFICATE-----").map(|pem| pem.replace('\n', "")).collect();
        let ours: Vec<_> = ours.iter().filter_map(|pem| pem.strip_prefix("-----BEGIN CERTIFICATE-----")).collect();
        let names: [&[u8]; 2] = [b"Amazon Root CA", b"Starfield Services Root Certificate Authority"];
        let of_amazon = |root: &[u8]| names.iter().any(|name| root.windows(name.len()).any(|part| part == *name));
        let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter(|root| of_amazon(root));
        assert_eq!(ours, all.map(base64::encode).collect::<Vec<_>>());
        assert_eq!(ours.len(), 5);
    }
}
