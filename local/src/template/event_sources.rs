//! Streams that functions are invoked with.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::{intrinsics::Resolver, properties::only};
use crate::streams::filter::Filters;

/// A function that is invoked with the records of a table's stream ("Lambda parameters for Amazon DynamoDB event source mappings").
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventSource {
    /// The logical name that SAM gives to it.
    pub(crate) id: String,
    /// The table's physical name.
    pub(crate) table: String,
    /// Whether it begins with what is in the stream already.
    pub(crate) from_the_first: bool,
    pub(crate) batch_size: usize,
    /// How long records are gathered.
    pub(crate) window: Duration,
    pub(crate) filters: Filters,
    /// Whether the function's answer tells which records it has not taken.
    pub(crate) reports_failures: bool,
    pub(crate) bisects: bool,
    /// Runs after the first that failed; none is as many as it takes.
    pub(crate) retries: Option<u32>,
    /// The oldest that records may be; none is as old as a stream has them.
    pub(crate) maximum_age: Option<Duration>,
    /// Batches that may be under way at a time.
    pub(crate) lanes: usize,
}

/// One event source; none where it is not enabled. `properties` are resolved.
pub(super) fn event_source(
    resolver: &Resolver<'_>,
    id: String,
    properties: &Map<String, Value>,
) -> Result<Option<EventSource>> {
    only(
        properties,
        &[
            "BatchSize",
            "BisectBatchOnFunctionError",
            "Enabled",
            "FilterCriteria",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "ParallelizationFactor",
            "StartingPosition",
            "Stream",
        ],
    )?;
    let text =
        |name: &str| properties.get(name).map(|value| resolver.string(value)).transpose().context(name.to_owned());
    let number = |name: &str, default: i64, allowed: RangeInclusive<i64>| -> Result<i64> {
        let number =
            text(name)?.map_or(Ok(default), |text| text.parse()).ok().filter(|number| allowed.contains(number));
        number.with_context(|| format!("{name} is not from {} to {}", allowed.start(), allowed.end()))
    };
    let flag = |name: &str, default: bool| -> Result<bool> {
        text(name)?.map_or(Ok(default), |text| text.parse()).with_context(|| format!("{name} is not true or false"))
    };
    let stream = text("Stream")?.context("no Stream")?;
    let table = stream.split_once(":table/").and_then(|(_, table)| table.split_once("/stream/"));
    let (table, _) = table.with_context(|| format!("{stream:?} is not the stream of a table"))?;
    let from_the_first = match text("StartingPosition")?.as_deref() {
        Some("TRIM_HORIZON") => true,
        Some("LATEST") => false,
        other => bail!("StartingPosition is {other:?}, not TRIM_HORIZON or LATEST"),
    };
    let responses = properties.get("FunctionResponseTypes").and_then(Value::as_array);
    let responses = responses.map(Vec::as_slice).unwrap_or_default();
    ensure!(
        responses.iter().all(|kind| kind == "ReportBatchItemFailures"),
        "FunctionResponseTypes has an unknown type"
    );
    let age = number("MaximumRecordAgeInSeconds", -1, -1..=604_800)?;
    ensure!(age == -1 || age >= 60, "MaximumRecordAgeInSeconds is less than 60");
    let source = EventSource {
        id,
        table: table.to_owned(),
        from_the_first,
        batch_size: usize::try_from(number("BatchSize", 100, 1..=10_000)?)?,
        window: Duration::from_secs(number("MaximumBatchingWindowInSeconds", 0, 0..=300)?.unsigned_abs()),
        filters: filters(properties.get("FilterCriteria")).context("FilterCriteria")?,
        reports_failures: !responses.is_empty(),
        bisects: flag("BisectBatchOnFunctionError", false)?,
        retries: u32::try_from(number("MaximumRetryAttempts", -1, -1..=10_000)?).ok(),
        maximum_age: u64::try_from(age).ok().map(Duration::from_secs),
        lanes: usize::try_from(number("ParallelizationFactor", 1, 1..=10)?)?,
    };
    Ok(flag("Enabled", true)?.then_some(source))
}

fn filters(criteria: Option<&Value>) -> Result<Filters> {
    let Some(criteria) = criteria else { return Ok(Filters::default()) };
    only(criteria.as_object().context("it is not a mapping")?, &["Filters"])?;
    let filters = criteria["Filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pattern = |filter: &Value| Ok(filter["Pattern"].as_str().context("a filter without Pattern")?.to_owned());
    let patterns: Vec<String> = filters.iter().map(pattern).collect::<Result<_>>()?;
    Filters::read(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
}
