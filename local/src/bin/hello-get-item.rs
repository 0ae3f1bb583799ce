//! The least that a function which reads a job can be: one GetItem by the SDK.

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use shared::{aws::Aws, config::Config};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let table = Config::from_env()?.jobs_table;
    let dynamodb = Aws::from_env()?.dynamodb();
    let (dynamodb, table) = (&dynamodb, &table);
    lambda_http::run(service_fn(move |request: Request| async move {
        let job_id = request.path_parameters().first("job_id").unwrap_or_default().to_owned();
        let key = AttributeValue::S(job_id);
        let answer = dynamodb.get_item().table_name(table).key("job_id", key).consistent_read(true).send().await?;
        let status = if answer.item.is_some() { 200 } else { 404 };
        Ok::<_, Error>(Response::builder().status(status).body(Body::Empty)?)
    }))
    .await
}
