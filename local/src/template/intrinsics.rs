//! CloudFormation's intrinsic functions, conditions, parameters and names.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::account::{self, ACCOUNT, REGION, STACK};

/// The pseudo parameter that is the stack's name, given like any other parameter.
pub(crate) const STACK_NAME: &str = "AWS::StackName";

/// Turns YAML's short forms (`!Sub x`) into JSON's long ones (`{"Fn::Sub": "x"}`).
pub(super) fn untag(value: serde_norway::Value) -> Result<Value> {
    use serde_norway::Value as Yaml;
    Ok(match value {
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let name = match name.trim_start_matches('!') {
                short @ ("Ref" | "Condition") => short.to_owned(),
                short => format!("Fn::{short}"),
            };
            Value::Object(Map::from_iter([(name, untag(tagged.value)?)]))
        }
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(untag).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let entry = |(key, value)| match key {
                Yaml::String(key) => Ok((key, untag(value)?)),
                other => bail!("a key is not a string: {other:?}"),
            };
            Value::Object(entries.into_iter().map(entry).collect::<Result<_>>()?)
        }
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => value.into(),
        Yaml::String(value) => value.into(),
        number @ Yaml::Number(_) => serde_json::to_value(number)?,
    })
}

/// A physical resource, as other resources see it.
struct Resource {
    kind: String,
    /// What `Ref` gives.
    reference: String,
    /// Whether it is a table with a stream.
    streams: bool,
}

