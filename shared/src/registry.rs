//! The registry table: users, keys, hotkeys, chutes and usage. One key, `pk`, whose prefix tells the kind of row.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::{
    operation::{
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        update_item::UpdateItemError,
    },
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    error::{Context, Error, Result, engine_error},
    lanes::{self, COUNTERS},
    read::Item,
    schema,
    time::Timestamp,
    transition::{Guard, Transition, number, text},
};

/// The store of rows, for the administrator; endpoints read theirs with [`crate::read::Read`].
#[derive(Debug, Clone)]
pub struct Registry {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Registry {
    /// A store over this table.
    pub fn new(client: aws_sdk_dynamodb::Client, table: String) -> Self {
        Self { client, table }
    }

    /// A row, strongly consistent.
    pub async fn get<T: DeserializeOwned>(&self, pk: &str) -> Result<Option<T>> {
        let request = self.client.get_item().table_name(&self.table).key("pk", text(pk)).consistent_read(true);
        let item = request.send().await.context("registry: GetItem")?.item;
        item.map(row).transpose()
    }

    /// Creates a row; false when there is one of that key.
    pub async fn create(&self, pk: String, row: &impl Serialize) -> Result<bool> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item(pk, row)?));
        match request.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(engine_error("registry: PutItem", &error)),
            },
        }
    }

    /// Sets one attribute of a row, and leaves the others to whoever changes them; false when there is no such row.
    pub async fn set(&self, pk: &str, attribute: &'static str, value: &impl Serialize) -> Result<bool> {
        self.set_when(Transition::default(), pk, attribute, value).await
    }

    /// The same, unless the row has the attribute already.
    pub async fn set_once(&self, pk: &str, attribute: &'static str, value: &impl Serialize) -> Result<bool> {
        self.set_when(Transition::default().when(Guard::Absent(attribute)), pk, attribute, value).await
    }

    async fn set_when(
        &self,
        change: Transition,
        pk: &str,
        attribute: &'static str,
        value: &impl Serialize,
    ) -> Result<bool> {
        let value = serde_dynamo::to_attribute_value(value);
        let value: AttributeValue = value.map_err(|error| Error::internal("registry: attribute", error))?;
        let change = change.when(Guard::AtMost(schema::ATTRIBUTE, schema::VERSION)).set(attribute, value);
        let expression = change.expression();
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", text(pk))
            .condition_expression(expression.condition)
            .update_expression(expression.update)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => match &refusal.item {
                    Some(item) => schema::check(item, "registry: row").map(|()| true),
                    None => Ok(false),
                },
                _ => Err(engine_error("registry: UpdateItem", &error)),
            },
        }
    }

    /// Creates or replaces a row, but for one of a newer release.
    pub async fn put(&self, pk: String, row: &impl Serialize) -> Result<()> {
        let request = self.client.put_item().condition_expression("attribute_not_exists(pk) OR #v <= :v");
        self.replace(request, pk, row).await.map(|_| ())
    }

    /// Creates or replaces a chute; false when the one that is there is busy and this one is not.
    pub async fn put_chute(&self, chute: &Chute) -> Result<bool> {
        let pk = Chute::pk(chute.chute_id);
        if chute.busy {
            return self.put(pk, chute).await.map(|()| true);
        }
        let not_busy = "attribute_not_exists(pk) OR #v <= :v AND (attribute_not_exists(busy) OR busy = :busy)";
        let request = self.client.put_item().condition_expression(not_busy);
        let request = request.expression_attribute_values(":busy", AttributeValue::Bool(false));
        self.replace(request, pk, chute).await
    }

    /// Whether the row was put. A row of a newer release is an error.
    async fn replace(&self, request: PutItemFluentBuilder, pk: String, row: &impl Serialize) -> Result<bool> {
        let request = request
            .table_name(&self.table)
            .set_item(Some(item(pk, row)?))
            .expression_attribute_names("#v", schema::ATTRIBUTE)
            .expression_attribute_values(":v", number(schema::VERSION))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                    let there = refusal.item.as_ref();
                    schema::check(there.unwrap_or(&Item::new()), "registry: row").map(|()| false)
                }
                _ => Err(engine_error("registry: PutItem", &error)),
            },
        }
    }
}

fn item(pk: String, row: &impl Serialize) -> Result<Item> {
    let mut item: Item = serde_dynamo::to_item(row).map_err(|error| Error::internal("registry: row", error))?;
    item.insert("pk".to_owned(), text(pk));
    schema::stamp(&mut item);
    Ok(item)
}

