//! Presigned uploads, a thousand at a time.
//!
//! The SDK's own `.presigned()` builds, serialises and orchestrates a whole request for each URL; a finish with a thousand files
//! would wait for that longer than for the database. This signs with the SDK's signer (`aws-sigv4`) alone. The URLs are the
//! SDK's, byte for byte; a test compares them.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::{
    error::{Error, Result},
    time::Timestamp,
};

/// What a query keeps as it is: RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What a key keeps as it is in a path.
const PATH: &AsciiSet = &QUERY.remove(b'/');
/// About the bytes that a signature adds to a URL, session token aside.
const REST: usize = 450;

/// Seconds for which a URL is said to work when nothing more is known of the credentials that sign it: as long as a request may take. They
/// have to be good for the request itself.
const LEAST: i64 = 29;

/// Signs as the function that it runs in.
#[derive(Debug, Clone)]
pub struct Signer {
    identity: Identity,
    /// When the credentials end, or can be relied on no longer.
    end: Option<Timestamp>,
    region: String,
    /// As a query has it: more than a thousand bytes, the same in every URL.
    session_token: String,
}

/// What a presigned URL is for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Scheme, host and, where it is not in the host, bucket.
    pub(super) base: &'a str,
    /// The object's key.
    pub(super) key: &'a str,
    /// The query, encoded.
    pub(super) query: String,
    /// Headers that have to be sent as they are here.
    pub(super) headers: &'a [(&'static str, String)],
}

impl Signer {
    /// Signs with these credentials.
    pub fn new(credentials: Credentials, region: impl Into<String>) -> Self {
        let session_token = query(credentials.session_token().unwrap_or_default()).to_string();
        let end = credentials.expiry().map(Timestamp::of);
        Self { identity: credentials.into(), end, region: region.into(), session_token }
    }

    /// Until when a URL of such a life works, as far as is known. The URL itself may say more: whoever cannot ask for another has it
    /// for as long as S3 takes it.
    pub(super) fn known_to_work(&self, now: Timestamp, life: i64) -> Timestamp {
        let by_life = now.plus_seconds(life);
        self.end.map_or(by_life, |end| by_life.min(end.max(now.plus_seconds(LEAST))))
    }

    /// What is the same for all URLs that are good for `life` from `now`.
    pub(super) fn params(&self, now: SystemTime, life: Duration) -> Result<SigningParams<'_>> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(life);
        // As S3 wants it: paths as they are, encoded once.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder().identity(&self.identity).region(&self.region).name("s3");
        let params = params.time(now).settings(settings).build();
        Ok(params.map_err(|error| Error::internal("presign", error))?.into())
    }

    /// The URL of a PUT.
    pub(super) fn put(&self, target: &Target<'_>, params: &SigningParams<'_>) -> Result<String> {
        let failed = |error: &dyn std::fmt::Display| Error::internal("presign", error);
        let mut url = format!("{}/{}?{}", target.base, utf8_percent_encode(target.key, PATH), target.query);
        let headers = target.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new("PUT", &url, headers, SignableBody::UnsignedPayload);
        let signed = sign(request.map_err(|error| failed(&error))?, params).map_err(|error| failed(&error))?;
        url.reserve(self.session_token.len() + REST);
        for (name, value) in signed.into_parts().0.params() {
            url.push('&');
            url.push_str(name);
            url.push('=');
            match &**name {
                "X-Amz-Security-Token" => url.push_str(&self.session_token),
                _ => url.extend(query(value)),
            }
        }
        Ok(url)
    }
}

/// A query's value, encoded.
pub(super) fn query(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, QUERY)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{
        config::{Region, SharedCredentialsProvider},
        presigning::PresigningConfig,
    };
    use proptest::prelude::*;
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    const LIFE: Duration = Duration::from_secs(3600);

    /// The SDK, and this module, for one bucket.
    struct Both {
        client: aws_sdk_s3::Client,
        signer: Signer,
        base: String,
        runtime: Runtime,
        now: SystemTime,
    }

    impl Both {
        fn new(endpoint: Option<&str>) -> Self {
            let token = Some("IQoJb3JpZ2luX2VjE//+token==".to_owned());
            let credentials = Credentials::from_keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token);
            let mut config = aws_sdk_s3::Config::builder()
                .behavior_version_latest()
                .region(Region::new("eu-central-1"))
                .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
                .force_path_style(endpoint.is_some());
            config.set_endpoint_url(endpoint.map(str::to_owned));
            let base = match endpoint {
                Some(endpoint) => format!("{endpoint}/outputs"),
                None => "https://outputs.s3.eu-central-1.amazonaws.com".to_owned(),
            };
            Self {
                client: aws_sdk_s3::Client::from_conf(config.build()),
                signer: Signer::new(credentials, "eu-central-1"),
                base,
                runtime: Builder::new_current_thread().enable_time().build().expect("a runtime"),
                now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
            }
        }

        fn config(&self) -> PresigningConfig {
            PresigningConfig::builder().start_time(self.now).expires_in(LIFE).build().expect("a configuration")
        }

        fn ours(&self, key: &str, query: String, headers: &[(&'static str, String)]) -> String {
            let params = self.signer.params(self.now, LIFE).expect("parameters");
            self.signer.put(&Target { base: &self.base, key, query, headers }, &params).expect("signs")
        }
    }

    /// Keys of anything that a filename may hold.
    fn key() -> impl Strategy<Value = String> {
        "[ -~ü€😀+%&=?#/]{1,60}".prop_map(|name| format!("jobs/{}", name.trim_matches('/')))
    }

    proptest! {
        #[test]
        fn an_upload_url_is_the_sdks(
            key in key(),
            size in proptest::option::of(0_i64..=5 << 30),
            content_type in proptest::option::of("[a-z]{1,8}/[a-z+.;= -]{0,8}[a-z]"),
            checksum in proptest::option::of(any::<[u8; 32]>()),
            local in any::<bool>(),
        ) {
            let both = Both::new(local.then_some("http://127.0.0.1:3001"));
            let sha256 = checksum.map(hex::encode);
            let checksum = checksum.map(aws_smithy_types::base64::encode);
            let theirs = both.client.put_object().bucket("outputs").key(&key);
            let theirs = theirs.set_content_length(size).set_content_type(content_type.clone());
            let theirs = theirs.set_metadata(sha256.clone().map(|sha256| [("sha256".to_owned(), sha256)].into()));
            let theirs = theirs.set_checksum_sha256(checksum.clone()).presigned(both.config());
            let theirs = both.runtime.block_on(theirs).expect("presigns");
            let headers = [
                ("content-length", size.map(|size| size.to_string())),
                ("content-type", content_type),
                ("x-amz-checksum-sha256", checksum),
                ("x-amz-meta-sha256", sha256),
            ];
            let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            prop_assert_eq!(both.ours(&key, "x-id=PutObject".to_owned(), &headers), theirs.uri());
        }

        #[test]
        fn a_parts_url_is_the_sdks(key in key(), upload_id in "[A-Za-z0-9._+/=-]{1,80}", number in 1..=10_000) {
            let both = Both::new(None);
            let theirs = both.client.upload_part().bucket("outputs").key(&key).upload_id(&upload_id);
            let theirs = theirs.part_number(number).content_length(5 << 20).presigned(both.config());
            let theirs = both.runtime.block_on(theirs).expect("presigns");
            let asked = format!("x-id=UploadPart&partNumber={number}&uploadId={}", query(&upload_id));
            let ours = both.ours(&key, asked, &[("content-length", (5 << 20).to_string())]);
            prop_assert_eq!(ours, theirs.uri());
        }
    }
}
