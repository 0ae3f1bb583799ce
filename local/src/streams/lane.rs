//! One reader of one stream for one function: in order, and never past what the function has not taken.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    positions::Positions,
    records::{Record, Records},
    schema::RETENTION_SECONDS,
};
use crate::{
    lambda::{InvokeError, Lambda, PAYLOAD_LIMIT},
    template::EventSource,
};

/// The first pause after a run that failed, and the longest. AWS does not tell its own.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// The event around its records.
const ENVELOPE: usize = r#"{"Records":[]}"#.len();
/// Records that nobody is given are noted as done when there are so many of them: it costs a write of a file.
const NOTED: usize = 10 * super::records::PAGE;

/// A reader. With a `ParallelizationFactor` there are several, and each has the items of its own: order is kept for each item.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: usize,
    pub(super) package: String,
    pub(super) source: Arc<EventSource>,
    pub(super) records: Records,
    pub(super) lambda: Arc<Lambda>,
    pub(super) positions: Arc<Positions>,
    pub(super) stop: CancellationToken,
    /// The writes of which everything was delivered.
    pub(super) delivered: watch::Sender<u64>,
}

/// Records that go to the function together.
#[derive(Debug)]
struct Batch {
    records: Vec<Record>,
    failures: u32,
}

/// What came of a run.
enum Outcome {
    Taken,
    NoRoom,
    /// Everything from this record on.
    Refused(usize),
}

impl Lane {
    /// Reads from a position on, for ever.
    pub(super) async fn run(self, position: Option<String>) {
        let mut written = self.records.written();
        let (mut read, mut passed) = (position, 0);
        let mut waiting: VecDeque<Record> = VecDeque::new();
        let mut window: Option<Instant> = None;
        loop {
            let writes = *written.borrow_and_update();
            let mut more = true;
            while more && self.first_batch(&waiting) == waiting.len() && waiting.len() < self.source.batch_size {
                match self.records.after(&self.source.table, read.clone()).await {
                    Ok(page) => {
                        more = page.full;
                        passed += page.records.len();
                        waiting.extend(page.records.into_iter().filter(|record| self.is_for_it(record)));
                        read = page.end.or(read);
                    }
                    Err(error) => {
                        self.lambda.note(&self.package, &format!("The stream can't be read: {error:#}"));
                        sleep(PAUSES[1]).await;
                    }
                }
            }
            if waiting.is_empty() {
                if let Some(read) = &read
                    && passed >= NOTED
                {
                    self.reached(read);
                    passed = 0;
                }
                self.delivered.send_replace(writes);
                // The sender is here.
                let _ = written.changed().await;
                continue;
            }
            let size = self.first_batch(&waiting);
            if !self.source.window.is_zero() && size == waiting.len() && size < self.source.batch_size {
                let end = *window.get_or_insert_with(|| Instant::now() + self.source.window);
                if matches!(timeout_at(end, written.changed()).await, Ok(Ok(()))) {
                    continue;
                }
            }
            window = None;
            passed = 0;
            self.deliver(waiting.drain(..size).collect()).await;
        }
    }

    /// How many of the records that wait go to the function next: it takes no more bytes than any request has.
    fn first_batch(&self, waiting: &VecDeque<Record>) -> usize {
        let mut bytes = ENVELOPE;
        let fit = waiting.iter().take(self.source.batch_size).take_while(|record| {
            bytes += record.event.to_string().len() + 1;
            bytes <= PAYLOAD_LIMIT
        });
        fit.count().max(1).min(waiting.len())
    }

    /// Whether the function is to be given a record, by this lane.
    fn is_for_it(&self, record: &Record) -> bool {
        let keys = &record.event["dynamodb"]["Keys"];
        let lane = || {
            let mut names: Vec<_> =
                keys.as_object().into_iter().flatten().map(|(name, key)| (name, key.to_string())).collect();
            names.sort_unstable();
            let mut hasher = DefaultHasher::new();
            names.hash(&mut hasher);
            hasher.finish() % self.source.lanes as u64
        };
        (self.source.lanes == 1 || lane() == self.number as u64) && self.source.filters.let_through(&record.event)
    }

