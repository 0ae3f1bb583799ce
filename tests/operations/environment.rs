//! What the template's parameters may put into a function's environment.

use std::{collections::BTreeMap, fs};

use serde_norway::{Mapping, Value};
use tests::repository;

/// "Lambda quotas": all environment variables of a function together.
const LIMIT: u64 = 4096;

/// The most characters that a variable's value can have.
fn longest(template: &Value, value: &Value) -> u64 {
    let name = match value {
        Value::String(text) => return text.len() as u64,
        Value::Tagged(reference) if reference.tag == "Ref" => reference.value.as_str().expect("a name"),
        Value::Tagged(either) if either.tag == "If" => {
            let values = either.value.as_sequence().expect("a condition and two values");
            return values[1..].iter().map(|value| longest(template, value)).max().expect("two values");
        }
        // Bucket, `.s3.`, a region of at most 14 characters, and the longest suffix, that of China.
        Value::Tagged(domain) if domain.tag == "GetAtt" && domain.value == "OutputsBucket.RegionalDomainName" => {
            return 63 + 4 + 14 + ".amazonaws.com.cn".len() as u64;
        }
        other => panic!("no way to tell how long {other:?} may be"),
    };
    let parameter = &template["Parameters"][name];
    match (parameter["Type"].as_str(), template["Resources"][name]["Type"].as_str()) {
        (Some("Number"), _) => 20,
        (Some(_), _) => parameter["MaxLength"].as_u64().unwrap_or_else(|| panic!("{name} has no MaxLength")),
        (None, _) if name == "AWS::StackName" => 128,
        // CloudFormation's names: the stack's, the resource's, and a random part.
        (None, Some("AWS::DynamoDB::Table")) => 128 + 1 + name.len() as u64 + 14,
        (None, Some("AWS::S3::Bucket")) => 63,
        // A name.
        (None, Some("AWS::Serverless::Function")) => 64,
        // An ARN, whose region has at most 14 characters.
        (None, Some("AWS::SecretsManager::Secret")) => 64 + name.len() as u64 + 20,
        (None, other) => panic!("no way to tell how long {name} may be, {other:?}"),
    }
}

#[test]
fn no_parameter_makes_an_environment_too_large() {
    let template: Value = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let variables = |function: &Value| function["Environment"]["Variables"].as_mapping().cloned().unwrap_or_default();
    let globals: Mapping = variables(&template["Globals"]["Function"]);
    let mut sizes = BTreeMap::new();
    for (id, resource) in template["Resources"].as_mapping().unwrap() {
        if resource["Type"] == "AWS::Serverless::Function" {
            let mut all = globals.clone();
            all.extend(variables(&resource["Properties"]));
            let size = all.iter().map(|(name, value)| name.as_str().unwrap().len() as u64 + longest(&template, value));
            sizes.insert(id.as_str().unwrap(), size.sum::<u64>());
        }
    }
    assert!(sizes.len() > 10, "{sizes:?}");
    assert!(sizes.values().all(|size| *size <= LIMIT), "{sizes:?}");
}
