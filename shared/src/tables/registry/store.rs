//! The store itself, and how it reads and writes one row.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{
    operation::{
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        update_item::UpdateItemError,
    },
    types::ReturnValuesOnConditionCheckFailure,
};
use uuid::Uuid;

use crate::{
    error::{Context, Result, engine_error},
    item::{Condition, Item, Transition, number, schema, text},
    model::Chute,
    tables::{
        client::Tables,
        row::{Row, from_item, to_item},
    },
    time::Timestamp,
};

/// The store of rows. Endpoints read most of theirs with [`crate::tables::Read`].
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) tables: Tables,
    /// Whose the chutes are that this process has read, by chute.
    pub(super) owners: Arc<Mutex<HashMap<Uuid, Uuid>>>,
    /// Chutes that this process has read for miners, and when.
    pub(super) seen: Arc<Mutex<HashMap<Uuid, (Timestamp, Chute)>>>,
}

/// What became of a change of a row.
pub(super) enum Changed<T> {
    Made,
    /// A condition did not hold; this is the row as it is.
    Refused(T),
    /// There is no such row.
    Missing,
}

impl Registry {
    /// A store over the registry table.
    pub fn new(tables: Tables) -> Self {
        Self { tables, owners: Arc::default(), seen: Arc::default() }
    }

    /// A row, strongly consistent.
    pub(super) async fn get<T: Row>(&self, id: &T::Id) -> Result<Option<T>> {
        let request = self.tables.client.get_item().table_name(&self.tables.registry).key("pk", text(T::pk(id)));
        let item = request.consistent_read(true).send().await.context("registry: GetItem")?.item;
        item.map(from_item).transpose()
    }

    /// Creates a row; false when there is one of that key.
    pub(super) async fn create<T: Row>(&self, id: &T::Id, row: &T) -> Result<bool> {
        let request = self.tables.client.put_item().table_name(&self.tables.registry).set_item(Some(to_item(id, row)?));
        match request.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(engine_error("registry: PutItem", &error)),
            },
        }
    }

    /// Changes some attributes of a row, and leaves the others to whoever changes them: two administrators at once do not undo
    /// each other's changes. A row of a newer release is an error.
    pub(super) async fn change<T: Row>(&self, id: &T::Id, change: Transition) -> Result<Changed<T>> {
        let change = change.when(Condition::AtMost(schema::ATTRIBUTE, schema::VERSION));
        let request = self.tables.change_row(T::pk(id), change);
        match request.send().await {
            Ok(_) => Ok(Changed::Made),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => match &refusal.item {
                    Some(item) => from_item(item.clone()).map(Changed::Refused),
                    None => Ok(Changed::Missing),
                },
                _ => Err(engine_error("registry: UpdateItem", &error)),
            },
        }
    }

    /// Creates or replaces a row, but for one of a newer release.
    pub(super) async fn put<T: Row>(&self, id: &T::Id, row: &T) -> Result<()> {
        let request = self.tables.client.put_item().condition_expression("attribute_not_exists(pk) OR #v <= :v");
        self.replace(request, id, row).await.map(|_| ())
    }

    /// Whether the row was put. A row of a newer release is an error.
    pub(super) async fn replace<T: Row>(&self, request: PutItemFluentBuilder, id: &T::Id, row: &T) -> Result<bool> {
        let request = request
            .table_name(&self.tables.registry)
            .set_item(Some(to_item(id, row)?))
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
