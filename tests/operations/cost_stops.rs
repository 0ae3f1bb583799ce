//! What bounds the bill.

use std::fs;

use serde_norway::Value;
use tests::repository;

#[test]
fn every_table_and_every_index_has_a_limit_of_its_own() {
    // "Maximum throughput for on-demand tables": on tables and on their indexes.
    let template: Value = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let resources = template["Resources"].as_mapping().unwrap().values();
    let tables = resources.filter(|resource| resource["Type"] == "AWS::DynamoDB::Table");
    let mut bounded = 0;
    for table in tables.map(|table| &table["Properties"]) {
        for limited in table["GlobalSecondaryIndexes"].as_sequence().into_iter().flatten().chain([table]) {
            // One that is there on a condition: `!If [condition, index, nothing]`.
            let limited = match limited {
                Value::Tagged(condition) => &condition.value[1],
                limited => limited,
            };
            let limit = &limited["OnDemandThroughput"];
            for (field, parameter) in
                [("MaxReadRequestUnits", "TableMaxReadUnits"), ("MaxWriteRequestUnits", "TableMaxWriteUnits")]
            {
                let Value::Tagged(reference) = &limit[field] else { panic!("{field} of {limited:?}") };
                assert!(reference.tag == "Ref" && reference.value == parameter, "{field} of {limited:?}");
            }
            bounded += 1;
        }
    }
    assert!(bounded > 3, "{bounded}");
}
