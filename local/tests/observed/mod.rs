//! A stack of one function, which stores every event that it is given, and of the table in which it does so.

use anyhow::{Context, Result};
use local::{Builder, Stack};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A template with these properties of the function, and these resources.
pub(crate) fn template(properties: &str, resources: &str) -> String {
    format!(
        r#"
Resources:
  ObserveEventFunction:
    Type: AWS::Serverless::Function
    Metadata: {{BuildProperties: {{Binary: observe-event}}}}
    Properties:
      Runtime: provided.al2023
      Timeout: 10
      Environment:
        Variables: {{OBSERVED_TABLE: !Ref Observed}}
{properties}
  Observed:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{AttributeName: at, AttributeType: S}}]
      KeySchema: [{{AttributeName: at, KeyType: HASH}}]
{resources}
"#
    )
}

/// What the function's role has to allow for it to store events.
pub(crate) const STORES: &str =
    "{Statement: [{Effect: Allow, Action: dynamodb:PutItem, Resource: !GetAtt Observed.Arn}]}";

/// Starts a stack of this template.
pub(crate) async fn start(builder: Builder, template: &str) -> Result<Stack> {
    let folder = TempDir::new()?;
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, template)?;
    builder.template(path).start().await
}

/// The events that the function was given, the oldest first.
pub(crate) async fn observed(stack: &Stack) -> Result<Vec<Value>> {
    let table = stack.resource("Observed")?;
    let mut items = stack.dynamodb("Scan", json!({"TableName": table, "ConsistentRead": true})).await?;
    let items = items["Items"].as_array_mut().context("no items")?;
    items.sort_by_key(|item| item["at"]["S"].as_str().map(str::to_owned));
    items.iter().map(|item| Ok(serde_json::from_str(item["event"]["S"].as_str().context("no event")?)?)).collect()
}
