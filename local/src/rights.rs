//! What functions may do: the policies of the template, enforced as IAM enforces them. A call that its function's role does not
//! allow is refused; a presigned URL has the rights of the function that signed it. And which of the rights were used is
//! remembered, so that a test can find those that nothing needs.
//!
//! Which rights an operation needs: "Service Authorization Reference", of Amazon DynamoDB, Amazon EventBridge, AWS Lambda, Amazon S3 and AWS
//! Secrets Manager.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use hyper::{Uri, header::HeaderMap};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::account::{bucket_arn, event_bus_arn, table_arn};

/// An action on a resource: what a policy allows, where the resource may be a pattern, or what a call needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Such as `dynamodb:PutItem`.
    pub action: String,
    /// An ARN.
    pub resource: String,
    /// Partition keys of DynamoDB (`dynamodb:LeadingKeys`): the patterns of which one has to fit each that a call names, or those
    /// that it names. A policy without any allows all.
    pub leading_keys: Vec<String>,
}

impl Right {
    fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.to_owned(), resource: resource.into(), leading_keys: Vec::new() }
    }

    fn allows(&self, needed: &Self) -> bool {
        let fits = |key: &String| self.leading_keys.iter().any(|pattern| matches(pattern, key));
        matches(&self.action, &needed.action)
            && matches(&self.resource, &needed.resource)
            && (self.leading_keys.is_empty() || needed.leading_keys.iter().all(fits))
    }
}

/// Whether `text` fits a pattern with `*` for any text, and `?` for any one character. Slashes are characters like others. ("IAM JSON policy
/// elements: Resource".)
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| matches(rest.as_str(), text))),
        Some('?') => {
            let mut text = text.chars();
            text.next().is_some() && matches(rest.as_str(), text.as_str())
        }
        Some(one) => text.strip_prefix(one).is_some_and(|text| matches(rest.as_str(), text)),
    }
}

/// The rights of every function, and those that its calls have used.
#[derive(Debug)]
pub(crate) struct Rights {
    granted: BTreeMap<String, BTreeSet<Right>>,
    /// The name of each table's partition key.
    partition_keys: BTreeMap<String, String>,
    used: Mutex<BTreeSet<(String, Right)>>,
}

impl Rights {
    /// Rights by package, and partition keys by table.
    pub(crate) fn new(granted: BTreeMap<String, BTreeSet<Right>>, partition_keys: BTreeMap<String, String>) -> Self {
        Self { granted, partition_keys, used: Mutex::default() }
    }

    /// What a DynamoDB call needs.
    pub(crate) fn of_dynamodb(&self, operation: &str, body: &[u8]) -> Vec<Right> {
        of_dynamodb(operation, body, &self.partition_keys)
    }

    /// Uses all of `needed`, or tells which of it the function does not have.
    pub(crate) fn take(&self, function: &str, needed: Vec<Right>) -> Result<(), Right> {
        let granted = self.granted.get(function);
        for needed in needed {
            let right = granted.into_iter().flatten().find(|right| right.allows(&needed));
            let Some(right) = right else { return Err(needed) };
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert((function.to_owned(), right.clone()));
        }
        Ok(())
    }

    /// What no call has needed so far, by package.
    pub(crate) fn unused(&self) -> BTreeSet<(String, Right)> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self
            .granted
            .iter()
            .flat_map(|(function, rights)| rights.iter().map(move |right| (function.clone(), right.clone())));
        all.filter(|right| !used.contains(right)).collect()
    }
}

/// What a DynamoDB call needs. `partition_keys` names each table's partition key.
fn of_dynamodb(operation: &str, body: &[u8], partition_keys: &BTreeMap<String, String>) -> Vec<Right> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    // `item` is a whole item, or its key.
    let right = |action: &str, table: &str, item: &Value| {
        let key = partition_keys.get(table).map(|name| &item[name]).and_then(Value::as_object);
        let key = key.and_then(|key| key.values().next()).and_then(Value::as_str);
        let leading_keys = key.map(str::to_owned).into_iter().collect();
        Right { action: format!("dynamodb:{action}"), resource: table_arn(table), leading_keys }
    };
    let name = |request: &Value| request["TableName"].as_str().unwrap_or_default().to_owned();
    let written =
        |request: &Value| if request["Item"].is_null() { request["Key"].clone() } else { request["Item"].clone() };
    match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            let mut rights = Vec::new();
            for (table, asked) in request["RequestItems"].as_object().into_iter().flatten() {
                let keys = asked["Keys"].as_array().into_iter().flatten().cloned();
                let writes = asked.as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
                rights.extend(
                    keys.chain(writes.map(|(_, write)| written(write))).map(|key| right(operation, table, &key)),
                );
            }
            rights
        }
        // A transaction has no action of its own.
        "TransactWriteItems" | "TransactGetItems" => {
            let items =
                request["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
            let action = |kind: &str| match kind {
                "ConditionCheck" => "ConditionCheckItem".to_owned(),
                kind => format!("{kind}Item"),
            };
            items.map(|(kind, item)| right(&action(kind), &name(item), &written(item))).collect()
        }
        _ => {
            let mut right = right(operation, &name(&request), &written(&request));
            if let Some(index) = request["IndexName"].as_str() {
                right.resource = format!("{}/index/{index}", right.resource);
            }
            vec![right]
        }
    }
}

