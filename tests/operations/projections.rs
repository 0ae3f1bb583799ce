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
fn the_index_of_pending_jobs_holds_what_its_list_shows() {
    let schemas = openapi::document()["components"]["schemas"].take();
    let (held, shown) = (projected("queue"), schemas["ClaimableJob"]["properties"].as_object().unwrap());
    for field in shown.keys() {
        assert!(held.contains(field), "queue does not hold {field}, which ClaimableJob shows");
    }
}

#[test]
fn the_index_of_a_users_jobs_holds_nothing_that_changes() {
    let held: Vec<_> = projected("by_owner").into_iter().collect();
    assert_eq!(held, ["chute_id", "created_at", "job_id", "owner", "v"]);
}