/// Resolves intrinsic functions against one template's parameters, conditions and resources.
pub(super) struct Resolver<'a> {
    conditions: Option<&'a Map<String, Value>>,
    parameters: BTreeMap<String, Value>,
    resources: BTreeMap<String, Resource>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(template: &'a Value, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut parameters = BTreeMap::from([(STACK_NAME.to_owned(), STACK.into())]);
        for (name, declaration) in template["Parameters"].as_object().into_iter().flatten() {
            let value = match (given.get(name), declaration.get("Default")) {
                (Some(value), _) => value.clone(),
                (None, Some(Value::String(default))) => default.clone(),
                (None, Some(default @ (Value::Number(_) | Value::Bool(_)))) => default.to_string(),
                _ => bail!("the parameter {name} has no default"),
            };
            let list = declaration["Type"].as_str().is_some_and(|kind| kind.contains("List"));
            let value = if list { value.split(',').map(str::trim).collect() } else { Value::String(value) };
            parameters.insert(name.clone(), value);
        }
        if let Some(name) = given.get(STACK_NAME) {
            parameters.insert(STACK_NAME.to_owned(), name.as_str().into());
        }
        if let Some(unknown) = given.keys().find(|name| !parameters.contains_key(*name)) {
            bail!("it has no parameter {unknown}");
        }
        Ok(Self { conditions: template["Conditions"].as_object(), parameters, resources: BTreeMap::new() })
    }

    /// Whether a resource's condition holds.
    pub(super) fn included(&self, resource: &Value) -> Result<bool> {
        resource["Condition"].as_str().map_or(Ok(true), |name| self.condition(name))
    }

    /// Gives a resource its physical name: the one that it asks for, or one made of the stack's name and its id.
    pub(super) fn name(&mut self, id: &str, kind: &str, properties: &Value) -> Result<()> {
        let property = match kind {
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::SecretsManager::Secret" | "AWS::Serverless::HttpApi" => "Name",
            "AWS::Serverless::Function" => "FunctionName",
            _ => bail!("the local stack has no {kind}"),
        };
        let name = match properties.get(property) {
            Some(name) => self.string(name)?,
            None => self.default_name(id),
        };
        let reference = match kind {
            "AWS::S3::Bucket" => name.to_lowercase(),
            "AWS::SecretsManager::Secret" => account::secret_arn(&name),
            _ => name,
        };
        let streams = properties.get("StreamSpecification").map(|stream| self.value(stream)).transpose()?;
        let streams = streams.is_some_and(|stream| !stream.is_null());
        self.resources.insert(id.to_owned(), Resource { kind: kind.to_owned(), reference, streams });
        Ok(())
    }

    /// The name of a resource that asks for none.
    pub(super) fn default_name(&self, id: &str) -> String {
        format!("{}-{id}", self.parameters[STACK_NAME].as_str().unwrap_or_default())
    }

    /// Physical names by logical id.
    pub(super) fn names(&self) -> BTreeMap<String, String> {
        self.resources.iter().map(|(id, resource)| (id.clone(), resource.reference.clone())).collect()
    }

    /// The physical name of one resource.
    pub(super) fn physical(&self, id: &str) -> Result<String> {
        self.resources.get(id).map(|r| r.reference.clone()).with_context(|| format!("there is no resource {id}"))
    }

    /// Resolves a value throughout; `AWS::NoValue` leaves its entry out.
    pub(super) fn value(&self, value: &Value) -> Result<Value> {
        Ok(self.optional(value)?.unwrap_or(Value::Null))
    }

    /// Resolves to a string, as CloudFormation turns numbers and booleans into one.
    pub(super) fn string(&self, value: &Value) -> Result<String> {
        match self.value(value)? {
            Value::String(text) => Ok(text),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Ok(scalar.to_string()),
            other => bail!("expected a string, found {other}"),
        }
    }

    fn optional(&self, value: &Value) -> Result<Option<Value>> {
        Ok(Some(match value {
            Value::Object(map) => match map.iter().next() {
                Some((name, argument)) if map.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) => {
                    return self.call(name, argument);
                }
                _ => {
                    let mut resolved = Map::new();
                    for (key, value) in map {
                        if let Some(value) = self.optional(value).with_context(|| key.clone())? {
                            resolved.insert(key.clone(), value);
                        }
                    }
                    Value::Object(resolved)
                }
            },
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.optional(item).transpose());
                Value::Array(items.collect::<Result<_>>()?)
            }
            scalar => scalar.clone(),
        }))
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>> {
        let text = || argument.as_str().with_context(|| format!("{name} needs a string"));
        let list = || argument.as_array().with_context(|| format!("{name} needs a list"));
        Ok(Some(match name {
            "Ref" if argument == "AWS::NoValue" => return Ok(None),
            "Ref" => self.reference(text()?)?,
            "Fn::GetAtt" => match argument {
                Value::String(path) => self.attribute(path)?,
                _ => self.attribute(&strings(list()?)?.join("."))?,
            },
            "Fn::Sub" => match argument {
                Value::Array(items) => match items.as_slice() {
                    [Value::String(text), Value::Object(local)] => self.substitute(text, local)?,
                    _ => bail!("Fn::Sub needs a string and a mapping"),
                },
                _ => self.substitute(text()?, &Map::new())?,
            },
            "Fn::If" => match list()?.as_slice() {
                [Value::String(condition), yes, no] => {
                    return self.optional(if self.condition(condition)? { yes } else { no });
                }
                _ => bail!("Fn::If needs a condition and two values"),
            },
            "Fn::Join" => match list()?.as_slice() {
                [Value::String(separator), items] => {
                    let items = self.value(items)?;
                    strings(items.as_array().context("Fn::Join needs a list")?)?.join(separator).into()
                }
                _ => bail!("Fn::Join needs a separator and a list"),
            },
            _ => bail!("the local stack can't resolve {name}"),
        }))
    }

    fn reference(&self, name: &str) -> Result<Value> {
        Ok(match name {
            "AWS::AccountId" => ACCOUNT.into(),
            "AWS::Partition" => "aws".into(),
            "AWS::Region" => REGION.into(),
            "AWS::URLSuffix" => "amazonaws.com".into(),
            _ => match self.parameters.get(name) {
                Some(parameter) => parameter.clone(),
                None => self.physical(name)?.into(),
            },
        })
    }

    fn attribute(&self, path: &str) -> Result<Value> {
        let (id, attribute) = path.split_once('.').with_context(|| format!("Fn::GetAtt of {path}"))?;
        let Resource { kind, reference, streams } =
            self.resources.get(id).with_context(|| format!("there is no resource {id}"))?;
        Ok(match (kind.as_str(), attribute) {
            ("AWS::DynamoDB::Table", "Arn") => account::table_arn(reference).into(),
            ("AWS::DynamoDB::Table", "StreamArn") if *streams => account::stream_arn(reference).into(),
            ("AWS::S3::Bucket", "Arn") => account::bucket_arn(reference).into(),
            ("AWS::S3::Bucket", "RegionalDomainName") => account::bucket_domain(reference).into(),
            ("AWS::Serverless::Function", "Arn") => account::function_arn(reference).into(),
            ("AWS::SecretsManager::Secret", "Id") => reference.clone().into(),
            _ => bail!("the local stack can't resolve {path}"),
        })
    }

    /// `${Name}`, `${Resource.Attribute}`, `${!Literal}`.
    fn substitute(&self, text: &str, local: &Map<String, Value>) -> Result<Value> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after.split_once('}').with_context(|| format!("unclosed ${{ in {text}"))?;
            result.push_str(before);
            rest = tail;
            match name.strip_prefix('!') {
                Some(literal) => result.push_str(&format!("${{{literal}}}")),
                None => {
                    let value = match local.get(name) {
                        Some(value) => self.value(value)?,
                        None if name.contains('.') => self.attribute(name)?,
                        None => self.reference(name)?,
                    };
                    result.push_str(&self.string(&value)?);
                }
            }
        }
        result.push_str(rest);
        Ok(result.into())
    }

    fn condition(&self, name: &str) -> Result<bool> {
        let condition = self.conditions.and_then(|conditions| conditions.get(name));
        self.test(condition.with_context(|| format!("there is no condition {name}"))?)
    }

    fn test(&self, condition: &Value) -> Result<bool> {
        let (name, argument) =
            condition.as_object().and_then(|map| map.iter().next()).context("a condition must be a function")?;
        if name == "Condition" {
            return self.condition(argument.as_str().context("Condition needs a name")?);
        }
        let items = argument.as_array().with_context(|| format!("{name} needs a list"))?;
        Ok(match name.as_str() {
            "Fn::Equals" => {
                ensure!(items.len() == 2, "Fn::Equals needs two values");
                // CloudFormation compares strings, whatever the template has.
                let text = |item| self.string(item);
                text(&items[0])? == text(&items[1])?
            }
            "Fn::Not" => !self.test(items.first().context("Fn::Not needs a condition")?)?,
            "Fn::And" => items.iter().map(|item| self.test(item)).collect::<Result<Vec<_>>>()?.iter().all(|held| *held),
            "Fn::Or" => items.iter().map(|item| self.test(item)).collect::<Result<Vec<_>>>()?.iter().any(|held| *held),
            _ => bail!("the local stack can't resolve {name} in a condition"),
        })
    }
}

fn strings(items: &[Value]) -> Result<Vec<&str>> {
    items.iter().map(|item| item.as_str().context("expected a list of strings")).collect()
}
