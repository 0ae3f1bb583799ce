//! The store of the registry table: users, keys, hotkeys and chutes, as the administrator changes them.

use aws_sdk_dynamodb::{
    operation::{
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        update_item::UpdateItemError,
    },
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use serde::Serialize;

use super::{
    client::Tables,
    row::{Row, from_item, to_item},
};
use crate::{
    error::{Context, Error, Result, engine_error},
    item::{Condition, Item, Transition, number, schema, text},
    model::Chute,
};

/// The store of rows, for the administrator; endpoints read theirs with [`super::Read`].
#[derive(Debug, Clone)]
pub struct Registry(Tables);

impl Registry {
    /// A store over the registry table.
    pub fn new(tables: Tables) -> Self {
        Self(tables)
    }

    /// A row, strongly consistent.
    pub async fn get<T: Row>(&self, id: &T::Id) -> Result<Option<T>> {
        let request = self.0.client.get_item().table_name(&self.0.registry).key("pk", text(T::pk(id)));
        let item = request.consistent_read(true).send().await.context("registry: GetItem")?.item;
        item.map(from_item).transpose()
    }

    /// Creates a row; false when there is one of that key.
    pub async fn create<T: Row>(&self, id: &T::Id, row: &T) -> Result<bool> {
        let request = self.0.client.put_item().table_name(&self.0.registry).set_item(Some(to_item(id, row)?));
        match request.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(engine_error("registry: PutItem", &error)),
            },
        }
    }

    /// Sets one attribute of a row, and leaves the others to whoever changes them; false when there is no such row.
    pub async fn set<T: Row>(&self, id: &T::Id, attribute: &'static str, value: &impl Serialize) -> Result<bool> {
        self.set_when::<T>(Transition::default(), id, attribute, value).await
    }

    /// The same, unless the row has the attribute already.
    pub async fn set_once<T: Row>(&self, id: &T::Id, attribute: &'static str, value: &impl Serialize) -> Result<bool> {
        self.set_when::<T>(Transition::default().when(Condition::Absent(attribute)), id, attribute, value).await
    }

    async fn set_when<T: Row>(
        &self,
        change: Transition,
        id: &T::Id,
        attribute: &'static str,
        value: &impl Serialize,
    ) -> Result<bool> {
        let value = serde_dynamo::to_attribute_value(value);
        let value: AttributeValue = value.map_err(|error| Error::internal("registry: attribute", error))?;
        let change = change.when(Condition::AtMost(schema::ATTRIBUTE, schema::VERSION)).set(attribute, value);
        let expression = change.expression();
        let request = self.0.client.update_item().table_name(&self.0.registry).key("pk", text(T::pk(id)));
        let request = request
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
    pub async fn put<T: Row>(&self, id: &T::Id, row: &T) -> Result<()> {
        let request = self.0.client.put_item().condition_expression("attribute_not_exists(pk) OR #v <= :v");
        self.replace(request, id, row).await.map(|_| ())
    }

    /// Creates or replaces a chute; false when the one that is there is busy and this one is not.
    pub async fn put_chute(&self, chute: &Chute) -> Result<bool> {
        if chute.busy {
            return self.put(&chute.chute_id, chute).await.map(|()| true);
        }
        let not_busy = "attribute_not_exists(pk) OR #v <= :v AND (attribute_not_exists(busy) OR busy = :busy)";
        let request = self.0.client.put_item().condition_expression(not_busy);
        let request = request.expression_attribute_values(":busy", AttributeValue::Bool(false));
        self.replace(request, &chute.chute_id, chute).await
    }

    /// Whether the row was put. A row of a newer release is an error.
    async fn replace<T: Row>(&self, request: PutItemFluentBuilder, id: &T::Id, row: &T) -> Result<bool> {
        let request = request
            .table_name(&self.0.registry)
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