/// What a row says.
pub(crate) fn row<T: DeserializeOwned>(item: Item) -> Result<T> {
    schema::check(&item, "registry: row")?;
    serde_dynamo::from_item(item).map_err(|error| Error::internal("registry: row", error))
}

/// What an account may do beyond owning jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See and claim everybody's pending jobs.
    Miner,
}

/// `user#<user id>`: an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The account's id.
    pub user_id: Uuid,
    /// A disabled user is nobody.
    #[serde(default)]
    pub disabled: bool,
    /// Roles.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// Jobs a day, by chute id, `global` or `*`.
    #[serde(default)]
    pub quotas: BTreeMap<String, u64>,
    /// Since when the user's jobs are listed and counted in lanes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_since: Option<Timestamp>,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// `key#<key id>`: an API key's hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose it is.
    pub user_id: Uuid,
    /// SHA-256 of the whole key.
    pub hash: serde_bytes::ByteBuf,
    /// A revoked key opens nothing.
    #[serde(default)]
    pub revoked: bool,
    /// When it was minted.
    pub created_at: Timestamp,
}

/// `hotkey#<SS58 address>`: whose a hotkey is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HotkeyRow {
    /// The account that it signs for.
    pub user_id: Uuid,
    /// A revoked hotkey is nobody's.
    #[serde(default)]
    pub revoked: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// `chute#<chute id>`: an application that jobs run on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chute {
    /// The chute's id.
    pub chute_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its host name's first label.
    #[serde(default)]
    pub slug: Option<String>,
    /// Whether everybody may create jobs on it.
    pub public: bool,
    /// Users who may, when it is not public.
    #[serde(default)]
    pub shared_with: BTreeSet<Uuid>,
    /// Version of its code.
    pub version: String,
    /// Version of the SDK that it was built with.
    #[serde(default)]
    pub chutes_version: Option<String>,
    /// Whether its instances may be taken away.
    #[serde(default)]
    pub preemptible: bool,
    /// The image that it runs.
    #[serde(default)]
    pub image: Option<Image>,
    /// The hardware that it asks for, as miners read it: an object of at most 4 KiB of JSON.
    #[serde(default)]
    pub node_selector: Option<Value>,
    /// Its jobs wait in lanes.
    #[serde(default)]
    pub busy: bool,
    /// Its jobs.
    pub methods: Vec<Method>,
}

/// A container image.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image's id.
    pub image_id: String,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// Whether everybody may use it.
    #[serde(default)]
    pub public: bool,
    /// Its patch level.
    #[serde(default)]
    pub patch_version: Option<String>,
}

/// One kind of job of a chute, as the SDK's `@chute.job(…)` declares it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its name: the last segment of the create route.
    pub name: String,
    /// Seconds that a job may run: 30 s to 24 h. None: the deployment's longest.
    #[serde(default)]
    pub timeout: Option<u32>,
    /// How often a job that was lost is tried again.
    #[serde(default)]
    pub retry: u32,
    /// Ports that the miner has to open.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Whether it uploads output files.
    #[serde(default)]
    pub upload: bool,
}

/// A port that a job listens on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What it is for.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number inside the container.
    pub port: u16,
    /// `tcp`, `udp` or `http`.
    pub proto: String,
}

/// `usage#<user id>#<day>`: how many jobs a user has created that day, in all and per chute. Of a user whose jobs are counted in
/// lanes, each has a row: `usage#<user id>#<day>#<lane>`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Usage {
    #[serde(default)]
    total: u64,
    /// Every other attribute that is a count: `chute#<chute id>`.
    #[serde(flatten)]
    chutes: BTreeMap<String, Value>,
}

impl User {
    /// The row's key.
    pub fn pk(user_id: Uuid) -> String {
        format!("user#{user_id}")
    }