/// What an S3 call needs. `body` is DeleteObjects'.
pub(crate) fn of_s3(operation: &str, uri: &Uri, headers: &HeaderMap, body: &str) -> Vec<Right> {
    let path = decoded(uri.path().trim_start_matches('/'));
    let bucket = bucket_arn(path.split('/').next().unwrap_or_default());
    let object = bucket_arn(&path);
    let versioned = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("versionId=")));
    match operation {
        "GetObject" | "HeadObject" => vec![Right::new(reads(versioned), object)],
        "PutObject" | "UploadPart" | "CreateMultipartUpload" | "CompleteMultipartUpload" => {
            vec![Right::new("s3:PutObject", object)]
        }
        "CopyObject" | "UploadPartCopy" => {
            let source = headers.get("x-amz-copy-source").and_then(|source| source.to_str().ok()).unwrap_or_default();
            let (key, version) = source.split_once('?').map_or((source, false), |(key, _)| (key, true));
            let source = bucket_arn(&decoded(key.trim_start_matches('/')));
            vec![Right::new(reads(version), source), Right::new("s3:PutObject", object)]
        }
        "ListParts" => vec![Right::new("s3:ListMultipartUploadParts", object)],
        "AbortMultipartUpload" => vec![Right::new("s3:AbortMultipartUpload", object)],
        "DeleteObject" => vec![Right::new(removes(versioned), object)],
        "DeleteObjects" => {
            let object = |entry: &str| {
                let key = entry.split_once("<Key>").and_then(|(_, rest)| rest.split_once("</Key>"));
                let key = key.map_or("", |(key, _)| key);
                Right::new(removes(entry.contains("<VersionId>")), format!("{bucket}/{key}"))
            };
            body.split("<Object>").skip(1).map(object).collect()
        }
        "ListMultipartUploads" => vec![Right::new("s3:ListBucketMultipartUploads", bucket)],
        "ListObjectVersions" => vec![Right::new("s3:ListBucketVersions", bucket)],
        "ListObjectsV2" | "HeadBucket" => vec![Right::new("s3:ListBucket", bucket)],
        other => vec![Right::new(&format!("s3:{other}"), object)],
    }
}

/// "GetObject": a caller that may not list the bucket is not told that an object is missing.
pub(crate) fn to_see_what_is_missing(uri: &Uri) -> Right {
    let path = uri.path().trim_start_matches('/');
    Right::new("s3:ListBucket", bucket_arn(path.split('/').next().unwrap_or_default()))
}

/// What a Secrets Manager call needs.
pub(crate) fn of_secrets(operation: &str, body: &[u8]) -> Vec<Right> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    vec![Right::new(&format!("secretsmanager:{operation}"), request["SecretId"].as_str().unwrap_or_default())]
}

/// What an invocation needs, of the function with this ARN.
pub(crate) fn of_lambda(function_arn: &str) -> Vec<Right> {
    vec![Right::new("lambda:InvokeFunction", function_arn)]
}

/// What an EventBridge call needs: the right on each bus that it names.
pub(crate) fn of_events(operation: &str, body: &[u8]) -> Vec<Right> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let right = |entry: &Value| {
        let bus = entry["EventBusName"].as_str().unwrap_or("default");
        let arn = if bus.starts_with("arn:") { bus.to_owned() } else { event_bus_arn(bus) };
        Right::new(&format!("events:{operation}"), arn)
    };
    request["Entries"].as_array().into_iter().flatten().map(right).collect()
}

fn reads(version: bool) -> &'static str {
    if version { "s3:GetObjectVersion" } else { "s3:GetObject" }
}

