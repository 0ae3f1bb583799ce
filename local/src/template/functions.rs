//! Functions of the template, with their routes and schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::{
    event_sources::{EventSource, event_source},
    intrinsics::Resolver,
    policies::rights,
    properties::{object, only},
};
use crate::{gateway::routes::Route, rights::Right};

/// One Lambda function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Its logical name.
    pub(crate) id: String,
    /// The cargo package whose binary it runs.
    pub(crate) package: String,
    /// Its physical name.
    pub(crate) name: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) memory_mb: u64,
    pub(crate) timeout: Duration,
    pub(crate) reserved_concurrency: Option<usize>,
    pub(crate) asynchronous: AsynchronousLimits,
    /// What its role allows.
    pub(crate) rights: BTreeSet<Right>,
    pub(crate) routes: Vec<Route>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) event_sources: Vec<EventSource>,
}

/// How long an event that nobody waits for is tried (`EventInvokeConfig`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AsynchronousLimits {
    /// Runs after the first that failed.
    pub(crate) retries: u32,
    /// After which it is not tried any more.
    pub(crate) maximum_age: Duration,
}

impl Default for AsynchronousLimits {
    /// "PutFunctionEventInvokeConfig": two more runs, and six hours.
    fn default() -> Self {
        Self { retries: 2, maximum_age: Duration::from_secs(6 * 3600) }
    }
}

/// When a function is invoked without a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) every: Duration,
    /// The event's `source`: EventBridge rules and EventBridge Scheduler differ in it.
    pub(crate) source: &'static str,
    /// The event, when the template gives it.
    pub(crate) input: Option<String>,
}

const KNOWN: &[&str] = &[
    "Architectures",
    "CodeUri",
    "Description",
    "Environment",
    "EphemeralStorage",
    "EventInvokeConfig",
    "Events",
    "FunctionName",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Policies",
    "PropagateTags",
    "RecursiveLoop",
    "ReservedConcurrentExecutions",
    "Runtime",
    "Tags",
    "Timeout",
    "Tracing",
];

pub(super) fn function(
    resolver: &Resolver<'_>,
    id: &str,
    globals: &Value,
    properties: &Value,
    metadata: &Value,
) -> Result<Function> {
    let mut merged = globals.as_object().cloned().unwrap_or_default();
    only(&merged, KNOWN).context("Globals.Function")?;
    let mut variables = merged.remove("Environment").map(|environment| environment["Variables"].clone());
    for (name, value) in properties.as_object().into_iter().flatten() {
        match (name.as_str(), &mut variables) {
            ("Environment", Some(Value::Object(variables))) => {
                variables.extend(value["Variables"].as_object().cloned().unwrap_or_default());
            }
            ("Environment", _) => variables = Some(value["Variables"].clone()),
            _ => {
                merged.insert(name.clone(), value.clone());
            }
        }
    }
    only(&merged, KNOWN)?;

    let runtime = merged.get("Runtime").map(|runtime| resolver.string(runtime)).transpose()?.unwrap_or_default();
    ensure!(runtime.starts_with("provided."), "the local stack can't run the Runtime {runtime:?}");
    let package = metadata["BuildProperties"]["Binary"].as_str().context("no Metadata.BuildProperties.Binary")?;
    let environment = object(resolver.value(&variables.unwrap_or_else(|| Value::Object(Map::new())))?)?
        .iter()
        .map(|(name, value)| Ok((name.clone(), resolver.string(value).with_context(|| name.clone())?)))
        .collect::<Result<_>>()?;

    let number = |name: &str| {
        // `AWS::NoValue` is as good as none.
        let value = merged.get(name).map(|value| resolver.value(value)).transpose()?.filter(|value| !value.is_null());
        let number = value.map(|value| resolver.string(&value)?.parse::<u64>().map_err(anyhow::Error::new)).transpose();
        number.with_context(|| format!("{name} is not a number"))
    };
    let mut function = Function {
        id: id.to_owned(),
        package: package.to_owned(),
        name: resolver.physical(id)?,
        environment,
        memory_mb: number("MemorySize")?.unwrap_or(128),
        timeout: Duration::from_secs(number("Timeout")?.unwrap_or(3)),
        reserved_concurrency: number("ReservedConcurrentExecutions")?.map(usize::try_from).transpose()?,
        asynchronous: asynchronous_limits(resolver, merged.get("EventInvokeConfig")).context("EventInvokeConfig")?,
        rights: merged.get("Policies").map(|policies| rights(resolver, policies)).transpose()?.unwrap_or_default(),
        routes: Vec::new(),
        schedules: Vec::new(),
        event_sources: Vec::new(),
    };
    for (event_id, event) in merged.get("Events").and_then(Value::as_object).into_iter().flatten() {
        let mut properties = object(event["Properties"].clone()).with_context(|| event_id.clone())?;
        // Where events that failed go to changes no answer.
        ["DeadLetterConfig", "DestinationConfig"].iter().for_each(|inert| drop(properties.remove(*inert)));
        let properties = resolver.value(&properties.into()).and_then(object).with_context(|| event_id.clone())?;
        match event["Type"].as_str().unwrap_or_default() {
            "HttpApi" => function.routes.push(route(&properties).with_context(|| event_id.clone())?),
            "Schedule" => function.schedules.extend(schedule("aws.events", "Schedule", &properties)?),
            "ScheduleV2" => function.schedules.extend(schedule("aws.scheduler", "ScheduleExpression", &properties)?),
            // SAM gives the function's role the rights to read the stream by itself.
            "DynamoDB" => {
                let source = event_source(resolver, format!("{id}{event_id}"), &properties);
                function.event_sources.extend(source.with_context(|| event_id.clone())?);
            }
            other => bail!("the local stack can't honour the event {event_id} of type {other:?}"),
        }
    }
    Ok(function)
}

