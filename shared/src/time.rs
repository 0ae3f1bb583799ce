//! Time, as the table stores it and as the client reads it.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_types::date_time::{DateTime, Format};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, SchemaFormat,
        schema::{Schema, Type},
    },
};

/// One day.
pub const DAY: i64 = 86_400;

/// A moment: milliseconds since 1970 in UTC, which is also how DynamoDB holds it. Clients see RFC 3339 (`Display`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The system's clock. Only for what no API Gateway stamped: presigned URLs and direct invocations.
    pub fn system() -> Self {
        Self::of(SystemTime::now())
    }

    /// From RFC 3339; None for any other text.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok().map(Self)
    }

    /// From a system's time; what was before 1970 is 1970.
    pub fn of(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// The same, of a time that was measured.
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `YYYY-MM-DD` in UTC.
    pub fn date(self) -> String {
        self.to_string()[..10].to_owned()
    }

    /// Seconds until the next UTC day begins; at least 1.
    pub const fn seconds_to_next_day(self) -> i64 {
        DAY - self.seconds().rem_euclid(DAY)
    }
}

/// As clients see it.
impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Timestamp {}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        match DateTime::from_secs(seconds).fmt(Format::DateTime) {
            // RFC 3339 with milliseconds always: clients compare these texts.
            Ok(text) => write!(f, "{}.{millis:03}Z", text.trim_end_matches('Z')),
            Err(_) => Err(fmt::Error),
        }
    }
}

/// Serialises a [`Timestamp`] the way clients see it: `#[serde(serialize_with = "rfc3339")]`.
pub fn rfc3339<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// As [`rfc3339`], for one that may be unknown.
pub fn rfc3339_option<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_rfc_3339_with_milliseconds_in_utc() {
        assert_eq!(Timestamp::from_millis(1_795_000_000_000).to_string(), "2026-11-18T11:06:40.000Z");
        assert_eq!(Timestamp::from_millis(1_795_000_000_007).to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(Timestamp::from_millis(1_795_000_000_007).date(), "2026-11-18");
    }

    #[test]
    fn a_quota_day_ends_at_midnight_utc() {
        assert_eq!(Timestamp::from_millis(DAY * 1000 - 1).seconds_to_next_day(), 1);
        assert_eq!(Timestamp::from_millis(DAY * 1000).seconds_to_next_day(), DAY);
    }
}
