//! What a create says beside the arguments: the query.

use std::ops::RangeInclusive;

use lambda_http::Request;
use serde_json::{Value, json};
use shared::{
    Result,
    error::Invalid,
    http::Parameters,
    model::Job,
    time::DAY,
    webhook::{Reach, Webhook},
};

/// Seconds that a job may wait for a miner, by its creator's word.
const WAITS: RangeInclusive<i64> = 10..=30 * DAY;
/// Labels of a job.
const MOST_LABELS: usize = 10;
/// Characters of the longest label.
const LONGEST_LABEL: usize = 64;

/// Options of a new job.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Seconds that it may wait.
    cancel_after: Option<i64>,
    labels: Vec<String>,
    /// Whom to tell when it is over.
    webhook: Option<String>,
}

impl Options {
    /// Reads the query. 422 names every parameter that is wrong.
    pub(crate) fn read(request: &Request, reach: &Reach) -> Result<Self> {
        const TIMES: &str = "seconds, or 90s, 15m, 2h or 7d: from 10 seconds to 30 days";
        let mut query = Parameters::new(request);
        let waits = |text: &str| seconds(text).filter(|seconds| WAITS.contains(seconds));
        let cancel_after = query.optional("cancel_after", TIMES, waits);
        let loc = || vec!["query".into(), "label".into()];
        let mut labels: Vec<String> = Vec::new();
        for label in query.labels() {
            if !is_label(&label) {
                let message = format!("Input should be 1 to {LONGEST_LABEL} printable characters");
                query.refuse(Invalid::value(loc(), message, label.clone().into()));
            }
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        if labels.len() > MOST_LABELS {
            let message = format!("Input should be at most {MOST_LABELS} labels");
            query.refuse(Invalid::value(loc(), message, labels.len().into()));
        }
        let webhook = query.webhook();
        if let Some(url) = &webhook
            && let Err(message) = Webhook::parse(url, reach)
        {
            query.refuse(Invalid::value(vec!["query".into(), "webhook".into()], message, url.clone().into()));
        }
        query.end()?;
        Ok(Self { cancel_after, labels, webhook })
    }

    /// What tells them from others.
    pub(crate) fn content(&self) -> Value {
        match &self.webhook {
            // As an earlier release has it, which knew no webhooks.
            None => json!([self.cancel_after, self.labels]),
            webhook => json!([self.cancel_after, self.labels, webhook]),
        }
    }

    /// The job as they want it; where they are silent, it waits as long as the deployment says.
    pub(crate) fn apply(self, job: &mut Job, pending: i64) {
        job.own_wait = self.cancel_after.is_some();
        job.wait = Some(self.cancel_after.unwrap_or(pending));
        job.labels = self.labels;
        job.webhook = self.webhook;
    }
}

/// A number of seconds, with a unit or without.
fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (text, "s"),
        Some(number) => (number, &text[number.len()..]),
    };
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        _ => 1,
    };
    let is_whole = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<i64>().ok().filter(|_| is_whole)?.checked_mul(unit)
}

/// Whether this can be shown, in one line, as it is.
fn is_label(text: &str) -> bool {
    // Rust escapes what is not printable, and, of the first character, what combines with the one before it.
    let is_printable = |character: char| {
        let shown = format!("a{character}");
        matches!(character, '"' | '\'' | '\\') || shown.escape_debug().to_string() == shown
    };
    (1..=LONGEST_LABEL).contains(&text.chars().count()) && text.chars().all(is_printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_seconds() {
        for (text, expected) in
            [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("0010", 10), ("0", 0)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1e9", "5x", "1.5h", " 5", "5 m", "5ms", "99999999999999999d", "٣"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_label_is_printable() {
        let longest = "ü".repeat(64);
        for label in ["a", "team red", "naïve", "e\u{301}", "हिन्दी", "🚀", "\"it's\\", &longest] {
            assert!(is_label(label), "{label:?}");
        }
        let long = "ü".repeat(65);
        for label in ["", "a\nb", "\u{7f}", "\0", "\u{202e}evil", "\u{2028}", "\u{feff}", "👩\u{200d}🚀", &long] {
            assert!(!is_label(label), "{label:?}");
        }
    }
}
