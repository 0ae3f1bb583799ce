//! What pages may do.

use std::{env, sync::LazyLock};

/// The `Content-Security-Policy` of all pages: load and call this API, and show, play, read and send files of the outputs bucket. Nothing
/// else, and no script that comes from elsewhere. Downloads are navigations, which a policy does not restrict.
pub(crate) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| policy(&bucket()));

fn policy(bucket: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: {bucket}; media-src {bucket}; \
         connect-src 'self' {bucket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The origin of the bucket's URLs: of its domain (`OUTPUTS_DOMAIN`), unless the SDK was told to reach S3 elsewhere, as presigned URLs
/// then say, too. Without either, pages have no use for it.
fn bucket() -> String {
    let told = |variable| env::var(variable).ok().filter(|value| !value.is_empty());
    let of_domain = || told("OUTPUTS_DOMAIN").map(|domain| format!("https://{domain}"));
    let origin = told("AWS_ENDPOINT_URL_S3").or_else(of_domain).unwrap_or_default();
    origin.trim_end_matches('/').to_owned()
}
