//! How the keys of both tables and of their indexes are spelt. No other code of the functions spells one.

use uuid::Uuid;

use super::shards;

/// Partition keys of the index `queue` that hold what is due for the reaper. A job writes twice to its key (claim and end), and a
/// partition key takes 1,000 writes a second ("Best practices for designing partition keys"): 16 take 8,000 jobs a second, and cost the
/// reaper 16 queries a minute. A power of two up to 128, for equal shares. It may rise, and never fall: jobs wait under these keys.
pub const DUE_SHARDS: u8 = 16;

/// What the `pk` of every account begins with.
pub const USERS: &str = "user#";
/// What the `pk` of every API key begins with.
pub const API_KEYS: &str = "key#";
/// What the `pk` of every hotkey begins with.
pub const HOTKEYS: &str = "hotkey#";
/// What the `pk` of every chute begins with.
pub const CHUTES: &str = "chute#";
/// What the `pk` of every input begins with.
pub const INPUTS: &str = "input#";
/// What the `pk` of every webhook secret begins with.
pub const WEBHOOK_SECRETS: &str = "webhook#";

/// `pk` of an account.
pub fn user(user_id: Uuid) -> String {
    format!("{USERS}{user_id}")
}

/// `pk` of an API key.
pub fn api_key(key_id: Uuid) -> String {
    format!("{API_KEYS}{}", key_id.simple())
}

/// `pk` of a hotkey, by its SS58 address.
pub fn hotkey(address: &str) -> String {
    format!("{HOTKEYS}{address}")
}

/// `pk` of a chute.
pub fn chute(chute_id: Uuid) -> String {
    format!("{CHUTES}{chute_id}")
}

/// `pk` of a user's input.
pub fn input(user_id: Uuid, input_id: Uuid) -> String {
    format!("{INPUTS}{user_id}#{input_id}")
}

/// `pk` of the secret that signs a user's webhooks.
pub fn webhook_secret(user_id: Uuid) -> String {
    format!("{WEBHOOK_SECRETS}{user_id}")
}

/// `pk` of what runs of a user's jobs, where the user may have so many running at once.
pub fn running(user_id: Uuid) -> String {
    format!("running#{user_id}")
}

/// `pk` of what one shard has counted of a user's jobs on a day, `YYYY-MM-DD`.
pub fn usage(user_id: Uuid, day: &str, shard: u8) -> String {
    shards::key(format!("usage#{user_id}#{day}"), shard)
}

/// The attribute of a usage row that counts one chute's jobs.
pub fn usage_of_chute(chute_id: Uuid) -> String {
    format!("{CHUTES}{chute_id}")
}

/// The attribute of a usage row that tells where the user's last job stood in the chute's queue.
pub fn place_in_usage(chute_id: Uuid) -> String {
    format!("place#{chute_id}")
}

/// The chute whose jobs an attribute of a usage row counts; None for any other attribute.
pub fn chute_of_usage(attribute: &str) -> Option<Uuid> {
    Uuid::try_parse(attribute.strip_prefix(CHUTES)?).ok()
}

/// `pk` of the row that tells whether new jobs of a chute are given places in turn.
pub fn crowded(chute_id: Uuid) -> String {
    format!("crowded#{chute_id}")
}

/// `pk` of the row that remembers a signature, by its SHA-256.
pub fn replay(signature: [u8; 32]) -> String {
    format!("replay#{}", hex::encode(signature))
}

/// Index `by_owner`: where a user's jobs are listed, in one of the user's shards.
pub fn owner(user_id: Uuid, shard: u8) -> String {
    shards::key(user_id.to_string(), shard)
}

/// Index `queue`: where a chute's pending jobs wait, in one of the chute's shards.
pub fn claimable(chute_id: Uuid, shard: u8) -> String {
    shards::key(format!("claimable#{chute_id}"), shard)
}

/// `job_id` of the row that a job's heartbeats write.
pub fn lease(job_id: Uuid) -> String {
    format!("{job_id}#lease")
}

/// Index `queue`: where a job waits for the reaper.
pub fn due(job_id: Uuid) -> String {
    due_shard(job_id.as_bytes()[0] % DUE_SHARDS)
}

/// Index `queue`: what is due for the reaper and keeps no lease waiting: a job whose retention ends, an alarm that a job has for itself.
pub fn later(job_id: Uuid) -> String {
    due_shard(DUE_SHARDS + job_id.as_bytes()[0] % DUE_SHARDS)
}

/// The same, by the shard's number: of what is due from 0 on, of what can wait from [`DUE_SHARDS`] on.
pub fn due_shard(shard: u8) -> String {
    match shard.checked_sub(DUE_SHARDS) {
        None => format!("due#{shard}"),
        Some(shard) => format!("later#{shard}"),
    }
}
