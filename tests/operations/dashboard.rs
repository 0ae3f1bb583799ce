//! The dashboard and the alarms of the template show metrics that there are.

use std::fs;

use serde_json::Value;
use serde_norway::Value as Yaml;
use tests::repository;

/// Namespace and name of every metric of the dashboard. In a row, `.` is the same as above, and `...` is all of it.
fn on_the_dashboard(template: &Yaml) -> Vec<(String, String)> {
    let Yaml::Tagged(body) = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"] else { panic!("!Sub") };
    let body: Value = serde_json::from_str(body.value.as_str().unwrap()).expect("the dashboard is JSON");
    let mut metrics: Vec<(String, String)> = Vec::new();
    for widget in body["widgets"].as_array().unwrap() {
        for row in widget["properties"]["metrics"].as_array().unwrap() {
            let (namespace, above) = (row[0].as_str().unwrap(), metrics.last().cloned());
            metrics.push(match namespace {
                "..." => above.expect("a row above"),
                "." => (above.expect("a row above").0, row[1].as_str().unwrap().to_owned()),
                _ => (namespace.to_owned(), row[1].as_str().unwrap().to_owned()),
            });
        }
    }
    metrics
}

#[test]
fn what_is_shown_is_counted() {
    let template: Yaml = serde_norway::from_str(&fs::read_to_string(repository("template.yaml")).unwrap()).unwrap();
    let counted = fs::read_to_string(repository("shared/src/metrics.rs")).unwrap();
    let alarms = template["Resources"].as_mapping().unwrap().values().map(|resource| &resource["Properties"]);
    let alarms = alarms.filter(|properties| properties["Namespace"] == "Jobchute");
    let alarms: Vec<_> = alarms.map(|properties| properties["MetricName"].as_str().unwrap().to_owned()).collect();
    assert_eq!(alarms, ["ReapDelay", "ReapFailures"]);
    let shown = on_the_dashboard(&template).into_iter().filter(|(namespace, _)| namespace == "Jobchute");
    let shown: Vec<_> = shown.map(|(_, name)| name).chain(alarms).collect();
    assert_eq!(shown.len(), 20);
    for name in shown {
        assert!(counted.contains(&format!("    {name},\n")), "no function counts {name}");
    }
}