    /// Quotas by the keys that they are looked up under; the key that is none otherwise.
    pub fn quotas_by_key(quotas: BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, String> {
        let known = |key: String| match key.as_str() {
            "global" | "*" => Ok(key),
            _ => Uuid::try_parse(&key).map(|id| id.to_string()).map_err(|_| key),
        };
        quotas.into_iter().map(|(key, count)| Ok((known(key)?, count))).collect()
    }

    /// Lanes that the user's jobs are counted in at `now`. They begin with a day, since a quota holds for a day: in the middle of one
    /// the first lane has counted jobs already. Clocks differ, and the row is written a moment after the time that it tells: the
    /// hour is for both.
    pub fn counters(&self, now: Timestamp) -> u8 {
        let sliced = self.busy_since.is_some_and(|since| since.plus_seconds(3600).date() < now.date());
        if sliced { COUNTERS } else { 1 }
    }

    /// Jobs a day under `key` (a chute id or `global`): the user's own row, else the user's `*`, else the deployment's.
    pub fn quota(&self, key: &str, defaults: &BTreeMap<String, u64>) -> u64 {
        let places = [&self.quotas, defaults];
        places.iter().find_map(|quotas| quotas.get(key).or_else(|| quotas.get("*"))).copied().unwrap_or(0)
    }
}

impl KeyRow {
    /// The row's key.
    pub fn pk(key_id: Uuid) -> String {
        format!("key#{}", key_id.simple())
    }
}

impl HotkeyRow {
    /// The row's key.
    pub fn pk(hotkey: &str) -> String {
        format!("hotkey#{hotkey}")
    }
}

impl Chute {
    /// The row's key.
    pub fn pk(chute_id: Uuid) -> String {
        format!("chute#{chute_id}")
    }

    /// Whether `user_id` may create jobs on it.
    pub fn is_open_to(&self, user_id: Uuid) -> bool {
        self.public || self.user_id == user_id || self.shared_with.contains(&user_id)
    }

    /// The job of that name.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}

impl Usage {
    /// The key of a lane's row on the UTC day of `now`.
    pub fn pk(user_id: Uuid, now: Timestamp, lane: u8) -> String {
        lanes::key(format!("usage#{user_id}#{}", now.date()), lane)
    }

    /// What all rows say together.
    pub fn sum(rows: &[Self], chute_id: Uuid) -> Self {
        let of_chute: u64 = rows.iter().map(|row| row.of_chute(chute_id)).sum();
        Self {
            total: rows.iter().map(Self::total).sum(),
            chutes: BTreeMap::from([(Self::chute_attribute(chute_id), of_chute.into())]),
        }
    }

    /// The attribute that counts one chute's jobs.
    pub fn chute_attribute(chute_id: Uuid) -> String {
        format!("chute#{chute_id}")
    }

    /// Jobs created that day.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Jobs created that day on one chute.
    pub fn of_chute(&self, chute_id: Uuid) -> u64 {
        self.chutes.get(&Self::chute_attribute(chute_id)).and_then(Value::as_u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY;

    #[test]
    fn a_quota_is_looked_up_from_the_nearest_to_the_widest() {
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
        let quota = |own: &[(&str, u64)], defaults: &[(&str, u64)]| {
            let user = User {
                user_id: Uuid::nil(),
                disabled: false,
                roles: BTreeSet::new(),
                quotas: map(own),
                busy_since: None,
                created_at: Timestamp::from_millis(0),
            };
            user.quota("c", &map(defaults))
        };
        assert_eq!(quota(&[("c", 1), ("*", 2)], &[("c", 3), ("*", 4)]), 1);
        assert_eq!(quota(&[("d", 1), ("*", 2)], &[("c", 3), ("*", 4)]), 2);
        assert_eq!(quota(&[("d", 1)], &[("c", 3), ("*", 4)]), 3);
        assert_eq!(quota(&[], &[("d", 3), ("*", 4)]), 4);
        assert_eq!(quota(&[], &[]), 0);
        assert_eq!(quota(&[("c", 0), ("*", 2)], &[("c", 3)]), 0, "a quota of nothing is a quota");
    }

    #[test]
    fn lanes_that_count_begin_with_a_day_and_an_hour_late_at_least() {
        let noon = Timestamp::from_millis(12 * 3_600_000);
        let midnight = noon.plus_seconds(DAY / 2);
        let counters = |since: Option<Timestamp>, now| {
            let (disabled, roles, quotas) = (false, BTreeSet::new(), BTreeMap::new());
            User { user_id: Uuid::nil(), disabled, roles, quotas, busy_since: since, created_at: noon }.counters(now)
        };
        assert_eq!(counters(None, midnight), 1);
        for since in [noon, midnight.plus_seconds(-3601)] {
            assert_eq!(counters(Some(since), midnight.plus_seconds(-1)), 1);
            assert_eq!(counters(Some(since), midnight), COUNTERS);
        }
        let just_before = Some(midnight.plus_seconds(-1));
        assert_eq!(counters(just_before, midnight), 1);
        assert_eq!(counters(just_before, midnight.plus_seconds(DAY - 1)), 1);
        assert_eq!(counters(just_before, midnight.plus_seconds(DAY)), COUNTERS);
    }
}
