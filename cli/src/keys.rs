//! `jobchute keys`: who the local stack's user and miner are. `jobchute hotkey`: a new wallet.

use anyhow::{Context, Result, bail};
use jobchute::Hotkey;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::screen::{self, line};

/// Makes a user, a miner and a chute with the job `run`, through the function `admin` of the stack whose AWS is at `aws`, and
/// prints shell variables.
pub(crate) async fn print(aws: &str) -> Result<()> {
    let admin = async |command: Value| admin(aws, command).await;
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
    if screen::is_json() {
        let all = json!({"JOBCHUTE_KEY": user_key, "JOBCHUTE_MINER_KEY": miner_key, "JOBCHUTE_CHUTE": chute});
        return Ok(screen::json(&all)?);
    }
    line(format_args!("export JOBCHUTE_KEY={user_key}"))?;
    line(format_args!("export JOBCHUTE_MINER_KEY={miner_key}"))?;
    line(format_args!("export JOBCHUTE_CHUTE={chute} # its method: run"))?;
    Ok(())
}

/// Makes a hotkey and prints it.
pub(crate) fn hotkey() -> Result<()> {
    let hotkey = Hotkey::generate();
    if screen::is_json() {
        return Ok(screen::json(&json!({"address": hotkey.address, "seed": hotkey.seed}))?);
    }
    Ok(line(format_args!("address {}\nseed    {}", hotkey.address, hotkey.seed))?)
}

/// Invokes the function, as `aws lambda invoke` does.
async fn admin(aws: &str, command: Value) -> Result<Value> {
    let url = format!("{aws}/2015-03-31/functions/admin/invocations");
    let answer = jobchute::http().build()?.post(&url).body(command.to_string()).send().await;
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
