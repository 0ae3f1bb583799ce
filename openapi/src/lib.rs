//! The API's description in OpenAPI 3.1, from the types that the functions answer with.
//!
//! `cargo run -p openapi` writes `functions/docs/openapi.json`. A test compares it, and holds every answer of the whole suite
//! against it.

mod refusals;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

pub use refusals::{Error, GatewayError, ValidationError};

/// Real answers, with ids and times that do not change: by operation, status and name; `request` is the body that was sent.
/// Recorded by `tests/api/openapi.rs`.
const EXAMPLES: &str = include_str!("../examples.json");

/// Schemas of what clients send. All others are of answers, which name every field, null or not.
const REQUESTS: &[&str] =
    &["Arguments", "Claim", "DeclaredFile", "DeclaredInput", "Heartbeat", "Release", "Renewal", "Report", "UploadForm"];
/// Fields that answers leave out.
const LEFT_OUT: &[&str] = &["ctx", "job_args_url", "job_data_url", "log", "result_url", "uploads"];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Jobchute",
        description = "Jobs for GPU work on other people's machines: users create them, miners claim and run them, and output \
                       files go straight to S3 and back.\n\nUsers and miners show an API key or a JWT, or sign each request \
                       with an sr25519 hotkey. A claimed job's own \
                       routes take a job token as a parameter.",
        contact(name = "The maintainers of Jobchute"),
    ),
    // Where this document lies, which is below a REST API's stage.
    servers((url = ".")),
    paths(
        create_input::handle,
        renew_input::handle,
        create_job::handle,
        list_jobs::handle,
        get_job::handle,
        get_usage::handle,
        get_webhook_secret::handle,
        replace_webhook_secret::handle,
        list_logs::handle,
        get_webhook::handle,
        redeliver_webhook::handle,
        cancel_job::handle,
        retry_job::handle,
        delete_job::handle,
        download_output_file::handle,
        list_claimable_jobs::handle,
        claim_job::handle,
        claim_next_job::handle,
        heartbeat_job::handle,
        release_job::handle,
        download_input::handle,
        finish_job::handle,
        upload_job_file::handle,
        complete_job::handle,
        docs::routes::openapi_json,
        docs::routes::docs_page,
        docs::routes::docs_file,
        docs::routes::console_page,
        docs::routes::console_file,
    ),
    components(schemas(Error, GatewayError, ValidationError)),
    tags(
        (name = "user", description = "For who has work to be done."),
        (name = "miner", description = "For who does it."),
        (name = "reference", description = "This description, and the pages that are served with the API."),
    ),
    modifiers(&Schemes),
)]
struct Api;

/// How clients prove who they are.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key (`cpk_…`), or a JWT where the deployment trusts keys of its own."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        // Optional in the description: it is a parameter, and a request without it is 422, as the Chutes Job API answers.
        let token =
            "A JWT for one job, or one of its files or inputs: `job_status_url`, `renew_url` and `job_data` hold it.";
        let token = ApiKey::Query(ApiKeyValue::with_description("token", token));
        components.add_security_scheme("job_token", SecurityScheme::ApiKey(token));
        // One scheme for the three headers of a signature. As three, a generated client that has only a key sends it in each of
        // them, and is refused for a signature that it never made.
        let signature = "sr25519, in hex, over `{hotkey}:{nonce}:{SHA-256 of the body in hex}` for POST and PUT, over \
                         `{hotkey}:{nonce}:{METHOD}:{path without query}` for GET and DELETE. Good for one change. \
                         `X-Chutes-Hotkey` and `X-Chutes-Nonce` come with it.";
        let signature = ApiKey::Header(ApiKeyValue::with_description("X-Chutes-Signature", signature));
        components.add_security_scheme("signature", SecurityScheme::ApiKey(signature));
    }
}

/// Headers that come with a signature. Nobody reads them without one.
const SIGNED_WITH: &[(&str, &str, &str)] = &[
    ("hotkey", "X-Chutes-Hotkey", "With a signature: the SS58 address of the hotkey that signs."),
    ("nonce", "X-Chutes-Nonce", "With a signature: Unix seconds, less than 600 from now."),
];

