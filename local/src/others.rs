//! Engines of others: the DynamoDB and the S3 of AWS, or what somebody else has made like them. [docs/engines.md] tells how tests run there.
//!
//! They are found as functions find them, by Lambda's variables. Everything else stays the stack's own.
//!
//! [docs/engines.md]: https://github.com/jobchute/jobchute/blob/main/docs/engines.md

use std::{
    collections::BTreeMap,
    env, fmt,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use serde_json::{Value, json};
use shared::aws::{Aws, Lazy};
use uuid::Uuid;

use crate::{
    account::REGION,
    template::{Bucket, Table, Template},
};

/// The variable with which a stack has engines of others. Its value is what the names of its tables and buckets begin with.
const OTHER_ENGINES: &str = "JOBCHUTE_OTHER_ENGINES";

/// What an error says, before why, of something that only the stack's own engines do. `tests/engines` reads it.
pub(crate) const ONLY_HERE: &str = "not on engines of others: ";

/// Why functions that a stream invokes are invoked only by the stack's own engines.
pub const STREAMS: &str = "nobody reads the stream of their tables";

/// The variables of a function by which it finds engines that are not the stack's.
const VARIABLES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_S3",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// How often to ask whether a table is there, which takes AWS some ten seconds.
const PAUSE: Duration = Duration::from_millis(500);

/// Clients of the engines.
pub(crate) struct Others {
    stack: String,
    aws: Aws,
    s3: Lazy<aws_sdk_s3::Client>,
    dynamodb: String,
    http: reqwest::Client,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").field("dynamodb", &self.dynamodb).finish_non_exhaustive()
    }
}

/// What the names of tables and buckets begin with, if engines of others have them.
fn prefix() -> Option<String> {
    env::var(OTHER_ENGINES).ok().filter(|prefix| !prefix.is_empty())
}

/// What follows needs the stack's own engines, for this reason: where stacks have others, a test is skipped here, which is a panic
/// that `tests/engines` knows.
#[track_caller]
pub fn own_engines(why: &str) {
    assert!(prefix().is_none(), "{ONLY_HERE}{why}");
}

impl Others {
    /// Those that this process's variables name, if there are any, for one stack. An error where it can have only its own, with the reason.
    pub(crate) fn from_env(only_here: Option<&'static str>) -> Result<Option<Self>> {
        let Some(prefix) = prefix() else { return Ok(None) };
        if let Some(why) = only_here {
            bail!("{ONLY_HERE}{why}");
        }
        let aws = Aws::from_env().map_err(|error| anyhow!("{OTHER_ENGINES}: {error}"))?;
        ensure!(aws.signing().1 == REGION, "{OTHER_ENGINES}: AWS_REGION is not {REGION}, where the stack is");
        let aws_itself = format!("https://dynamodb.{REGION}.amazonaws.com");
        let dynamodb = env::var("AWS_ENDPOINT_URL_DYNAMODB").ok().filter(|url| !url.is_empty()).unwrap_or(aws_itself);
        let http = reqwest::Client::builder().build().context("can't make an HTTP client")?;
        let stack = format!("{prefix}-{}", &Uuid::new_v4().simple().to_string()[..12]);
        Ok(Some(Self { stack, s3: aws.s3(), dynamodb: format!("{}/", dynamodb.trim_end_matches('/')), aws, http }))
    }

    /// A name that no other stack has.
    pub(crate) fn stack_name(&self) -> &str {
        &self.stack
    }

    /// What a function finds in its environment. What is empty is as good as missing, and covers what the stack would say.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        VARIABLES.map(|name| (name.to_owned(), env::var(name).unwrap_or_default())).into()
    }

    /// Makes the tables and buckets of a template.
    pub(crate) async fn make(&self, template: &Template) -> Result<()> {
        for table in &template.tables {
            let mut table = table.create.clone();
            // Nobody would read it.
            table.as_object_mut().and_then(|table| table.remove("StreamSpecification"));
            self.dynamodb("CreateTable", &table).await?;
        }
        for bucket in &template.buckets {
            self.make_bucket(bucket).await?;
        }
        for table in &template.tables {
            self.finish_table(table).await?;
        }
        Ok(())
    }

    async fn make_bucket(&self, bucket: &Bucket) -> Result<()> {
        let name = &bucket.name;
        self.s3.create_bucket().bucket(name).send().await.with_context(|| format!("can't make the bucket {name}"))?;
        if bucket.versioned {
            let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let request = self.s3.put_bucket_versioning().bucket(name).versioning_configuration(versions);
            request.send().await.with_context(|| format!("can't have the bucket {name} keep versions"))?;
        }
        Ok(())
    }

    async fn finish_table(&self, table: &Table) -> Result<()> {
        let name = table.name();
        while self.dynamodb("DescribeTable", &json!({"TableName": name})).await?["Table"]["TableStatus"] != "ACTIVE" {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(attribute) = &table.ttl_attribute {
            let expiry = json!({"AttributeName": attribute, "Enabled": true});
            self.dynamodb("UpdateTimeToLive", &json!({"TableName": name, "TimeToLiveSpecification": expiry})).await?;
        }
        Ok(())
    }

    /// One DynamoDB call.
    pub(crate) async fn dynamodb(&self, operation: &str, input: &Value) -> Result<Value> {
        let (target, body) = (format!("DynamoDB_20120810.{operation}"), input.to_string());
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let (credentials, region) = self.aws.signing();
        let identity = credentials.into();
        let params = SigningParams::builder().identity(&identity).region(&region).name("dynamodb");
        let params = params.time(SystemTime::now()).settings(SigningSettings::default()).build()?;
        let signed = SignableBody::Bytes(body.as_bytes());
        let signed = SignableRequest::new("POST", &self.dynamodb, headers.into_iter(), signed)?;
        let (signature, _) = sign(signed, &params.into())?.into_parts();

        let mut request = self.http.post(&self.dynamodb);
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.context("DynamoDB does not answer")?;
        let (status, body) = (answer.status(), answer.text().await.context("DynamoDB's answer ends early")?);
        ensure!(status.is_success(), "{operation}: {body}");
        serde_json::from_str(&body).context("DynamoDB's answer is not JSON")
    }

    /// A client of S3.
    pub(crate) fn s3(&self) -> &aws_sdk_s3::Client {
        &self.s3
    }
}
