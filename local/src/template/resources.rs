//! Tables, buckets and secrets of the template.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::{
    intrinsics::Resolver,
    properties::{object, only},
};
use crate::cors::CorsRule;

/// A DynamoDB table.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The `CreateTable` request, whose shape CloudFormation shares.
    pub(crate) create: Value,
    /// The attribute that tells when an item expires.
    pub(crate) ttl_attribute: Option<String>,
}

impl Table {
    /// The table's name, and the attribute that is its partition key.
    pub(crate) fn partition_key(&self) -> (String, String) {
        let schema = self.create["KeySchema"].as_array().into_iter().flatten();
        let key = schema.filter(|key| key["KeyType"] == "HASH").find_map(|key| key["AttributeName"].as_str());
        (self.name().to_owned(), key.unwrap_or_default().to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        self.create["TableName"].as_str().unwrap_or_default()
    }

    /// What the records of its stream have, if it has one.
    pub(crate) fn stream_view(&self) -> Option<&str> {
        self.create["StreamSpecification"]["StreamViewType"].as_str()
    }
}

/// An S3 bucket.
#[derive(Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) versioned: bool,
    pub(crate) cors: Vec<CorsRule>,
}

/// A Secrets Manager secret.
#[derive(Debug, PartialEq)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) value: SecretValue,
}

/// Where a secret's first value comes from.
#[derive(Debug, PartialEq)]
pub(crate) enum SecretValue {
    /// `SecretString`.
    Given(String),
    /// `GenerateSecretString`: a random password of `length`, alone or as `key` of the JSON document `template`.
    Generated { length: usize, into: Option<(Map<String, Value>, String)> },
}

pub(super) fn table(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Table> {
    let mut properties = object(resolver.value(properties)?)?;
    // Backups, encryption at rest and tags have no local counterpart and change no answer. No limit of throughput is reached here.
    for inert in [
        "ContributorInsightsSpecification",
        "OnDemandThroughput",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "Tags",
    ] {
        properties.remove(inert);
    }
    for index in properties.get_mut("GlobalSecondaryIndexes").and_then(Value::as_array_mut).into_iter().flatten() {
        index.as_object_mut().map(|index| index.remove("OnDemandThroughput"));
    }
    let ttl = properties.remove("TimeToLiveSpecification");
    only(
        &properties,
        &[
            "AttributeDefinitions",
            "BillingMode",
            "DeletionProtectionEnabled",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "ProvisionedThroughput",
            "StreamSpecification",
            "TableName",
        ],
    )?;
    properties.remove("DeletionProtectionEnabled");
    properties.insert("TableName".into(), resolver.physical(id)?.into());
    if let Some(stream) = properties.get_mut("StreamSpecification") {
        let stream = stream.as_object_mut().context("StreamSpecification is not a mapping")?;
        only(stream, &["StreamViewType"])?;
        let views = ["KEYS_ONLY", "NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE"];
        let view = stream.get("StreamViewType").and_then(Value::as_str);
        ensure!(view.is_some_and(|view| views.contains(&view)), "StreamViewType is none of {}", views.join(", "));
        stream.insert("StreamEnabled".into(), true.into());
    }
    let ttl_attribute = ttl
        .filter(|ttl| ttl["Enabled"] == true)
        .map(|ttl| ttl["AttributeName"].as_str().map(str::to_owned).context("TimeToLiveSpecification has no attribute"))
        .transpose()?;
    Ok(Table { create: Value::Object(properties), ttl_attribute })
}

pub(super) fn bucket(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Bucket> {
    let properties = object(resolver.value(properties)?)?;
    only(
        &properties,
        &[
            "BucketEncryption",
            "BucketName",
            "CorsConfiguration",
            "LifecycleConfiguration",
            "LoggingConfiguration",
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        ],
    )?;
    let rules = properties.get("CorsConfiguration").and_then(|cors| cors["CorsRules"].as_array());
    unique(rules, "CorsRules")?;
    for rule in rules.into_iter().flatten() {
        unique(rule["AllowedOrigins"].as_array(), "AllowedOrigins")?;
    }
    Ok(Bucket {
        name: resolver.physical(id)?,
        versioned: properties.get("VersioningConfiguration").is_some_and(|v| v["Status"] == "Enabled"),
        cors: rules.into_iter().flatten().map(CorsRule::from_bucket).collect::<Result<_>>()?,
    })
}

/// CloudFormation takes no such list that has an entry twice.
fn unique(list: Option<&Vec<Value>>, name: &str) -> Result<()> {
    let entries = list.map(Vec::as_slice).unwrap_or_default();
    let twice = entries.iter().enumerate().find(|(at, entry)| entries[..*at].contains(entry));
    twice.map_or(Ok(()), |(_, entry)| bail!("{name} has {entry} twice"))
}

pub(super) fn secret(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Secret> {
    let properties = object(resolver.value(properties)?)?;
    only(&properties, &["Description", "GenerateSecretString", "KmsKeyId", "Name", "SecretString", "Tags"])?;
    let value = match (properties.get("SecretString"), properties.get("GenerateSecretString")) {
        (Some(Value::String(given)), None) => SecretValue::Given(given.clone()),
        (None, Some(generate)) => {
            let length = generate["PasswordLength"].as_u64().unwrap_or(32);
            let into = match (generate["SecretStringTemplate"].as_str(), generate["GenerateStringKey"].as_str()) {
                (Some(template), Some(key)) => Some((
                    serde_json::from_str(template).context("SecretStringTemplate is not a JSON object")?,
                    key.to_owned(),
                )),
                (None, None) => None,
                _ => bail!("SecretStringTemplate and GenerateStringKey go together"),
            };
            SecretValue::Generated { length: usize::try_from(length)?, into }
        }
        _ => bail!("it needs either SecretString or GenerateSecretString"),
    };
    let name = properties.get("Name").and_then(Value::as_str).map_or_else(|| resolver.default_name(id), str::to_owned);
    Ok(Secret { name, arn: resolver.physical(id)?, value })
}
