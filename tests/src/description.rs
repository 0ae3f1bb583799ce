//! Holds every answer that a test sees against the API's description.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use local::Front;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::answer::Answer;

/// The committed description, with no room for fields that it does not name.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../functions/docs/openapi.json");
    let mut description: Value = serde_json::from_str(text).expect("openapi.json is JSON");
    let schemas = description["components"]["schemas"].as_object_mut().expect("schemas");
    for schema in schemas.values_mut() {
        if schema.get("properties").is_some() {
            schema["unevaluatedProperties"] = false.into();
        }
    }
    description
});

/// Asserts that an answer is one that its operation has: status, media type, headers and body. What no operation is described
/// for is not the API's: S3, or no route at all. What stands before the functions is described where it is an HTTP API.
pub fn check(method: &Method, url: &Url, answer: &Answer) {
    let front = Front::of_environment();
    let path = url.path().strip_prefix(front.prefix()).unwrap_or_default();
    let Some((pattern, operation)) = operation(method, path) else { return };
    let of_other = front != Front::HttpApi && (answer.is_failure() || answer.is_too_large() || answer.is_throttled());
    if of_other || answer.has_no_route() {
        return;
    }
    let name = format!("{method} {pattern} {}", answer.status);
    if answer.status < 300 {
        check_query(&format!("{method} {pattern}"), operation, url, answer);
    }
    let mut response = &operation["responses"][answer.status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = DESCRIPTION.pointer(reference.trim_start_matches('#')).expect("a response");
    }
    assert!(response.is_object(), "{name} is not described: {}", answer.body);
    for (header, described) in response["headers"].as_object().into_iter().flatten() {
        assert!(described["required"] != true || answer.header(header).is_some(), "{name} has no {header}");
    }
    if matches!(answer.status, 429 | 503) && answer.body.get("detail").is_some() {
        let wait = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(wait.is_some_and(|seconds| seconds > 0), "{name} tells no time to wait");
    }
    let Some(content) = response["content"].as_object() else {
        assert!(answer.bytes.is_empty(), "{name} has a body: {}", answer.body);
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let content = content.get(media_type).unwrap_or_else(|| panic!("{name} is {media_type:?}"));
    let errors: Vec<_> =
        validator(&name, &content["schema"]).iter_errors(&answer.body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name} is not as described: {errors:#?} {}", answer.body);
}

/// Asserts that what the API has taken, and gives to be sent next, is described as what it takes.
fn check_query(operation_name: &str, operation: &Value, url: &Url, answer: &Answer) {
    let next = answer.body["next_cursor"].as_str().map(str::to_owned);
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
        let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
        // A list is told as its items, one by one.
        let schema = if schema["items"].is_null() { schema } else { &schema["items"] };
        let validator = validator(&format!("{operation_name} {name}"), schema);
        let sent = url.query_pairs().filter(|(given, _)| given == name).map(|(_, value)| value.into_owned());
        // A cursor is taken in more forms than it is given in.
        let values: Vec<_> = if name == "cursor" { next.iter().cloned().collect() } else { sent.collect() };
        for value in values {
            let is_text = schema.to_string().contains("\"string\"");
            let told = if is_text {
                Value::from(value.as_str())
            } else {
                value.parse().unwrap_or_else(|_| value.as_str().into())
            };
            assert!(validator.is_valid(&told), "{operation_name}: {name}={value} is not described");
        }
    }
}

/// The operation of a request, by its most literal path.
fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let given: Vec<_> = path.split('/').collect();
    let fits = |pattern: &str| {
        let pattern: Vec<_> = pattern.split('/').collect();
        let same = |(wanted, given): (&&str, &&str)| wanted == given || (wanted.starts_with('{') && !given.is_empty());
        pattern.len() == given.len() && pattern.iter().zip(&given).all(same)
    };
    let paths = DESCRIPTION["paths"].as_object()?.iter();
    let operations = paths.filter_map(|(pattern, methods)| {
        let operation = methods.get(method.as_str().to_ascii_lowercase())?;
        fits(pattern).then_some((pattern.as_str(), operation))
    });
    operations.min_by_key(|(pattern, _)| pattern.matches('{').count())
}

/// The validator of one kind of answer, made once.
fn validator(name: &str, schema: &Value) -> Arc<Validator> {
    static VALIDATORS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut validators = VALIDATORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let make = || {
        let schema = json!({"allOf": [schema], "components": DESCRIPTION["components"]});
        Arc::new(jsonschema::draft202012::options().should_validate_formats(true).build(&schema).expect("a schema"))
    };
    Arc::clone(validators.entry(name.to_owned()).or_insert_with(make))
}
