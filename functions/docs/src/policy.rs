//! What pages may do.

/// The `Content-Security-Policy`: load and call this API, and show, play, read and send files of the outputs bucket. Nothing else, and
/// no script that comes from elsewhere. Downloads are navigations, which a policy does not restrict.
pub struct Policy(String);

impl Policy {
    /// From any environment: the bucket's origin is `OUTPUTS_ORIGIN`, unless the SDK was told to reach S3 elsewhere
    /// (`AWS_ENDPOINT_URL_S3`), as presigned URLs then say, too. Without either, pages have no use for the bucket.
    pub fn read(env: impl Fn(&str) -> Option<String>) -> Self {
        let told = |variable| env(variable).filter(|value| !value.is_empty());
        let bucket = told("AWS_ENDPOINT_URL_S3").or_else(|| told("OUTPUTS_ORIGIN")).unwrap_or_default();
        let bucket = bucket.trim_end_matches('/');
        Self(format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: {bucket}; media-src {bucket}; \
             connect-src 'self' {bucket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
