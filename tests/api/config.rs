//! A start that can't succeed stops with one line that names what is wrong.

use std::{fs, process::Command};

use local::{Front, Stack};
use serde_json::{Value, json};
use tests::{Client, Function, Job, functions, parts_of, repository, stack, text};

/// What a function's binary says when it is started with these variables and no others, and can't be.
fn refusal(package: &str, variables: &[(&str, &str)]) -> String {
    // The stack has built the binaries beside this test.
    let _ = stack();
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join(package);
    let output = Command::new(binary).env_clear().envs(variables.iter().copied()).output().unwrap();
    let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), stdout.len()), (Some(1), 0), "{package}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{package}: {stderr}");
    stderr
}

/// Variables that Lambda sets.
const LAMBDA: [&str; 3] = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
/// Variables without a default.
const NEEDED: [&str; 4] = ["JOBS_TABLE", "REGISTRY_TABLE", "OUTPUTS_BUCKET", "JOB_TOKEN_SECRET"];

/// The variables that a function can't do without.
fn needed(function: &Function) -> Vec<&'static str> {
    let own = NEEDED.into_iter().filter(|name| function.variables.iter().any(|variable| variable == name));
    own.chain(LAMBDA).collect()
}

#[tokio::test]
async fn addresses_and_ends_follow_the_parameters() {
    let stack = Stack::builder()
        .parameter("ApiBaseUrl", "https://api.example.com/")
        .parameter("UploadWindowSeconds", "600")
        .start()
        .await
        .unwrap();
    let (job_id, key) = Job::created_on(&stack).await;
    let claim = format!("{}/jobs/{job_id}/claim", stack.url());
    let own = text(&Client::with_key(key).put(&claim, Value::Null).await.ok()["job_status_url"]);
    let (base, token) = own.split_once("?token=").unwrap();
    assert_eq!(base, format!("https://api.example.com/jobs/{job_id}"));
    let claims = parts_of(token).1;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600 + 2 * 600);

    let route = |name: &str| format!("{}/jobs/{job_id}{name}?token={token}", stack.url());
    let report = json!({"status": "complete", "output_filenames": ["a"]});
    let finished = Client::nobody().post(&route(""), report).await.ok();
    let renewed = Client::nobody().put(&route("/upload"), json!({"path": "a"})).await.ok();
    for target in [&finished["uploads"][0], &renewed] {
        assert!(text(&target["renew_url"]).starts_with("https://api.example.com/jobs/"), "{target}");
        assert!(text(&target["url"]).contains("X-Amz-Expires=600&"), "{target}");
    }
    stack.shutdown().await;
}

#[test]
fn a_missing_variable_stops_a_function() {
    // The pages of `docs` need none.
    for function in functions().into_iter().filter(|function| function.package != "docs") {
        assert!(refusal(&function.package, &[]).contains("environment variable JOBS_TABLE is not set"));
        for missing in needed(&function) {
            let others: Vec<_> =
                needed(&function).into_iter().filter(|name| *name != missing).map(|name| (name, "x")).collect();
            // CloudFormation and shells have no other way to leave a variable out than to make it empty.
            for variables in [others.clone(), [&others[..], &[(missing, "")]].concat()] {
                let line = refusal(&function.package, &variables);
                assert!(
                    line.contains(&format!("environment variable {missing} is not set")),
                    "{}: {line}",
                    function.package
                );
            }
        }
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_named_without_its_value() {
    let needed: Vec<_> = NEEDED.iter().chain(&LAMBDA).map(|name| (*name, "x")).collect();
    for (variable, problem) in [
        ("USER_JWT_KEYS", "is not a JWKS document"),
        ("DEFAULT_QUOTAS", "is not a JSON map of counts"),
        ("UPLOAD_WINDOW_SECONDS", "is not a number"),
        ("MULTIPART_THRESHOLD_BYTES", "is not a number"),
        ("MAX_JOB_BYTES", "is not a number"),
    ] {
        let line = refusal("finish-job", &[&needed[..], &[(variable, "hunter2")]].concat());
        assert!(line.contains(&format!("environment variable {variable} {problem}")), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

/// What the stack says when it is started with this template, and can't be.
async fn template_refusal(template: &str) -> String {
    let folder = std::env::temp_dir().join(format!("jobchute-template-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("template.yaml");
    fs::write(&path, template).unwrap();
    // Another front asks for a parameter first.
    let stack = Stack::builder().template(&path).front(Front::HttpApi);
    let line = format!("{:#}", stack.start().await.expect_err("the template is unusable"));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line.replace(path.to_str().unwrap(), "template.yaml")
}

#[tokio::test]
async fn an_unusable_template_stops_the_stack() {
    let template = fs::read_to_string(repository("template.yaml")).unwrap();
    let without = |line: &str, instead: &str| {
        assert!(template.contains(line), "the template has no {line:?}");
        template.replacen(line, instead, 1)
    };
    for (template, line) in [
        ("Resources: {}".to_owned(), "can't use template.yaml: it has no functions"),
        ("[]".to_owned(), "can't use template.yaml: no Resources"),
        (
            without("Runtime: provided.al2023", "Runtime: python3.13"),
            "can't use template.yaml: CreateJobFunction: the local stack can't run the Runtime \"python3.13\"",
        ),
        (
            without("Type: AWS::SecretsManager::Secret", "Type: AWS::SSM::Parameter"),
            "can't use template.yaml: JobTokenSecret: the local stack has no AWS::SSM::Parameter",
        ),
        (
            without("JOBS_TABLE: !Ref JobsTable", "JOBS_TABLE: !Ref Jobs"),
            "can't use template.yaml: CreateJobFunction: JOBS_TABLE: there is no resource Jobs",
        ),
        (
            without("Binary: get-job", "Binary: got-job"),
            "the template names the package \"got-job\", which the workspace does not have",
        ),
    ] {
        assert_eq!(template_refusal(&template).await, line);
    }
    assert!(template_refusal("Resources: [").await.starts_with("can't use template.yaml: "));
    let missing = Stack::builder().template("/nowhere/template.yaml").start().await.expect_err("there is none");
    assert!(format!("{missing:#}").starts_with("can't read /nowhere/template.yaml: "), "{missing:#}");
}

#[tokio::test]
async fn a_function_that_can_not_start_is_named_by_the_stack() {
    let start = Stack::builder().environment("OUTPUTS_BUCKET", "").check_functions(true).start().await;
    let line = format!("{:#}", start.expect_err("OUTPUTS_BUCKET is empty"));
    assert!(line.starts_with("the function ") && line.contains("OUTPUTS_BUCKET is not set"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}
