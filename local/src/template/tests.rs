use std::time::Duration;

use super::*;

const SMALL: &str = r#"
Parameters:
  Threshold: {Type: Number, Default: 5}
  Domain: {Type: String, Default: ""}
Conditions:
  HasDomain: !Not [!Equals [!Ref Domain, ""]]
Globals:
  Function:
    Runtime: provided.al2023
    Timeout: 29
    Environment:
      Variables: {JOBS_TABLE: !Ref JobsTable}
Resources:
  GetJobFunction:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: get-job}}
    Properties:
      MemorySize: 256
      Environment:
        Variables:
          THRESHOLD: !Ref Threshold
          ARN: !Sub "${JobsTable.Arn}/index/*"
          DOMAIN: !If [HasDomain, !Ref Domain, !Ref "AWS::NoValue"]
      Events:
        Route:
          Type: HttpApi
          Properties: {Method: get, Path: "/jobs/{job_id}"}
        Tick:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(5 minutes)}
  JobsTable:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{AttributeName: job_id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
  Names:
    Type: AWS::Route53::RecordSet
    Condition: HasDomain
"#;

fn parse(text: &str) -> Result<Template> {
    Template::parse(text, &BTreeMap::new())
}

/// The one line that a user sees.
fn refusal(text: &str) -> String {
    format!("{:#}", parse(text).expect_err("the template is unusable"))
}

#[test]
fn the_repositorys_template_is_honoured() {
    let template = Template::read(&crate::binaries::workspace().join("template.yaml"), &BTreeMap::new());
    let template = template.expect("template.yaml");
    assert!(template.functions.iter().any(|function| function.package == "create-job"));
    assert_eq!(template.tables.len(), 2);
    assert_eq!(template.buckets.len(), 1);
    assert_eq!(template.secrets.len(), 1);
}

#[test]
fn the_bucket_of_a_domain_that_is_the_cors_origin_names_no_origin_twice() {
    let given = [("DomainName", "api.example.com"), ("CorsOrigin", "https://api.example.com")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let template = Template::read(&crate::binaries::workspace().join("template.yaml"), &given).expect("usable");
    assert_eq!(template.buckets[0].cors.len(), 2);
}

#[test]
fn globals_and_references_make_up_a_functions_environment() {
    let template = parse(SMALL).expect("usable");
    let [function] = &template.functions[..] else { panic!("one function") };
    assert_eq!((function.package.as_str(), function.memory_mb, function.timeout.as_secs()), ("get-job", 256, 29));
    let expected = BTreeMap::from([
        ("ARN".to_owned(), "arn:aws:dynamodb:us-east-1:123456789012:table/jobchute-JobsTable/index/*".to_owned()),
        ("JOBS_TABLE".to_owned(), "jobchute-JobsTable".to_owned()),
        ("THRESHOLD".to_owned(), "5".to_owned()),
    ]);
    assert_eq!(function.environment, expected);
    assert_eq!(function.schedules[0].every.as_secs(), 300);
    assert_eq!(function.schedules[0].source, "aws.scheduler");
}

#[test]
fn a_parameter_decides_conditions() {
    let domain = BTreeMap::from([("Domain".to_owned(), "api.example.com".to_owned())]);
    let template = Template::parse(SMALL, &domain).expect("usable");
    assert_eq!(template.functions[0].environment["DOMAIN"], "api.example.com");
    let unknown = BTreeMap::from([("Domian".to_owned(), String::new())]);
    let error = Template::parse(SMALL, &unknown).expect_err("no such parameter");
    assert_eq!(format!("{error:#}"), "it has no parameter Domian");
}

#[test]
fn a_policy_template_stands_for_its_statement() {
    let policies =
        "Policies: [{LambdaInvokePolicy: {FunctionName: f}}, {EventBridgePutEventsPolicy: {EventBusName: b}}]";
    let template = parse(&SMALL.replace("MemorySize: 256", policies)).expect("usable");
    let rights = template.functions[0].rights.iter().map(|right| format!("{} {}", right.action, right.resource));
    let expected = [
        "events:PutEvents arn:aws:events:us-east-1:123456789012:event-bus/b",
        "lambda:InvokeFunction arn:aws:lambda:us-east-1:123456789012:function:f*",
    ];
    assert_eq!(rights.collect::<Vec<_>>(), expected);
    let unknown = SMALL.replace("MemorySize: 256", "Policies: [{SQSPollerPolicy: {QueueName: q}}]");
    assert!(refusal(&unknown).contains("the local stack can't honour the policy"));
}

/// A function that reads the stream of the table, in this way.
fn reading(properties: &str) -> String {
    let event = "Type: DynamoDB\n          Properties: {Stream: !GetAtt JobsTable.StreamArn, ";
    SMALL.replace(
        "Type: ScheduleV2\n          Properties: {ScheduleExpression: rate(5 minutes)}",
        &format!("{event}{properties}}}"),
    )
}

#[test]
fn a_function_reads_a_stream_as_its_event_says() {
    let least = parse(&reading("StartingPosition: LATEST")).expect("usable");
    let [source] = &least.functions[0].event_sources[..] else { panic!("one event source") };
    assert_eq!((source.id.as_str(), source.table.as_str()), ("GetJobFunctionTick", "jobchute-JobsTable"));
    assert_eq!((source.from_the_first, source.batch_size, source.lanes), (false, 100, 1));
    assert_eq!((source.retries, source.maximum_age, source.bisects), (None, None, false));
    let all = "StartingPosition: TRIM_HORIZON, BatchSize: !Ref Threshold, MaximumRetryAttempts: 3, MaximumRecordAgeInSeconds: 60, \
        DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt Failed.Arn}}, \
        MaximumBatchingWindowInSeconds: 2, BisectBatchOnFunctionError: true, ParallelizationFactor: 10, \
        FunctionResponseTypes: [ReportBatchItemFailures], FilterCriteria: {Filters: [{Pattern: '{\"eventName\": [\"INSERT\"]}'}]}";
    let all = parse(&reading(all)).expect("usable");
    let source = &all.functions[0].event_sources[0];
    assert_eq!((source.from_the_first, source.batch_size, source.lanes), (true, 5, 10));
    assert_eq!(
        (source.retries, source.maximum_age, source.window.as_secs()),
        (Some(3), Some(Duration::from_secs(60)), 2)
    );
    assert!(source.bisects && source.reports_failures && !source.filters.let_through(&json!({"eventName": "MODIFY"})));
    let disabled = parse(&reading("StartingPosition: LATEST, Enabled: false")).expect("usable");
    assert_eq!(disabled.functions[0].event_sources, []);
}

#[test]
fn an_event_source_that_aws_would_refuse_stops_the_start() {
    for (properties, reason) in [
        ("BatchSize: 10", "StartingPosition is None, not TRIM_HORIZON or LATEST"),
        ("StartingPosition: LATEST, BatchSize: 0", "BatchSize is not from 1 to 10000"),
        ("StartingPosition: LATEST, ParallelizationFactor: 11", "ParallelizationFactor is not from 1 to 10"),
        ("StartingPosition: LATEST, MaximumRecordAgeInSeconds: 5", "MaximumRecordAgeInSeconds is less than 60"),
        ("StartingPosition: LATEST, TumblingWindowInSeconds: 5", "can't honour the property TumblingWindowInSeconds"),
        ("StartingPosition: LATEST, FilterCriteria: {Filters: [{Pattern: '{}'}]}", "the filter {}: an empty object is"),
    ] {
        let refusal = refusal(&reading(properties));
        assert!(refusal.starts_with("GetJobFunction: Tick: ") && refusal.contains(reason), "{refusal}");
    }
    let without =
        reading("StartingPosition: LATEST").replace("StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}", "");
    assert_eq!(refusal(&without), "GetJobFunction: Tick: Stream: the local stack can't resolve JobsTable.StreamArn");
    let odd = SMALL.replace("NEW_AND_OLD_IMAGES", "IMAGES");
    assert!(refusal(&odd).starts_with("JobsTable: StreamViewType is none of KEYS_ONLY"));
}

#[test]
fn a_limit_that_is_not_asked_for_is_none() {
    let text = SMALL
        .replace("HasDomain: !Not", "HasLimit: !Not [!Equals [!Ref Threshold, 0]]\n  HasDomain: !Not")
        .replace("MemorySize: 256", "ReservedConcurrentExecutions: !If [HasLimit, !Ref Threshold, !Ref AWS::NoValue]");
    let reserved = |threshold: &str| {
        let given = BTreeMap::from([("Threshold".to_owned(), threshold.to_owned())]);
        Template::parse(&text, &given).expect("usable").functions[0].reserved_concurrency
    };
    assert_eq!((reserved("5"), reserved("0")), (Some(5), None));
}

#[test]
fn a_table_is_created_as_it_is_declared() {
    let template = parse(SMALL).expect("usable");
    assert_eq!(template.tables[0].ttl_attribute.as_deref(), Some("expires_at"));
    assert_eq!(
        template.tables[0].create,
        json!({
            "TableName": "jobchute-JobsTable",
            "KeySchema": [{"AttributeName": "job_id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        })
    );
}

#[test]
fn what_can_not_be_honoured_is_named() {
    let layer = SMALL.replace("MemorySize: 256", "Layers: [x]");
    assert_eq!(refusal(&layer), "GetJobFunction: the local stack can't honour the property Layers");
    let managed = SMALL.replace("MemorySize: 256", "Policies: AWSLambdaRole");
    assert_eq!(refusal(&managed), r#"GetJobFunction: the local stack can't honour the policy "AWSLambdaRole""#);
    let denied = "Policies: [{Statement: [{Effect: Deny, Action: a, Resource: b}]}]";
    assert_eq!(refusal(&SMALL.replace("MemorySize: 256", denied)), "GetJobFunction: a statement that is not Allow");
    let statement = |condition: &str| {
        let statement = format!("{{Effect: Allow, Action: dynamodb:Query, Resource: b, Condition: {condition}}}");
        SMALL.replace("MemorySize: 256", &format!("Policies: [{{Statement: [{statement}]}}]"))
    };
    let ip = statement("{IpAddress: {aws:SourceIp: 10.0.0.0/8}}");
    let expected =
        r#"GetJobFunction: the local stack can't honour the condition {"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#;
    assert_eq!(refusal(&ip), expected);
    let query = statement("{'ForAllValues:StringLike': {dynamodb:LeadingKeys: ['a#*']}}");
    let expected = "GetJobFunction: the local stack can't honour dynamodb:LeadingKeys for dynamodb:Query";
    assert_eq!(refusal(&query), expected);
    let queue = SMALL.replace("Type: ScheduleV2", "Type: SQS");
    assert_eq!(refusal(&queue), r#"GetJobFunction: the local stack can't honour the event Tick of type "SQS""#);
    let queue = SMALL.replace("AWS::DynamoDB::Table", "AWS::Kinesis::Stream");
    assert_eq!(refusal(&queue), "JobsTable: the local stack has no AWS::Kinesis::Stream");
    let cron = SMALL.replace("rate(5 minutes)", "cron(0 * * * ? *)");
    assert_eq!(refusal(&cron), r#"GetJobFunction: the local stack can't honour the schedule "cron(0 * * * ? *)""#);
    let import = SMALL.replace("THRESHOLD: !Ref Threshold", "THRESHOLD: !ImportValue x");
    assert_eq!(refusal(&import), "GetJobFunction: THRESHOLD: the local stack can't resolve Fn::ImportValue");
    let missing = SMALL.replace("!Ref Threshold", "!Ref Treshold");
    assert_eq!(refusal(&missing), "GetJobFunction: THRESHOLD: there is no resource Treshold");
}
