//! How SDKs find the engines.

use std::collections::BTreeMap;

/// The variables that say where each engine is.
pub(crate) fn endpoints(url: &str) -> BTreeMap<String, String> {
    let engines = ["DYNAMODB", "EVENTBRIDGE", "LAMBDA", "S3", "SECRETS_MANAGER"];
    engines.map(|engine| (format!("AWS_ENDPOINT_URL_{engine}"), url.to_owned())).into()
}
