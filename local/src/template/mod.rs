//! `template.yaml`, as far as the local stack honours it: what is tested is what is deployed.
//!
//! Every resource type and property is either honoured, or known not to change an answer (alarms, roles, log groups), or
//! an error that names it: never silently ignored.

mod functions;
mod intrinsics;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::cors::CorsRule;
use intrinsics::Resolver;

pub(crate) use functions::{Function, Schedule, arn};

/// The account that the stack pretends to be.
pub(crate) const ACCOUNT: &str = "123456789012";
/// The region that the stack pretends to be in.
pub(crate) const REGION: &str = "us-east-1";
/// The name of the CloudFormation stack.
pub(crate) const STACK: &str = "jobchute";

/// Types without influence on any answer.
const INERT_TYPES: &[&str] = &[
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::Route53::RecordSet",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::ResourcePolicy",
];

/// The part of a template that decides how requests are answered.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) functions: Vec<Function>,
    pub(crate) tables: Vec<Table>,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) secrets: Vec<Secret>,
    /// CORS of the HTTP API, answered by API Gateway itself.
    pub(crate) cors: Option<CorsRule>,
    /// Physical names by logical id: what `Ref` gives.
    pub(crate) names: BTreeMap<String, String>,
}

/// A DynamoDB table.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// The `CreateTable` request, whose shape CloudFormation shares.
    pub(crate) create: Value,
    /// The attribute that tells when an item expires.
    pub(crate) ttl_attribute: Option<String>,
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

impl Template {
    /// Reads a template with these parameters; parameters not given have their defaults.
    pub(crate) fn read(path: &Path, parameters: &BTreeMap<String, String>) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(&text, parameters).with_context(|| format!("can't use {}", path.display()))
    }

    fn parse(text: &str, parameters: &BTreeMap<String, String>) -> Result<Self> {
        let document: serde_norway::Value = serde_norway::from_str(text)?;
        let document = intrinsics::untag(document)?;
        let resources = document["Resources"].as_object().context("no Resources")?;
        let mut resolver = Resolver::new(&document, parameters)?;

        let mut active = Vec::new();
        for (id, resource) in resources {
            if !resolver.included(resource).with_context(|| id.clone())? {
                continue;
            }
            let kind = resource["Type"].as_str().with_context(|| format!("{id} has no Type"))?;
            if !INERT_TYPES.contains(&kind) {
                let properties = resource.get("Properties").cloned().unwrap_or_else(|| json!({}));
                resolver.name(id, kind, &properties).with_context(|| id.clone())?;
                active.push((id.as_str(), kind, properties, resource));
            }
        }
        resolver.name("ServerlessHttpApi", "AWS::Serverless::HttpApi", &json!({}))?;

        let globals = &document["Globals"];
        let mut template = Self {
            functions: Vec::new(),
            tables: Vec::new(),
            buckets: Vec::new(),
            secrets: Vec::new(),
            cors: http_api(&resolver, globals["HttpApi"].as_object()).context("Globals.HttpApi")?,
            names: resolver.names(),
        };
        for (id, kind, properties, resource) in active {
            template
                .add(&resolver, id, kind, &properties, &globals["Function"], &resource["Metadata"])
                .with_context(|| id.to_owned())?;
        }
        ensure!(!template.functions.is_empty(), "it has no functions");
        Ok(template)
    }

    fn add(
        &mut self,
        resolver: &Resolver<'_>,
        id: &str,
        kind: &str,
        properties: &Value,
        function_globals: &Value,
        metadata: &Value,
    ) -> Result<()> {
        match kind {
            "AWS::Serverless::Function" => {
                let function = functions::function(resolver, id, function_globals, properties, metadata)?;
                self.functions.push(function);
            }
            "AWS::Serverless::HttpApi" => {
                if let Some(cors) = http_api(resolver, properties.as_object())? {
                    self.cors = Some(cors);
                }
            }
            "AWS::DynamoDB::Table" => self.tables.push(table(resolver, id, properties)?),
            "AWS::S3::Bucket" => self.buckets.push(bucket(resolver, id, properties)?),
            "AWS::SecretsManager::Secret" => self.secrets.push(secret(resolver, id, properties)?),
            _ => {}
        }
        Ok(())
    }
}

/// Refuses properties that are neither honoured nor known to change nothing.
fn only(properties: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match properties.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => bail!("the local stack can't honour the property {unknown}"),
        None => Ok(()),
    }
}

fn object(value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        other => bail!("expected a mapping, found {other}"),
    }
}

fn http_api(resolver: &Resolver<'_>, properties: Option<&Map<String, Value>>) -> Result<Option<CorsRule>> {
    let Some(properties) = properties else { return Ok(None) };
    only(
        properties,
        &[
            "AccessLogSettings",
            "CorsConfiguration",
            "DefaultRouteSettings",
            "Description",
            "DisableExecuteApiEndpoint",
            "Domain",
            "FailOnWarnings",
            "Name",
            "PropagateTags",
            "RouteSettings",
            "Tags",
        ],
    )?;
    let Some(cors) = properties.get("CorsConfiguration") else { return Ok(None) };
    let cors = object(resolver.value(cors)?)?;
    only(&cors, &["AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders", "MaxAge"])?;
    CorsRule::from_http_api(&cors).map(Some)
}

fn table(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Table> {
    let mut properties = object(resolver.value(properties)?)?;
    // Backups, encryption at rest and tags have no local counterpart and change no answer.
    for inert in ["ContributorInsightsSpecification", "PointInTimeRecoverySpecification", "SSESpecification", "Tags"] {
        properties.remove(inert);
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
    if let Some(stream) = properties.get_mut("StreamSpecification").and_then(Value::as_object_mut) {
        stream.insert("StreamEnabled".into(), true.into());
    }
    let ttl_attribute = ttl
        .filter(|ttl| ttl["Enabled"] == true)
        .map(|ttl| ttl["AttributeName"].as_str().map(str::to_owned).context("TimeToLiveSpecification has no attribute"))
        .transpose()?;
    Ok(Table { create: Value::Object(properties), ttl_attribute })
}

fn bucket(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Bucket> {
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
    Ok(Bucket {
        name: resolver.physical(id)?,
        versioned: properties.get("VersioningConfiguration").is_some_and(|v| v["Status"] == "Enabled"),
        cors: rules.into_iter().flatten().map(CorsRule::from_bucket).collect::<Result<_>>()?,
    })
}

fn secret(resolver: &Resolver<'_>, id: &str, properties: &Value) -> Result<Secret> {
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
    let name = properties.get("Name").and_then(Value::as_str).map_or_else(|| format!("{STACK}-{id}"), str::to_owned);
    Ok(Secret { name, arn: resolver.physical(id)?, value })
}

#[cfg(test)]
mod tests;