    /// Invokes the function with these records until it has taken them, or they have used up what the event source allows. Meanwhile, those
    /// after them wait.
    async fn deliver(&self, records: Vec<Record>) {
        let mut batches = VecDeque::from([Batch { records, failures: 0 }]);
        let mut pause = PAUSES[0];
        while let Some(mut batch) = batches.pop_front() {
            self.drop_what_is_too_old(&mut batch);
            let Some(last) = batch.records.last().map(|record| record.sequence.clone()) else { continue };
            match self.invoke(&batch.records).await {
                Outcome::Taken => self.reached(&last),
                Outcome::NoRoom => {
                    sleep(pause).await;
                    pause = PAUSES[1].min(pause * 2);
                    batches.push_front(batch);
                }
                // Its process was ended with the stack's: the next stack begins with these records again.
                Outcome::Refused(_) if self.stop.is_cancelled() => return std::future::pending().await,
                Outcome::Refused(first) => {
                    if let Some(before) = batch.records.drain(..first).next_back() {
                        self.reached(&before.sequence);
                    }
                    if first == 0 && self.source.bisects && batch.records.len() > 1 {
                        // "Splitting a batch does not count towards the retry quota."
                        let second = batch.records.split_off(batch.records.len() / 2);
                        batches.push_front(Batch { records: second, failures: batch.failures });
                        batches.push_front(batch);
                        continue;
                    }
                    batch.failures += 1;
                    if self.source.retries.is_some_and(|retries| batch.failures > retries) {
                        self.dropped(batch.records.len(), "have failed for the last time");
                        self.reached(&last);
                        continue;
                    }
                    sleep(pause).await;
                    pause = PAUSES[1].min(pause * 2);
                    batches.push_front(batch);
                }
            }
        }
    }

    async fn invoke(&self, records: &[Record]) -> Outcome {
        let events: Vec<&Value> = records.iter().map(|record| &record.event).collect();
        let event = Bytes::from(json!({"Records": events}).to_string());
        match self.lambda.invoke(&self.package, event).await.map(|invocation| invocation.outcome) {
            Ok(Ok(answer)) if self.source.reports_failures => match first_refused(&answer, records) {
                Some(first) => Outcome::Refused(first),
                None => Outcome::Taken,
            },
            Ok(Ok(_)) => Outcome::Taken,
            Err(InvokeError::Throttled) => Outcome::NoRoom,
            Ok(Err(_)) | Err(_) => Outcome::Refused(0),
        }
    }

    /// Drops the first records of a batch where they are older than the event source wants them or, if they have failed, than a stream is.
    fn drop_what_is_too_old(&self, batch: &mut Batch) {
        let retention = (batch.failures > 0).then_some(Duration::from_secs(RETENTION_SECONDS.unsigned_abs()));
        let Some(oldest) = self.source.maximum_age.into_iter().chain(retention).min() else { return };
        let now = self.records.clock.now();
        let too_old = |record: &Record| u128::try_from(now - record.created).unwrap_or_default() > oldest.as_millis();
        let old = batch.records.iter().take_while(|record| too_old(record)).count();
        if let Some(last) = batch.records.drain(..old).next_back() {
            self.dropped(old, "are too old");
            self.reached(&last.sequence);
        }
    }

    fn dropped(&self, records: usize, reason: &str) {
        self.lambda.note(&self.package, &format!("{records} records of the stream {reason} and were dropped."));
    }

    fn reached(&self, position: &str) {
        // What can't be noted is delivered once more after a restart.
        let _ = self.positions.reached(&self.source.id, self.number, position);
    }
}

/// The first record that the function has not taken, by its answer ("Configuring partial batch response with DynamoDB and Lambda"). An answer
/// that names none of the records has taken none.
fn first_refused(answer: &[u8], records: &[Record]) -> Option<usize> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let refused = answer["batchItemFailures"].as_array().filter(|refused| !refused.is_empty())?;
    let place = |item: &Value| {
        let identifier = item["itemIdentifier"].as_str();
        records.iter().position(|record| Some(record.sequence.as_str()) == identifier).unwrap_or(0)
    };
    refused.iter().map(place).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_on_at_the_lowest_number_that_was_refused() {
        let record = |sequence: &str| Record { sequence: sequence.to_owned(), created: 0, event: Value::Null };
        let records = ["11", "12", "13"].map(record);
        let refused = |answer: Value| first_refused(answer.to_string().as_bytes(), &records);
        let items = |ids: &[Value]| json!({"batchItemFailures": ids.iter().map(|id| json!({"itemIdentifier": id})).collect::<Vec<_>>()});
        for taken in [json!(null), json!({}), json!({"batchItemFailures": null}), json!({"batchItemFailures": []})] {
            assert_eq!(refused(taken), None);
        }
        assert_eq!(refused(items(&[json!("13"), json!("12")])), Some(1));
        for all in [items(&[json!("")]), items(&[json!(null)]), items(&[json!("99"), json!("13")])] {
            assert_eq!(refused(all), Some(0));
        }
        assert_eq!(refused(json!({"batchItemFailures": [{"id": "12"}]})), Some(0));
    }
}
