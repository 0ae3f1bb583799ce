//! DynamoDB: `dynoxide`, behind its own HTTP server on a private port, so that requests get all of its checks.

use std::{io, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use dynoxide::{
    Database,
    actions::{
        create_table::CreateTableRequest, update_table::UpdateTableRequest,
        update_time_to_live::UpdateTimeToLiveRequest,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, http::request::Parts};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::Clock,
    server::{Body, Cut},
    streams::{self, Records},
    template::Table,
};

/// How often expired items are removed. AWS promises "within a few days".
const SWEEP: Duration = Duration::from_secs(600);

/// The engine and a client of it.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: String,
    records: Records,
}

impl DynamoDb {
    /// Opens the engine, in memory or in `folder`, and makes the tables that it does not have yet. What it writes for a moment goes to `scratch`.
    pub(crate) async fn start(
        tables: &[Table],
        folder: Option<&Path>,
        scratch: &Path,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Self> {
        let file = folder.map(|folder| folder.join("dynamodb.sqlite"));
        let database = match &file {
            None => Database::memory_with_clock(std::sync::Arc::new(clock.clone())),
            Some(file) => Database::new(file.to_str().context("--data is not UTF-8")?),
        };
        let database = database.map_err(|error| anyhow!("can't open the DynamoDB engine: {error}"))?;
        if tables.iter().any(|table| table.stream_view().is_some()) {
            streams::prepare(&database, file.as_deref(), scratch)?;
        }
        // Its clock in a file is the system's.
        let records_clock = if file.is_some() { Clock::default() } else { clock.clone() };
        let records = Records::new(database.clone(), tables, records_clock);
        for table in tables {
            create(&database, table)?;
        }

        let listener = listen().await.context("can't listen for DynamoDB")?;
        let authority = listener.local_addr().context("can't listen for DynamoDB")?.to_string();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), stop.clone().cancelled_owned()));
        let expiring = records.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                // What one sweep misses, the next one finds.
                let _ = expiring.expire().await;
            }
        }));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { client, authority, records })
    }

    /// The streams of its tables.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Serves one request.
    pub(crate) async fn call(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, Cut> {
        let reads = parts.headers.get("x-amz-target").is_some_and(|target| reads(target.as_bytes()));
        let mut request = Request::from_parts(parts, Full::new(body));
        *request.uri_mut() = format!("http://{}/", self.authority).parse().map_err(|_| Cut)?;
        let response = self.client.request(request).await.map_err(|_| Cut)?;
        if !reads {
            self.records.wake();
        }
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

/// Whether an operation leaves everything as it is.
fn reads(target: &[u8]) -> bool {
    let operation = target.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    [&b"Query"[..], b"Scan"].contains(&operation)
        || [&b"Get"[..], b"BatchGet", b"TransactGet", b"Describe", b"List"]
            .iter()
            .any(|read| operation.starts_with(read))
}

/// The engine's own server lets any web page in, so it listens where no page looks: at one of the 16 million loopback addresses of
/// Linux. Elsewhere there is only one.
async fn listen() -> io::Result<TcpListener> {
    let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
    match TcpListener::bind((Ipv4Addr::new(127, a, b, c.clamp(1, 254)), 0)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

fn create(database: &Database, table: &Table) -> Result<()> {
    let name = table.name();
    let refused = |error: &dyn std::fmt::Display| anyhow!("can't create the table {name}: {error}");
    // Both images, whatever the template wants: only so can be told that nothing has changed (`streams`).
    let stream = match table.stream_view() {
        Some(_) => json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"}),
        None => json!({"StreamEnabled": false}),
    };
    let existing = database.get_table_metadata(name).map_err(|error| refused(&error))?;
    if let Some(existing) = existing {
        if existing.stream_enabled != table.stream_view().is_some() {
            let change = json!({"TableName": name, "StreamSpecification": stream});
            let change: UpdateTableRequest = serde_json::from_value(change).map_err(|error| refused(&error))?;
            database.update_table(change).map_err(|error| refused(&error))?;
        }
        return Ok(());
    }
    let mut request = table.create.clone();
    request["StreamSpecification"] = stream;
    let request: CreateTableRequest = serde_json::from_value(request).map_err(|error| refused(&error))?;
    database.create_table(request).map_err(|error| refused(&error))?;
    if let Some(attribute) = &table.ttl_attribute {
        let specification = json!({"AttributeName": attribute, "Enabled": true});
        let request: UpdateTimeToLiveRequest =
            serde_json::from_value(json!({"TableName": name, "TimeToLiveSpecification": specification}))
                .map_err(|error| refused(&error))?;
        database.update_time_to_live(request).map_err(|error| refused(&error))?;
    }
    Ok(())
}
