//! The two tables, and the client that reaches them.

use aws_sdk_dynamodb::{
    Client,
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};

use crate::{
    error::engine_error,
    item::{Transition, text},
};

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

    /// The one conditional write that a transition of a job is, or of the row of its heartbeats. It answers the item after it; refused, as it
    /// is.
    pub(super) fn change_job(&self, key: String, transition: Transition) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.jobs).key("job_id", text(key));
        written(request.return_values(ReturnValue::AllNew), transition)
    }

    /// The same of a row of the registry.
    pub(super) fn change_row(&self, key: String, transition: Transition) -> UpdateItemFluentBuilder {
        written(self.client.update_item().table_name(&self.registry).key("pk", text(key)), transition)
    }
}

/// What a change has answered; None where a condition did not hold.
pub(super) fn unless_refused(
    sent: Result<UpdateItemOutput, SdkError<UpdateItemError>>,
    doing: &'static str,
) -> crate::error::Result<Option<UpdateItemOutput>> {
    match sent {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
            _ => Err(engine_error(doing, &error)),
        },
    }
}

fn written(request: UpdateItemFluentBuilder, transition: Transition) -> UpdateItemFluentBuilder {
    let expression = transition.expression();
    request
        .condition_expression(expression.condition)
        .update_expression(expression.update)
        .set_expression_attribute_names(Some(expression.names))
        .set_expression_attribute_values(Some(expression.values))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}