fn removes(version: bool) -> &'static str {
    if version { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(rights: Vec<Right>) -> Vec<String> {
        let short = |arn: String| arn.rsplit(':').next().unwrap_or_default().to_owned();
        rights.into_iter().map(|right| format!("{} {}", right.action, short(right.resource))).collect()
    }

    #[test]
    fn a_transaction_needs_what_its_items_need() {
        let body = br#"{"TransactItems":[{"Put":{"TableName":"jobs"}},{"Update":{"TableName":"registry"}},
            {"ConditionCheck":{"TableName":"jobs"}}]}"#;
        assert_eq!(
            actions(of_dynamodb("TransactWriteItems", body, &BTreeMap::new())),
            [
                "dynamodb:PutItem table/jobs",
                "dynamodb:UpdateItem table/registry",
                "dynamodb:ConditionCheckItem table/jobs"
            ]
        );
        let query = br#"{"TableName":"jobs","IndexName":"queue"}"#;
        assert_eq!(actions(of_dynamodb("Query", query, &BTreeMap::new())), ["dynamodb:Query table/jobs/index/queue"]);
    }

    #[test]
    fn a_right_on_some_rows_is_none_on_others() {
        let keys = BTreeMap::from([("registry".to_owned(), "pk".to_owned())]);
        let granted = |action: &str| Right {
            leading_keys: vec!["usage#*".to_owned(), "replay#*".to_owned()],
            ..Right::new(action, table_arn("registry"))
        };
        let allowed = |operation: &str, body: &str| {
            let needed = of_dynamodb(operation, body.as_bytes(), &keys);
            assert!(!needed.is_empty(), "{body}");
            let actions = ["PutItem", "UpdateItem", "BatchGetItem", "BatchWriteItem", "ConditionCheckItem"];
            let granted = actions.map(|action| granted(&format!("dynamodb:{action}")));
            needed.iter().all(|needed| granted.iter().any(|right| right.allows(needed)))
        };
        for (operation, body) in [
            ("PutItem", r#"{"TableName":"registry","Item":{"pk":{"S":"KEY"},"x":{"S":"usage#"}}}"#),
            ("UpdateItem", r#"{"TableName":"registry","Key":{"pk":{"S":"KEY"}}}"#),
            ("BatchGetItem", r#"{"RequestItems":{"registry":{"Keys":[{"pk":{"S":"usage#a"}},{"pk":{"S":"KEY"}}]}}}"#),
            (
                "BatchWriteItem",
                r#"{"RequestItems":{"registry":[{"PutRequest":{"Item":{"pk":{"S":"KEY"}}}},{"DeleteRequest":{"Key":{"pk":{"S":"usage#a"}}}}]}}"#,
            ),
            (
                "TransactWriteItems",
                r#"{"TransactItems":[{"Update":{"TableName":"registry","Key":{"pk":{"S":"replay#a"}}}},
                    {"ConditionCheck":{"TableName":"registry","Key":{"pk":{"S":"KEY"}}}}]}"#,
            ),
        ] {
            for key in ["usage#a#2026-01-01", "replay#0"] {
                assert!(allowed(operation, &body.replace("KEY", key)), "{operation} {key}");
            }
            for key in ["user#a", "usage", "key#usage#", "Usage#a", ""] {
                assert!(!allowed(operation, &body.replace("KEY", key)), "{operation} {key}");
            }
        }
        // No such action is granted at all.
        assert!(!allowed("DeleteItem", r#"{"TableName":"registry","Key":{"pk":{"S":"usage#a"}}}"#));
    }

    #[test]
    fn versions_and_copies_need_rights_of_their_own() {
        let s3 = |operation, uri: &'static str, headers: &HeaderMap, body| {
            actions(of_s3(operation, &Uri::from_static(uri), headers, body))
        };
        let plain = HeaderMap::new();
        assert_eq!(s3("HeadObject", "/b/jobs/a%20b", &plain, ""), ["s3:GetObject b/jobs/a b"]);
        assert_eq!(s3("GetObject", "/b/jobs/a?versionId=1", &plain, ""), ["s3:GetObjectVersion b/jobs/a"]);
        assert_eq!(s3("DeleteObject", "/b/jobs/a?versionId=1", &plain, ""), ["s3:DeleteObjectVersion b/jobs/a"]);
        let body =
            "<Delete><Object><Key>jobs/a</Key><VersionId>1</VersionId></Object><Object><Key>jobs/b</Key></Object>";
        assert_eq!(
            s3("DeleteObjects", "/b?delete", &plain, body),
            ["s3:DeleteObjectVersion b/jobs/a", "s3:DeleteObject b/jobs/b"]
        );
        let name = "x-amz-copy-source".parse().expect("a name");
        let copy = HeaderMap::from_iter([(name, "b/jobs/a%20b?versionId=1".parse().expect("a value"))]);
        assert_eq!(
            s3("UploadPartCopy", "/b/jobs/c?partNumber=1&uploadId=u", &copy, ""),
            ["s3:GetObjectVersion b/jobs/a b", "s3:PutObject b/jobs/c"]
        );
    }

    #[test]
    fn a_right_reaches_as_far_as_its_pattern() {
        let right = Right::new("s3:GetObject", "arn:aws:s3:::b/jobs/*");
        assert!(right.allows(&Right::new("s3:GetObject", "arn:aws:s3:::b/jobs/x/y")));
        assert!(!right.allows(&Right::new("s3:GetObject", "arn:aws:s3:::b/other/x")));
        assert!(!right.allows(&Right::new("s3:GetObjectVersion", "arn:aws:s3:::b/jobs/x")));
        assert!(matches("*a*c", "xxabc") && !matches("*a*c", "xxab"));
        assert!(matches("a/????-??/*", "a/2026-01/b") && matches("?", "/") && matches("?", "ü"));
        assert!(!matches("?", "") && !matches("?", "ab") && !matches("a/??/b", "a/1/b"));
    }
}