fn asynchronous_limits(resolver: &Resolver<'_>, config: Option<&Value>) -> Result<AsynchronousLimits> {
    let mut limits = AsynchronousLimits::default();
    let Some(config) = config else { return Ok(limits) };
    let mut config = object(config.clone())?;
    // Where events that failed go to changes no answer.
    config.remove("DestinationConfig");
    only(&config, &["MaximumEventAgeInSeconds", "MaximumRetryAttempts"])?;
    let config = object(resolver.value(&config.into())?)?;
    let number = |name: &str, allowed: RangeInclusive<u32>| -> Result<Option<u32>> {
        let Some(value) = config.get(name) else { return Ok(None) };
        let number = resolver.string(value)?.parse().ok().filter(|number| allowed.contains(number));
        number.map(Some).with_context(|| format!("{name} is not from {} to {}", allowed.start(), allowed.end()))
    };
    if let Some(retries) = number("MaximumRetryAttempts", 0..=2)? {
        limits.retries = retries;
    }
    if let Some(seconds) = number("MaximumEventAgeInSeconds", 60..=21_600)? {
        limits.maximum_age = Duration::from_secs(seconds.into());
    }
    Ok(limits)
}

fn route(properties: &Map<String, Value>) -> Result<Route> {
    only(properties, &["ApiId", "Method", "Path", "PayloadFormatVersion", "RouteSettings"])?;
    let version = properties.get("PayloadFormatVersion").and_then(Value::as_str).unwrap_or("2.0");
    ensure!(version == "2.0", "the local stack can't honour PayloadFormatVersion {version}");
    let property = |name: &str| properties.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"));
    Route::new(property("Method")?, property("Path")?)
}

fn schedule(source: &'static str, expression: &str, properties: &Map<String, Value>) -> Result<Option<Schedule>> {
    only(
        properties,
        &[
            "Description",
            "Enabled",
            "FlexibleTimeWindow",
            "Input",
            "Name",
            "OmitName",
            "PermissionsBoundary",
            "RetryPolicy",
            "RoleArn",
            expression,
            "ScheduleExpressionTimezone",
            "State",
        ],
    )?;
    if properties.get("Enabled").is_some_and(|enabled| enabled == false)
        || properties.get("State").is_some_and(|state| state == "DISABLED")
    {
        return Ok(None);
    }
    let rate = properties.get(expression).and_then(Value::as_str).with_context(|| format!("no {expression}"))?;
    let every = parse_rate(rate).with_context(|| format!("the local stack can't honour the schedule {rate:?}"))?;
    let input = properties.get("Input").and_then(Value::as_str).map(str::to_owned);
    Ok(Some(Schedule { every, source, input }))
}

/// `rate(5 minutes)`.
fn parse_rate(expression: &str) -> Option<Duration> {
    let (count, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let seconds = match unit.trim_end_matches('s') {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return None,
    };
    count.parse::<u64>().ok().filter(|count| *count > 0).map(|count| Duration::from_secs(count * seconds))
}
