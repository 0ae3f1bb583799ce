//! A function for the tests of the local stack. It stores every event that it is given, in the table that `OBSERVED_TABLE` names. Then it
//! fails if a record has the attribute `poison`, and refuses each record whose attribute `refused` is higher than the times it has seen it.

use std::{
    collections::HashMap,
    env,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{
    Error, LambdaEvent,
    lambda_runtime::{self, service_fn},
};
use serde_json::{Value, json};
use shared::aws::Aws;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let table = env::var("OBSERVED_TABLE")?;
    let dynamodb = Aws::from_env()?.dynamodb();
    let seen = Mutex::new(HashMap::<String, u64>::new());
    let (dynamodb, table, seen) = (&dynamodb, &table, &seen);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        let event = event.payload;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let put = dynamodb.put_item().table_name(table).item("at", AttributeValue::S(format!("{now:039}")));
        put.item("event", AttributeValue::S(event.to_string())).send().await?;

        let mut seen = seen.lock().map_err(|_| "a request before has panicked")?;
        let mut refused = Vec::new();
        for record in event["Records"].as_array().into_iter().flatten() {
            let image = &record["dynamodb"]["NewImage"];
            if !image["poison"].is_null() {
                return Err("a record is poison".into());
            }
            let times = image["refused"]["N"].as_str().and_then(|times| times.parse().ok());
            let seen = seen.entry(record["eventID"].as_str().unwrap_or_default().to_owned()).or_default();
            *seen += 1;
            if *seen <= times.unwrap_or_default() {
                refused.push(json!({"itemIdentifier": record["dynamodb"]["SequenceNumber"]}));
            }
        }
        Ok::<_, Error>(json!({"batchItemFailures": refused}))
    }))
    .await
}
