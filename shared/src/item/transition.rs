//! A change of a job's state as data: what must hold, and what then changes. DynamoDB carries it out in one conditional write
//! ([`Transition::expression`]); [`Transition::apply`] does the same in memory: for answers that DynamoDB does not give, and so that
//! a checker can try every order.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attribute::{Item, number};
use crate::time::Timestamp;

/// Something that must hold for a transition to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The attribute has this value.
    Is(&'static str, AttributeValue),
    /// What is at this path, an attribute or one inside a map, has this value.
    IsAt(String, AttributeValue),
    /// The attribute is there.
    Exists(String),
    /// The attribute is not there.
    Absent(&'static str),
    /// The attribute is a number above this one.
    Above(&'static str, i64),
    /// The attribute is a number, and not above this one.
    AtMost(&'static str, i64),
    /// At least one of these holds.
    Any(Vec<Condition>),
}

impl Condition {
    /// The attribute is as it was read.
    pub fn unchanged(attribute: &'static str, read: Option<AttributeValue>) -> Self {
        read.map_or(Self::Absent(attribute), |value| Self::Is(attribute, value))
    }

    /// The same of a time.
    pub fn unchanged_time(attribute: &'static str, read: Option<Timestamp>) -> Self {
        Self::unchanged(attribute, read.map(|time| number(time.millis())))
    }

    fn holds(&self, item: &Item) -> bool {
        let millis = |attribute: &str| item.get(attribute).and_then(millis);
        match self {
            Condition::Is(attribute, value) => item.get(*attribute) == Some(value),
            Condition::IsAt(path, value) => get(item, path) == Some(value),
            Condition::Exists(path) => get(item, path).is_some(),
            Condition::Absent(attribute) => !item.contains_key(*attribute),
            Condition::Above(attribute, bound) => millis(attribute).is_some_and(|n| n > *bound),
            Condition::AtMost(attribute, most) => millis(attribute).is_some_and(|n| n <= *most),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(item)),
        }
    }
}

/// An attribute that becomes a number: this one, and what another attribute holds.
#[derive(Debug, Clone, PartialEq)]
struct Sum {
    attribute: &'static str,
    base: i64,
    added: &'static str,
    /// Where there is no such attribute.
    default: i64,
}

/// One conditional write: all conditions hold and all changes happen, or nothing does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transition {
    conditions: Vec<Condition>,
    set: Vec<(String, AttributeValue)>,
    defaults: Vec<(&'static str, AttributeValue)>,
    sums: Vec<Sum>,
    remove: Vec<&'static str>,
}

impl Transition {
    /// Also requires this.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Also sets an attribute, or one inside a map: `files.<file id>`.
    pub fn set(mut self, attribute: impl Into<String>, value: AttributeValue) -> Self {
        self.set.push((attribute.into(), value));
        self
    }

    /// Also sets an attribute that is not there.
    pub fn set_if_absent(mut self, attribute: &'static str, value: AttributeValue) -> Self {
        self.defaults.push((attribute, value));
        self
    }

    /// Also sets an attribute to a number and what another attribute holds, or `default` where that is not there.
    pub fn set_sum(mut self, attribute: &'static str, base: i64, added: &'static str, default: i64) -> Self {
        self.sums.push(Sum { attribute, base, added, default });
        self
    }

    /// Sets the attribute, or removes it.
    pub fn set_option(self, attribute: &'static str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    /// Also removes an attribute.
    pub fn remove(mut self, attribute: &'static str) -> Self {
        self.remove.push(attribute);
        self
    }

    /// The same in DynamoDB's language.
    pub fn expression(self) -> Expression {
        let mut expression = Expression::default();
        let conditions: Vec<_> = self.conditions.into_iter().map(|condition| expression.of(condition)).collect();
        expression.condition = conditions.join(" AND ");
        let mut set: Vec<_> = self
            .set
            .into_iter()
            .map(|(attribute, value)| format!("{} = {}", expression.name(&attribute), expression.value(value)))
            .collect();
        for (attribute, value) in self.defaults {
            let attribute = expression.name(attribute);
            set.push(format!("{attribute} = if_not_exists({attribute}, {})", expression.value(value)));
        }
        for Sum { attribute, base, added, default } in self.sums {
            let (attribute, added) = (expression.name(attribute), expression.name(added));
            let (base, default) = (expression.value(number(base)), expression.value(number(default)));
            set.push(format!("{attribute} = if_not_exists({added}, {default}) + {base}"));
        }
        let remove: Vec<_> = self.remove.iter().map(|attribute| expression.name(attribute)).collect();
        let clauses = [("SET", set), ("REMOVE", remove)].into_iter().filter(|(_, actions)| !actions.is_empty());
        let clauses: Vec<_> = clauses.map(|(clause, actions)| format!("{clause} {}", actions.join(", "))).collect();
        expression.update = clauses.join(" ");
        expression
    }

    /// The item after the transition; None when a condition does not hold, or a map on an attribute's path is missing. As in an
    /// UpdateItem, an item that is not there is an empty one.
    pub fn apply(self, mut item: Item) -> Option<Item> {
        if !self.conditions.iter().all(|condition| condition.holds(&item)) {
            return None;
        }
        let sums = self.sums.into_iter().map(|Sum { attribute, base, added, default }| {
            let added = item.get(added).map_or(Some(default), millis)?;
            Some((attribute.to_owned(), number(base + added)))
        });
        let sums: Vec<_> = sums.collect::<Option<_>>()?;
        for (attribute, value) in self.defaults {
            item.entry(attribute.to_owned()).or_insert(value);
        }
        for (path, value) in self.set.into_iter().chain(sums) {
            set(&mut item, &path, value)?;
        }
        for attribute in self.remove {
            item.remove(attribute);
        }
        Some(item)
    }
}

fn get<'a>(item: &'a Item, path: &str) -> Option<&'a AttributeValue> {
    match path.split_once('.') {
        None => item.get(path),
        Some((first, rest)) => get(item.get(first)?.as_m().ok()?, rest),
    }
}

/// None where DynamoDB, too, refuses: a map on the path is missing.
fn set(item: &mut Item, path: &str, value: AttributeValue) -> Option<()> {
    match path.split_once('.') {
        None => drop(item.insert(path.to_owned(), value)),
        Some((first, rest)) => match item.get_mut(first)? {
            AttributeValue::M(inner) => set(inner, rest, value)?,
            _ => return None,
        },
    }
    Some(())
}

fn millis(value: &AttributeValue) -> Option<i64> {
    value.as_n().ok()?.parse().ok()
}

/// A conditional update in DynamoDB's language. Every name is a placeholder: many of ours are reserved words.
#[derive(Debug, Default)]
pub struct Expression {
    /// ConditionExpression.
    pub condition: String,
    /// UpdateExpression.
    pub update: String,
    /// ExpressionAttributeNames.
    pub names: HashMap<String, String>,
    /// ExpressionAttributeValues.
    pub values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn of(&mut self, condition: Condition) -> String {
        match condition {
            Condition::Is(attribute, value) => format!("{} = {}", self.name(attribute), self.value(value)),
            Condition::IsAt(path, value) => format!("{} = {}", self.name(&path), self.value(value)),
            Condition::Exists(path) => format!("attribute_exists({})", self.name(&path)),
            Condition::Absent(attribute) => format!("attribute_not_exists({})", self.name(attribute)),
            Condition::Above(attribute, least) => format!("{} > {}", self.name(attribute), self.value(number(least))),
            Condition::AtMost(attribute, most) => format!("{} <= {}", self.name(attribute), self.value(number(most))),
            Condition::Any(conditions) => {
                let any: Vec<_> = conditions.into_iter().map(|condition| self.of(condition)).collect();
                format!("({})", any.join(" OR "))
            }
        }
    }

    fn name(&mut self, path: &str) -> String {
        let segments: Vec<_> = path
            .split('.')
            .map(|segment| {
                let placeholder = format!("#{}", segment.replace('-', "_"));
                self.names.insert(placeholder.clone(), segment.to_owned());
                placeholder
            })
            .collect();
        segments.join(".")
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}

#[cfg(test)]
mod tests {
    use super::{super::attribute::text, *};

    fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn nothing_changes_unless_all_conditions_hold() {
        let before = || item([("status", text("running")), ("due_at", number(5))]);
        let change =
            || Transition::default().set("status", text("pending")).when(Condition::Is("status", text("running")));
        assert!(change().apply(before()).is_some());
        for refused in [
            Condition::Is("status", text("pending")),
            Condition::Exists("files.a".to_owned()),
            Condition::IsAt("files.a".to_owned(), number(5)),
            Condition::Absent("due_at"),
            Condition::Above("due_at", 5),
            Condition::AtMost("due_at", 4),
            Condition::Any(vec![Condition::Absent("status"), Condition::AtMost("due_at", 4)]),
        ] {
            assert_eq!(change().when(refused.clone()).apply(before()), None, "{refused:?}");
        }
    }

    #[test]
    fn one_condition_of_several_is_enough() {
        let either = Condition::Any(vec![Condition::Absent("attempt"), Condition::AtMost("attempt", 2)]);
        let change = || Transition::default().set("attempt", number(2)).when(either.clone());
        let expression = change().when(Condition::Absent("v")).expression();
        let both = "(attribute_not_exists(#attempt) OR #attempt <= :v0) AND attribute_not_exists(#v)";
        assert_eq!(expression.condition, both);
        for (before, happens) in [(None, true), (Some(2), true), (Some(3), false)] {
            let before = before.map(|attempt| ("attempt".to_owned(), number(attempt))).into_iter().collect();
            assert_eq!(change().apply(before).is_some(), happens);
        }
    }

    #[test]
    fn a_sum_is_of_what_another_attribute_holds_or_of_a_default() {
        let change = || Transition::default().set("a", number(1)).set_sum("due_at", 100, "keep", 7);
        let update = "SET #a = :v0, #due_at = if_not_exists(#keep, :v2) + :v1";
        assert_eq!(change().expression().update, update);
        for (keep, due_at) in [(None, 107), (Some(20), 120)] {
            let before = keep.map(|keep| ("keep".to_owned(), number(keep))).into_iter().collect();
            let after = change().apply(before).expect("no condition");
            assert_eq!(after.get("due_at"), Some(&number(due_at)));
        }
        assert_eq!(change().apply(item([("keep", text("x"))])), None);
    }

    #[test]
    fn a_value_is_set_inside_a_map_that_is_there() {
        let change = || Transition::default().set("files.a.u", AttributeValue::Bool(true)).remove("progress");
        let files = |file| item([("files", AttributeValue::M(item([("a", AttributeValue::M(file))])))]);
        let mut before = files(item([]));
        before.insert("progress".to_owned(), number(0));
        assert_eq!(change().apply(before), Some(files(item([("u", AttributeValue::Bool(true))]))));
        assert_eq!(change().apply(item([("files", AttributeValue::M(item([])))])), None);
    }
}
