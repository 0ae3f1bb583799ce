//! What the stack's engines hold, for tests of what must, or must not, be stored.

use aws_credential_types::Credentials;
use aws_sdk_s3::config::Region;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use local::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Stack};
use serde_json::{Value, json};

/// One DynamoDB call, as any client of the stack may make it.
pub async fn dynamodb(stack: &Stack, operation: &str, request: Value) -> Value {
    stack.dynamodb(operation, request).await.expect("DynamoDB answers")
}

/// The item of a table of the template, in DynamoDB's JSON; null when there is none.
pub async fn item(stack: &Stack, table: &str, key: &str, value: &str) -> Value {
    let table = stack.resource(table).expect("a table of the template");
    let request = json!({"TableName": table, "Key": {key: {"S": value}}, "ConsistentRead": true});
    dynamodb(stack, "GetItem", request).await["Item"].take()
}

/// An S3 client of the stack, as anybody outside of it has.
pub fn s3(stack: &Stack) -> aws_sdk_s3::Client {
    if let Some(client) = stack.others_s3() {
        return client.clone();
    }
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None))
        .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
        .endpoint_url(stack.aws_url())
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// The keys of every version of every object of a job.
pub async fn objects(stack: &Stack, job_id: &str) -> Vec<String> {
    versions(stack, "", job_id).await.into_iter().map(|(key, _)| key).collect()
}

/// Removes every version of the objects whose keys begin so, and have that in them.
pub async fn remove_objects(stack: &Stack, prefix: &str, part: &str) {
    for (key, id) in versions(stack, prefix, part).await {
        let remove = s3(stack).delete_object().bucket(bucket(stack)).key(key);
        remove.set_version_id(id).send().await.expect("S3 answers");
    }
}

/// The same objects' versions, as key and id.
async fn versions(stack: &Stack, prefix: &str, part: &str) -> Vec<(String, Option<String>)> {
    let client = s3(stack);
    let (mut all, mut marker) = (Vec::new(), (None, None));
    loop {
        let request = client.list_object_versions().bucket(bucket(stack)).prefix(prefix);
        let request = request.set_key_marker(marker.0).set_version_id_marker(marker.1);
        let page = request.send().await.expect("S3 answers");
        let found = page.versions.unwrap_or_default().into_iter();
        all.extend(found.filter_map(|version| Some((version.key?, version.version_id))));
        if page.is_truncated != Some(true) {
            break;
        }
        marker = (page.next_key_marker, page.next_version_id_marker);
    }
    all.retain(|(key, _)| key.contains(part));
    all
}

/// The keys of every upload in parts of a job that has begun and not ended.
pub async fn unfinished_uploads(stack: &Stack, job_id: &str) -> Vec<String> {
    let answer = s3(stack).list_multipart_uploads().bucket(bucket(stack)).send().await.expect("S3 answers");
    let keys = answer.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key);
    keys.filter(|key| key.contains(job_id)).collect()
}

fn bucket(stack: &Stack) -> &str {
    stack.resource("OutputsBucket").expect("a bucket of the template")
}
