//! Lists answer what the indexes of the template hold: DynamoDB cannot change a projection in place.

use std::{collections::BTreeSet, fs};

use serde_norway::Value as Yaml;
use tests::repository;

/// The attributes that an index of the jobs table holds.
fn projected(index: &str) -> BTreeSet<String> {
    let template: Yaml = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let table = &template["Resources"]["JobsTable"]["Properties"];
    let indexes = table["GlobalSecondaryIndexes"].as_sequence().unwrap();
    let index = indexes.iter().find(|found| found["IndexName"] == index).expect(index);
    let attributes = index["Projection"]["NonKeyAttributes"].as_sequence().unwrap().iter();
    let keys = index["KeySchema"].as_sequence().unwrap().iter().chain(table["KeySchema"].as_sequence().unwrap());
    let names = attributes.chain(keys.map(|key| &key["AttributeName"]));
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_index_holds_what_its_lists_show() {
    let schemas = openapi::document()["components"]["schemas"].take();
    for (index, schema) in [("by_user", "ListedJob"), ("queue", "ClaimableJob")] {
        let (held, shown) = (projected(index), schemas[schema]["properties"].as_object().expect(schema));
        for field in shown.keys() {
            // The name is in the snapshot of the chute.
            let attribute = if field == "chute_name" { "chute" } else { field };
            assert!(held.contains(attribute), "{index} does not hold {attribute}, which {schema} shows");
        }
    }
}
