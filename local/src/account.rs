//! The AWS account that the stack pretends to be, and the ARNs of what is in it.

/// The account's number.
pub(crate) const ACCOUNT: &str = "123456789012";
/// The account's only region.
pub(crate) const REGION: &str = "us-east-1";
/// The name of the CloudFormation stack.
pub(crate) const STACK: &str = "jobchute";

pub(crate) fn bucket_arn(name: &str) -> String {
    format!("arn:aws:s3:::{name}")
}

/// Where the bucket is in AWS. Here, functions are told to reach S3 elsewhere.
pub(crate) fn bucket_domain(name: &str) -> String {
    format!("{name}.s3.{REGION}.amazonaws.com")
}

pub(crate) fn event_bus_arn(name: &str) -> String {
    format!("arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}")
}

pub(crate) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// Secrets Manager ends a secret's ARN with six characters of its own.
pub(crate) fn secret_arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-LoCaL1")
}

/// A stream's label is the time of its making in AWS.
pub(crate) fn stream_arn(table: &str) -> String {
    format!("{}/stream/local", table_arn(table))
}

pub(crate) fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}
