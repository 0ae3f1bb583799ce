//! The access log of API Gateway, which is not the functions' to write.

use std::fs;

use tests::repository;

#[test]
fn the_access_log_never_has_the_query_string_or_a_header() {
    let template = fs::read_to_string(repository("template.yaml")).unwrap();
    let (_, format) = template.split_once("        Format: >-\n").expect("a format");
    let (format, _) = format.split_once("\n\n").expect("its end");
    // Everything that it may tell. A path would do no harm, a query string has job tokens.
    let known = [
        "requestId",
        "routeKey",
        "status",
        "responseLatency",
        "responseLength",
        "identity.sourceIp",
        "integrationErrorMessage",
    ];
    let told: Vec<_> = format.split("$context.").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(told, known);
    assert_eq!(format.matches('$').count(), known.len(), "{format}");
}
