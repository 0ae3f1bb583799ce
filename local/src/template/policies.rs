//! Policies of the functions' roles.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    intrinsics::Resolver,
    properties::{object, only},
};
use crate::{
    account::{event_bus_arn, function_arn},
    rights::Right,
};

/// The rights of inline policies and policy templates: every action of a statement on every one of its resources.
pub(super) fn rights(resolver: &Resolver<'_>, policies: &Value) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for policy in list(&resolver.value(policies).context("Policies")?) {
        let expanded = expanded(policy);
        let statements = expanded.as_ref().unwrap_or(policy).get("Statement");
        let statements = statements.with_context(|| format!("the local stack can't honour the policy {policy}"))?;
        for statement in list(statements) {
            let statement = object(statement.clone()).context("Policies")?;
            only(&statement, &["Action", "Condition", "Effect", "Resource", "Sid"]).context("Policies")?;
            let (Some(actions), Some(resources)) = (statement.get("Action"), statement.get("Resource")) else {
                bail!("a statement without Action or Resource");
            };
            ensure!(statement.get("Effect").is_some_and(|effect| effect == "Allow"), "a statement that is not Allow");
            let leading_keys = statement.get("Condition").map(leading_keys).transpose()?.unwrap_or_default();
            for (action, resource) in list(actions).iter().flat_map(|a| list(resources).iter().map(move |r| (a, r))) {
                let text = |value: &Value| value.as_str().map(str::to_owned).context("expected a string");
                let right =
                    Right { action: text(action)?, resource: text(resource)?, leading_keys: leading_keys.clone() };
                let of_items = ["Get", "Put", "Update", "Delete", "BatchGet", "BatchWrite", "ConditionCheck"];
                ensure!(
                    leading_keys.is_empty() || of_items.iter().any(|of| right.action == format!("dynamodb:{of}Item")),
                    "the local stack can't honour dynamodb:LeadingKeys for {}",
                    right.action
                );
                rights.insert(right);
            }
        }
    }
    Ok(rights)
}

/// What a policy template stands for ("AWS SAM policy template list"), of those that are known here. SAM ends a function's ARN with `*`.
fn expanded(policy: &Value) -> Option<Value> {
    let (template, parameters) = policy.as_object().filter(|all| all.len() == 1)?.iter().next()?;
    let (action, resource) = match template.as_str() {
        "LambdaInvokePolicy" => {
            ("lambda:InvokeFunction", format!("{}*", function_arn(parameters["FunctionName"].as_str()?)))
        }
        "EventBridgePutEventsPolicy" => ("events:PutEvents", event_bus_arn(parameters["EventBusName"].as_str()?)),
        _ => return None,
    };
    Some(json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": resource}}))
}

/// The one condition that is understood: `ForAllValues:StringLike` or `ForAllValues:StringEquals` of `dynamodb:LeadingKeys`.
fn leading_keys(condition: &Value) -> Result<Vec<String>> {
    let known = || {
        let (operator, keys) = condition.as_object().filter(|all| all.len() == 1)?.iter().next()?;
        let (name, keys) = keys.as_object().filter(|all| all.len() == 1)?.iter().next()?;
        let patterns: Vec<_> = list(keys).iter().map(|key| key.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        let readable = match operator.as_str() {
            "ForAllValues:StringLike" => true,
            "ForAllValues:StringEquals" => !patterns.iter().any(|pattern| pattern.contains(['*', '?'])),
            _ => false,
        };
        (readable && name == "dynamodb:LeadingKeys" && !patterns.is_empty()).then_some(patterns)
    };
    known().with_context(|| format!("the local stack can't honour the condition {condition}"))
}

/// CloudFormation takes one for a list of one.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}
