//! The least that a Lambda function with a database can be: one GetItem by the SDK.

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, Response, service_fn};
use shared::{aws::Aws, config::Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let table = Config::from_env()?.registry_table;
    let dynamodb = Aws::from_env()?.dynamodb();
    let (dynamodb, table) = (&dynamodb, &table);
    lambda_http::run(service_fn(move |_: Request| async move {
        let key = AttributeValue::S("hello".to_owned());
        let item = dynamodb.get_item().table_name(table).key("pk", key).consistent_read(true).send().await?;
        Ok::<_, Error>(Response::new(Body::from(format!("{}", item.item.is_some()))))
    }))
    .await
}