/// The whole document.
pub fn document() -> Value {
    let api = serde_json::to_value(Api::openapi());
    let mut document = api.expect("a description without maps of other keys than strings is JSON");
    let examples: Value = serde_json::from_str(EXAMPLES).expect("examples.json is JSON");
    open_objects(&mut document);
    merge_parts(&mut document["components"]["schemas"]);
    for (name, schema) in object(&mut document["components"]["schemas"]) {
        if !REQUESTS.contains(&name.as_str()) {
            require_all(schema);
        }
    }
    for (name, header, description) in SIGNED_WITH {
        let parameter =
            json!({"name": header, "in": "header", "description": description, "schema": {"type": "string"}});
        document["components"]["parameters"][name] = parameter;
    }
    let mut statuses = BTreeSet::new();
    for (_, methods) in object(&mut document["paths"]) {
        for (_, operation) in object(methods) {
            statuses.extend(complete(operation, &examples));
        }
    }
    for status in statuses {
        let mut response = refusals::response(status);
        add_examples(&mut response, &examples["refusals"][status.to_string()]);
        document["components"]["responses"][status.to_string()] = response;
    }
    document
}

/// Adds what operations have in common: security, refusals, and the examples. The statuses with which it may fail.
fn complete(operation: &mut Value, examples: &Value) -> BTreeSet<u16> {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if operation.get("security").is_none() {
        // Tools take the first alternative: a key alone is enough.
        operation["security"] = json!([{"bearer": []}, {"signature": []}]);
        let with = SIGNED_WITH.iter().map(|(name, ..)| json!({"$ref": format!("#/components/parameters/{name}")}));
        let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        parameters.extend(with);
        operation["parameters"] = parameters.into();
    }
    let examples = &examples[&id];
    for (status, response) in object(&mut operation["responses"]) {
        add_examples(response, &examples[status]);
    }
    if let Some(location) = operation.pointer_mut("/responses/307/headers/Location") {
        location["required"] = true.into();
    }
    if let Some(body) = operation.get_mut("requestBody") {
        add_examples(body, &examples["request"]);
        // No body is an empty object.
        body["required"] = matches!(id.as_str(), "create-input" | "upload-job-file").into();
    }
    let own = object(&mut operation["responses"]).filter_map(|(status, _)| status.parse().ok());
    let refusals: BTreeSet<u16> = own.filter(|status| *status >= 400).chain(refusals::ALWAYS).collect();
    for status in refusals.iter().map(u16::to_string) {
        operation["responses"][&status] = json!({"$ref": format!("#/components/responses/{status}")});
    }
    refusals
}

/// Examples of JSON, by name.
fn add_examples(place: &mut Value, examples: &Value) {
    let (Some(examples), Some(content)) = (examples.as_object(), place.pointer_mut("/content/application~1json"))
    else {
        return;
    };
    let examples: Map<_, _> = examples.iter().map(|(name, value)| (name.clone(), json!({ "value": value }))).collect();
    content["examples"] = examples.into();
}

/// A schema of an answer: every property is there.
fn require_all(schema: &mut Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required: Vec<_> = properties.keys().filter(|name| !LEFT_OUT.contains(&name.as_str())).cloned().collect();
    schema["required"] = required.into();
}

/// Says of every object without named properties that it takes any: generators make a type without fields of it otherwise.
fn open_objects(value: &mut Value) {
    let is_object =
        |kind: &Value| kind == "object" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("object")));
    let others = value.get("additionalProperties").cloned();
    let others = others.or_else(|| value.get("properties").is_none().then(|| json!({})));
    if value.get("type").is_some_and(is_object) && others == Some(json!({})) {
        value["additionalProperties"] = true.into();
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(open_objects),
        Value::Array(entries) => entries.iter_mut().for_each(open_objects),
        _ => {}
    }
}

/// Makes one object of what a type flattens: `allOf` says the same, but generators make two types of it, or none. What only stood
/// for such a part goes.
fn merge_parts(schemas: &mut Value) {
    let all = schemas.clone();
    let mut parts = BTreeSet::new();
    for (_, schema) in object(schemas) {
        let Some(Value::Array(flattened)) = schema.as_object_mut().and_then(|fields| fields.remove("allOf")) else {
            continue;
        };
        schema["type"] = "object".into();
        for part in &flattened {
            let name = part["$ref"].as_str().and_then(|path| path.rsplit('/').next());
            parts.extend(name.map(str::to_owned));
            let part = name.map_or(part, |name| &all[name]);
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                schema["properties"][name] = property.clone();
            }
            let required = schema["required"].as_array().into_iter().chain(part["required"].as_array()).flatten();
            schema["required"] = required.cloned().collect::<Vec<_>>().into();
        }
    }
    if let Some(schemas) = schemas.as_object_mut() {
        schemas.retain(|name, _| !parts.contains(name));
    }
}

fn object(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}
