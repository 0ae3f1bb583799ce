//! What `template.yaml` deploys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_norway::Value;
use tempfile::NamedTempFile;

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A copy of the template with other texts in it, for a stack that is deployed otherwise.
pub fn template_with(changes: &[(&str, &str)]) -> NamedTempFile {
    let mut template = fs::read_to_string(repository("template.yaml")).expect("template.yaml");
    for (text, instead) in changes {
        assert!(template.contains(text), "the template has no {text:?}");
        template = template.replace(text, instead);
    }
    let file = NamedTempFile::with_suffix(".yaml").expect("a temporary file");
    fs::write(&file, template).expect("a temporary file");
    file
}

/// A function of the template.
#[derive(Debug)]
pub struct Function {
    /// Its logical name.
    pub id: String,
    /// The cargo package whose binary it runs.
    pub package: String,
    /// Methods and paths that lead to it.
    pub routes: Vec<(String, String)>,
    /// Names of the variables in its environment.
    pub variables: Vec<String>,
}

/// Every function of the template.
pub fn functions() -> Vec<Function> {
    let text = fs::read_to_string(repository("template.yaml")).expect("template.yaml");
    let template: Value = serde_norway::from_str(&text).expect("YAML");
    let resources = template["Resources"].as_mapping().expect("resources");
    let functions = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    functions.map(|(id, function)| read(&template, id, function)).collect()
}

fn read(template: &Value, id: &Value, function: &Value) -> Function {
    let properties = &function["Properties"];
    let keys = |value: &Value| value.as_mapping().into_iter().flat_map(|map| map.keys().map(text)).collect();
    let mut variables: Vec<String> = keys(&template["Globals"]["Function"]["Environment"]["Variables"]);
    variables.extend::<Vec<_>>(keys(&properties["Environment"]["Variables"]));
    let events = properties["Events"].as_mapping().into_iter().flat_map(|events| events.values());
    let routes = events.filter(|event| event["Type"] == "HttpApi").map(|event| &event["Properties"]);
    Function {
        id: text(id),
        package: text(&function["Metadata"]["BuildProperties"]["Binary"]),
        routes: routes.map(|route| (text(&route["Method"]), text(&route["Path"]))).collect(),
        variables,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value:?}")).to_owned()
}
