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
    /// Keeps a new input; or answers the one of its id that somebody has made meanwhile, perhaps an earlier try of this very call.
    pub async fn keep_input(&self, user_id: Uuid, input_id: Uuid, input: &Input) -> Result<Option<Input>> {
        let request = self
            .tables
            .client
            .put_item()
            .table_name(&self.tables.registry)
            .set_item(Some(to_item(&(user_id, input_id), input)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                    refusal.item.clone().map_or_else(|| Ok(input.clone()), from_item).map(Some)
                }
                _ => Err(engine_error("input: PutItem", &error)),
            },
        }
    }
}
