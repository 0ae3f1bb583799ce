//! DynamoDB: `dynoxide`, behind its own HTTP server on a private port, so that requests get all of its checks.

use std::{io, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use dynoxide::{
    Database,
    actions::{create_table::CreateTableRequest, update_time_to_live::UpdateTimeToLiveRequest},
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
    template::Table,
};

/// How often expired items are removed. AWS promises "within a few days".
const SWEEP: Duration = Duration::from_secs(600);

/// The engine and a client of it.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: String,
}

impl DynamoDb {
    /// Opens the engine, in memory or in `folder`, and makes the tables that it does not have yet.
    pub(crate) async fn start(
        tables: &[Table],
        folder: Option<&Path>,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Self> {
        let database = match folder {
            None => Database::memory_with_clock(std::sync::Arc::new(clock.clone())),
            Some(folder) => Database::new(folder.join("dynamodb.sqlite").to_str().context("--data is not UTF-8")?),
        };
        let database = database.map_err(|error| anyhow!("can't open the DynamoDB engine: {error}"))?;
        for table in tables {
            create(&database, table)?;
        }

        let listener = listen().await.context("can't listen for DynamoDB")?;
        let authority = listener.local_addr().context("can't listen for DynamoDB")?.to_string();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), stop.clone().cancelled_owned()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let database = database.clone();
                // What one sweep misses, the next one finds.
                let _ = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            }
        }));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { client, authority })
    }

    /// Serves one request.
    pub(crate) async fn call(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, Cut> {
        let mut request = Request::from_parts(parts, Full::new(body));
        *request.uri_mut() = format!("http://{}/", self.authority).parse().map_err(|_| Cut)?;
        let response = self.client.request(request).await.map_err(|_| Cut)?;
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
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
    let name = table.create["TableName"].as_str().unwrap_or_default();
    let refused = |error: &dyn std::fmt::Display| anyhow!("can't create the table {name}: {error}");
    let existing = database.get_table_metadata(name).map_err(|error| refused(&error))?;
    if existing.is_some() {
        return Ok(());
    }
    let mut request = table.create.clone();
    // No function reads the stream: the template's reader knows no such event. The engine looks through all of its records for
    // each write: a test that stores 12,000 jobs took 102 s with it, and takes 12 s without.
    request.as_object_mut().and_then(|request| request.remove("StreamSpecification"));
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
