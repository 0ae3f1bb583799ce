//! The two tables, and the client that reaches them.

use aws_sdk_dynamodb::Client;

/// The jobs table and the registry table.
#[derive(Debug, Clone)]
pub struct Tables {
    /// DynamoDB.
    pub(super) client: Client,
    /// The name of the table of jobs: key `job_id`.
    pub(super) jobs: String,
    /// The name of the table of users, keys, hotkeys, chutes, usage and used signatures: key `pk`.
    pub(super) registry: String,
}

impl Tables {
    /// These tables.
    pub fn new(client: Client, jobs: String, registry: String) -> Self {
        Self { client, jobs, registry }
    }
}
