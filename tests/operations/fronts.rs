//! What stands before the functions has the same routes, whichever it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_norway::Value;
use shared::http::cors;
use tests::repository;

fn template(name: &str) -> Value {
    serde_norway::from_str(&fs::read_to_string(repository(name)).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    match value {
        Value::Tagged(tagged) => tagged.value.as_str().unwrap(),
        value => value.as_str().unwrap(),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_mapping().unwrap().iter().map(|(name, value)| (name.as_str().unwrap(), value))
}

/// Method and path of every route of the HTTP API, with its function.
fn routes(template: &Value) -> Vec<(String, String, String)> {
    let mut routes = Vec::new();
    for (function, resource) in entries(&template["Resources"]) {
        let Some(events) = resource["Properties"]["Events"].as_mapping() else { continue };
        for event in events.values().filter(|event| event["Type"] == "HttpApi") {
            let of = |name: &str| event["Properties"][name].as_str().unwrap().to_owned();
            routes.push((of("Method"), of("Path"), function.to_owned()));
        }
    }
    assert_eq!(routes.len(), shared::http::ROUTES.len());
    routes
}

/// A path whose variable parts are `*`.
fn pattern(path: &str) -> String {
    let segments: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { "*" } else { part }).collect();
    segments.join("/")
}

#[test]
fn a_rest_api_has_the_routes_of_the_http_api() {
    let routes = routes(&template("template.yaml"));
    let rest = template("template-rest.yaml");
    let mut found = BTreeMap::new();
    let api = &rest["Resources"]["RestApi"]["Properties"];
    // SAM's answers to preflights fail where every media type is binary.
    assert!(api["Cors"].is_null());
    for (path, methods) in entries(&api["DefinitionBody"]["paths"]) {
        assert!(!methods["options"].is_null(), "{path}");
        for (method, operation) in entries(methods) {
            let uri = text(&operation["x-amazon-apigateway-integration"]["uri"]);
            let function = uri.rsplit_once("functions/${").unwrap().1.strip_suffix("}/invocations").unwrap();
            match method {
                "options" => assert_eq!(function, "DocsFunction", "{path}"),
                _ => drop(found.insert((method.to_uppercase(), pattern(path)), function.to_owned())),
            }
        }
    }
    for (method, path, function) in &routes {
        assert_eq!(found.remove(&(method.clone(), pattern(path))).as_ref(), Some(function), "{method} {path}");
    }
    // What is beside a variable part hides it: a chute may have a method of each of these names.
    let hidden: BTreeSet<_> =
        routes.iter().filter_map(|(_, path, _)| path.split('/').nth(3)).filter(|part| !part.starts_with('{')).collect();
    let expected =
        hidden.into_iter().map(|name| (("POST".to_owned(), format!("/jobs/*/{name}")), "CreateJobFunction".to_owned()));
    assert_eq!(found, expected.collect());
}

#[test]
fn a_rest_api_may_call_a_function_for_its_routes_alone() {
    let routes = routes(&template("template.yaml"));
    let rest = template("template-rest.yaml");
    let permissions = entries(&rest["Resources"]).filter(|(_, resource)| resource["Type"] == "AWS::Lambda::Permission");
    let permissions = permissions.map(|(_, permission)| {
        let source = text(&permission["Properties"]["SourceArn"]).split_once("${RestApi}/*/").unwrap().1.to_owned();
        (source, text(&permission["Properties"]["FunctionName"]).to_owned())
    });
    let expected = routes.into_iter().map(|(method, path, function)| (format!("{method}{}", pattern(&path)), function));
    let preflights = ("OPTIONS/*".to_owned(), "DocsFunction".to_owned());
    assert_eq!(permissions.collect::<BTreeSet<_>>(), expected.chain([preflights]).collect());
}

#[test]
fn each_function_with_a_route_has_an_address() {
    let template_urls = template("template-urls.yaml");
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (method, path, function) in routes(&template("template.yaml")) {
        expected.entry(function).or_default().push(format!("{method} {path}"));
    }
    let outputs = entries(&template_urls["Outputs"]).map(|(name, output)| {
        let routes = text(&output["Description"]).split(", ").map(str::to_owned).collect::<Vec<_>>();
        let address = text(&output["Value"]).strip_suffix(".FunctionUrl").unwrap();
        let address = &template_urls["Resources"][address]["Properties"];
        assert_eq!(text(&address["TargetFunctionArn"]), format!("{name}Function"));
        (format!("{name}Function"), routes)
    });
    assert_eq!(outputs.collect::<BTreeMap<_, _>>(), expected);
    // Since October 2025 a function URL needs both. ("Control access to Lambda function URLs")
    for action in ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] {
        let permissions =
            entries(&template_urls["Resources"]).filter(|(_, resource)| resource["Properties"]["Action"] == action);
        let functions = permissions.map(|(_, permission)| text(&permission["Properties"]["FunctionName"]).to_owned());
        assert_eq!(functions.collect::<BTreeSet<_>>(), expected.keys().cloned().collect(), "{action}");
    }
}

#[test]
fn every_nested_template_is_given_what_it_asks_for() {
    let main = template("template.yaml");
    for (resource, name) in [("RestApi", "template-rest.yaml"), ("FunctionUrls", "template-urls.yaml")] {
        let application = &main["Resources"][resource]["Properties"];
        assert_eq!(application["Location"], name);
        let asked = template(name);
        let asked: Vec<_> = entries(&asked["Parameters"]).map(|(name, _)| name.to_owned()).collect();
        let given: Vec<_> = entries(&application["Parameters"]).map(|(name, _)| name).collect();
        assert_eq!(asked, given);
        for (parameter, value) in entries(&application["Parameters"]).filter(|(name, _)| name.ends_with("Function")) {
            assert_eq!(text(value), format!("{parameter}.Arn"));
        }
    }
}

#[test]
fn a_browser_hears_the_same_of_every_front() {
    let main = template("template.yaml");
    let http = &main["Resources"]["HttpApi"]["Properties"]["CorsConfiguration"];
    let list = |value: &Value| value.as_sequence().unwrap().iter().map(text).collect::<Vec<_>>().join(", ");
    let of_http = ["AllowMethods", "AllowHeaders", "ExposeHeaders"].map(|name| list(&http[name]));
    assert_eq!(of_http, [cors::METHODS, cors::HEADERS, cors::EXPOSED]);
}
