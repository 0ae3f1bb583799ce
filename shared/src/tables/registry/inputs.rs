//! The rows of inputs.

use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use super::store::Registry;
use crate::{
    error::{Result, engine_error},
    model::Input,
    tables::row::{from_item, to_item},
};

impl Registry {
    /// Keeps a new input, and answers it; or the one of its id that somebody has made meanwhile.
    pub async fn keep_input(&self, user_id: Uuid, input_id: Uuid, input: Input) -> Result<Input> {
        let request = self
            .tables
            .client
            .put_item()
            .table_name(&self.tables.registry)
            .set_item(Some(to_item(&(user_id, input_id), &input)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(input),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                    refusal.item.clone().map_or(Ok(input), from_item)
                }
                _ => Err(engine_error("input: PutItem", &error)),
            },
        }
    }
}
