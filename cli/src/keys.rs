//! `jobchute keys`: who the local stack's user and miner are.

use std::env;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use uuid::Uuid;

/// Makes a user, a miner and a chute with the job `run`, through the function `admin`, and prints shell variables.
pub(crate) async fn print() -> Result<()> {
    let user = text(&admin(json!({"command": "create_user"})).await?, "user_id")?;
    let user_key = text(&admin(json!({"command": "create_key", "user_id": user})).await?, "key")?;
    let miner = text(&admin(json!({"command": "create_user", "roles": ["miner"]})).await?, "user_id")?;
    let miner_key = text(&admin(json!({"command": "create_key", "user_id": miner})).await?, "key")?;
    let chute = Uuid::new_v4();
    let methods = json!([{"name": "run", "timeout": 3600, "retry": 1, "upload": true}]);
    admin(json!({"command": "put_chute", "chute": {
        "chute_id": chute, "user_id": user, "name": "anything", "public": true, "version": "1", "methods": methods,
    }}))
    .await?;
    println!("export JOBCHUTE_KEY={user_key}");
    println!("export JOBCHUTE_MINER_KEY={miner_key}");
    println!("export JOBCHUTE_CHUTE={chute} # its method: run");
    Ok(())
}

/// Invokes the function, as `aws lambda invoke` does.
async fn admin(command: Value) -> Result<Value> {
    let aws = env::var("JOBCHUTE_AWS").unwrap_or_else(|_| "http://127.0.0.1:3001".to_owned());
    let url = format!("{aws}/2015-03-31/functions/admin/invocations");
    let answer = reqwest::Client::new().post(&url).body(command.to_string()).send().await;
    let answer = answer.with_context(|| format!("no local stack at {aws}: start `cargo run` first"))?;
    let failed = answer.headers().contains_key("x-amz-function-error");
    let body: Value = answer.json().await?;
    if failed {
        bail!("admin: {}", body["errorMessage"]);
    }
    Ok(body)
}

fn text(answer: &Value, field: &str) -> Result<String> {
    answer[field].as_str().map(str::to_owned).with_context(|| format!("admin answers no {field}"))
}
