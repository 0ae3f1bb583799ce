//! Policies of the functions' roles.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{
    intrinsics::Resolver,
    properties::{object, only},
};
use crate::rights::Right;

/// The rights of inline policies: every action of a statement on every one of its resources.
pub(super) fn rights(resolver: &Resolver<'_>, policies: &Value) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for policy in list(&resolver.value(policies).context("Policies")?) {
        let statements = policy.get("Statement");
        let statements = statements.with_context(|| format!("the local stack can't honour the policy {policy}"))?;
        for statement in list(statements) {
            let statement = object(statement.clone()).context("Policies")?;
            only(&statement, &["Action", "Effect", "Resource", "Sid"]).context("Policies")?;
            let (Some(actions), Some(resources)) = (statement.get("Action"), statement.get("Resource")) else {
                bail!("a statement without Action or Resource");
            };
            ensure!(statement.get("Effect").is_some_and(|effect| effect == "Allow"), "a statement that is not Allow");
            for (action, resource) in list(actions).iter().flat_map(|a| list(resources).iter().map(move |r| (a, r))) {
                let text = |value: &Value| value.as_str().map(str::to_owned).context("expected a string");
                rights.insert(Right { action: text(action)?, resource: text(resource)? });
            }
        }
    }
    Ok(rights)
}

/// CloudFormation takes one for a list of one.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}
