//! Inputs, as a user uploads them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    client::Client,
    world::{text, upload_to},
};

/// What a user declares of a file with this content.
pub fn declared(filename: &str, content: &[u8]) -> Value {
    json!({"filename": filename, "size": content.len(), "sha256": hex::encode(Sha256::digest(content))})
}

/// An input that is there: its `uri`. `api` is the stack's address; empty for the one that all tests share.
pub async fn uploaded(api: &str, user: &Client, filename: &str, content: &[u8]) -> String {
    let input = user.post(&format!("{api}/inputs"), declared(filename, content)).await.ok();
    if input["upload"].is_object() {
        assert_eq!(upload_to(&input["upload"], content).await.status, 200);
    }
    text(&input["uri"])
}

/// What a miner fetches that follows redirects, as `curl -L` does.
pub async fn fetched(url: &str) -> Vec<u8> {
    let found = Client::nobody().get(url).await;
    assert_eq!(found.status, 307, "{}", found.body);
    let file = Client::nobody().get(found.header("location").expect("a place")).await;
    assert_eq!(file.status, 200, "{}", file.body);
    file.bytes
}
