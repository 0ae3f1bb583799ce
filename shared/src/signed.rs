//! Calls of AWS services of which one call is used: the SDK's clients for them take longer to compile than all functions together, and
//! would be a third of a package. What they do is one signed POST, by the SDK's own signer and connector.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    identity::Identity,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use lambda_http::http;

use crate::error::{Error, Result};

/// Pauses before a call that failed is tried again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];
/// The longest that one try takes.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Calls one service.
#[derive(Debug, Clone)]
pub struct SignedCalls {
    service: &'static str,
    region: String,
    endpoint: String,
    identity: Identity,
    connector: SharedHttpConnector,
}

impl SignedCalls {
    pub(crate) fn new(
        service: &'static str,
        region: String,
        endpoint: String,
        credentials: Credentials,
        connector: SharedHttpConnector,
    ) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { service, region, endpoint, identity: credentials.into(), connector }
    }

    /// A POST with these headers; the answer's body. What throttles, fails or is out of reach is tried again twice.
    pub(crate) async fn post(
        &self,
        doing: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Vec<u8>> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let answer = tokio::time::timeout(TIMEOUT, self.send(doing, path, headers, body)).await;
            let failure = match answer.unwrap_or_else(|_| Err(Error::unavailable(doing, "no answer"))) {
                Err(failure @ Error::Unavailable(_)) => failure,
                answer => return answer,
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure),
            }
        }
    }

    async fn send(
        &self,
        doing: &'static str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Vec<u8>> {
        let internal = |error: &dyn std::fmt::Display| Error::internal(doing, error);
        let mut request = http::Request::post(format!("{}{path}", self.endpoint));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(SdkBody::from(body)).map_err(|error| internal(&error))?;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| internal(&error))?;
        let url = request.uri().to_string();
        let signable =
            SignableRequest::new("POST", &url, headers.iter().copied(), SignableBody::Bytes(body.as_bytes()));
        let signed =
            sign(signable.map_err(|error| internal(&error))?, &params.into()).map_err(|error| internal(&error))?;
        signed.into_parts().0.apply_to_request_http1x(&mut request);

        let request = request.try_into().map_err(|error| internal(&error))?;
        let unreachable = |error: &dyn std::fmt::Display| Error::unavailable(doing, error);
        let response = self.connector.call(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await.map_err(|error| unreachable(&error))?.to_vec();
        match status {
            200..=299 => Ok(body),
            429 | 500..=599 => Err(unreachable(&format!("status {status}"))),
            // What was refused is said in the answer, and nothing that a user wrote.
            _ => Err(internal(&format!("status {status}: {}", String::from_utf8_lossy(&body[..body.len().min(500)])))),
        }
    }
}
