//! `template.yaml`, as far as the local stack honours it: what is tested is what is deployed.
//!
//! Every resource type and property is either honoured, or known not to change an answer (alarms, roles, log groups), or
//! an error that names it: never silently ignored.

mod event_sources;
mod functions;
mod intrinsics;
mod policies;
mod properties;
mod resources;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::cors::CorsRule;
pub(crate) use event_sources::EventSource;
pub(crate) use functions::{AsynchronousLimits, Function, Schedule};
use intrinsics::Resolver;
pub(crate) use intrinsics::STACK_NAME;
use properties::{object, only};
pub(crate) use resources::{Bucket, Secret, SecretValue, Table};

/// Types without influence on any answer.
const INERT_TYPES: &[&str] = &[
    "AWS::ApiGatewayV2::ApiMapping",
    "AWS::ApiGatewayV2::DomainName",
    "AWS::Budgets::Budget",
    // What `Front` puts before the functions: the gateway knows their routes from this template.
    "AWS::Serverless::Application",
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
        for function in &template.functions {
            for source in &function.event_sources {
                let streams = template.tables.iter().any(|t| t.name() == source.table && t.stream_view().is_some());
                ensure!(streams, "{}: no table {} with a stream", source.id, source.table);
            }
        }
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
            "AWS::DynamoDB::Table" => self.tables.push(resources::table(resolver, id, properties)?),
            "AWS::S3::Bucket" => self.buckets.push(resources::bucket(resolver, id, properties)?),
            "AWS::SecretsManager::Secret" => self.secrets.push(resources::secret(resolver, id, properties)?),
            _ => {}
        }
        Ok(())
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

#[cfg(test)]
mod tests;
