//! `--files-url`: S3 under a name of the operator's, behind a proxy, and nothing else of the engines.

use reqwest::Method;
use tests::{Answer, Client};

use crate::{life::Owner, server::Machine};

const NAME: &str = "files.example.org";

/// What the proxy hands on: this request, by the name that the client called.
async fn ask(method: Method, url: &str, host: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("host", host)], headers].concat();
    Client::nobody().send(method, url, b"hello".to_vec(), &headers).await
}

#[tokio::test]
async fn files_have_a_public_name_and_no_other_engine_has_it() {
    let machine = Machine::new(&["--files-url", "https://files.example.org"]).await;
    let server = machine.start().await;
    let owner = Owner::new(&machine, None).await;
    let (_, url) = owner.reported().await;
    let here = url.replacen("https://files.example.org", &machine.aws_url(), 1);
    assert_ne!(url, here);

    assert_eq!(ask(Method::PUT, &here, NAME, &[]).await.status, 200);
    // A name that was not signed, and one that nobody gave it.
    let by_address = tests::upload(&here, b"hello").await;
    assert_eq!((by_address.status, by_address.body.as_str().unwrap().contains("SignatureDoesNotMatch")), (403, true));
    assert_eq!(ask(Method::PUT, &here, "example.org", &[]).await.status, 403);
    // What was not signed at all, and what is not S3's.
    let unsigned = here.split('?').next().unwrap();
    assert_eq!(ask(Method::PUT, unsigned, NAME, &[]).await.status, 403);
    assert_eq!(ask(Method::GET, unsigned, NAME, &[]).await.status, 403);
    let admin = format!("{}/2015-03-31/functions/admin/invocations", machine.aws_url());
    assert_eq!(ask(Method::POST, &admin, NAME, &[]).await.status, 403);
    let target = [("x-amz-target", "DynamoDB_20120810.ListTables")];
    assert_eq!(ask(Method::POST, &machine.aws_url(), NAME, &target).await.status, 403);
    let target = [("x-amz-target", "secretsmanager.GetSecretValue")];
    assert_eq!(ask(Method::POST, &machine.aws_url(), NAME, &target).await.status, 403);
    // The secret of every stack in memory signs nothing where data are kept.
    let secret = std::fs::read_to_string(machine.data().join("access-key-secret")).unwrap();
    assert_ne!(secret, local::SECRET_ACCESS_KEY);
    server.kill().await;
}
