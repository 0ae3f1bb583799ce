//! A bucket that keeps no versions, or does not yet.

use aws_credential_types::Credentials;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use local::{SECRET_ACCESS_KEY, SESSION_TOKEN, Stack};
use serde_json::json;
use tests::{Client, Envelope, Job, item, objects, s3, template_with, text, upload};

use crate::{MIB, content, put_envelope};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_after_the_end_is_refused_and_not_served() {
    let template = template_with(&[(
        "VersioningConfiguration: {Status: Enabled}",
        "VersioningConfiguration: {Status: Suspended}",
    )]);
    let stack = Stack::builder().template(template.path()).start().await.unwrap();
    let job = Job::on(&stack).await;
    let files = [("small", content(1000)), ("large", content(6 * MIB)), ("plain", content(10))];
    let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    let answer = job.finish(json!({"status": "complete", "output_filenames": names})).await.ok();
    for (name, content) in &files[..2] {
        put_envelope(&Envelope::default(), &answer, name, content).await;
    }
    let plain = text(&answer["output_storage_urls"]["plain"]);
    assert_eq!(upload(&plain, &files[2].1).await.status, 200);
    let done = job.complete().await.ok();
    assert_eq!(done["status"], "complete", "{}", done["error_detail"]);
    for (name, content) in &files {
        assert!(job.download(name).await.bytes == *content, "{name}");
    }
    assert_eq!(objects(&stack, &job.job_id).await.len(), files.len());

    assert_eq!(upload(&plain, b"swapped").await.status, 200);
    let file_id = done["output_files"].as_object().unwrap().iter().find(|(_, file)| file["filename"] == "plain");
    let route = format!("{}/jobs/{}/download/{}", stack.url(), job.job_id, file_id.unwrap().0);
    job.owner.get(&route).await.is_error(409, "Output file changed after the job completed");

    // Removed by its id, `null`: only that takes the right to delete versions, and leaves no delete marker.
    let stored = item(&stack, "JobsTable", "job_id", &job.job_id).await;
    let versions: Vec<_> =
        stored["files"]["M"].as_object().unwrap().values().map(|file| &file["M"]["v"]["S"]).collect();
    assert_eq!(versions, [&json!("null"); 3]);
    job.owner.delete(&format!("{}/jobs/{}", stack.url(), job.job_id)).await.ok();
    let bucket = stack.resource("OutputsBucket").unwrap();
    let left = s3(&stack).list_object_versions().bucket(bucket).send().await.unwrap();
    assert_eq!((left.versions().len(), left.delete_markers().len()), (0, 0));
}

#[tokio::test]
async fn a_version_called_null_is_deleted_by_its_name_and_its_right() {
    let stack = Stack::builder().unversioned_objects(1).start().await.unwrap();
    let (bucket, operator) = (stack.resource("OutputsBucket").unwrap(), s3(&stack));
    operator.put_object().bucket(bucket).key("jobs/a").send().await.unwrap();
    // The first environment of the stack, and its credentials.
    assert_eq!(Client::nobody().delete(&format!("{}/jobs/x", stack.url())).await.status, 401);
    let credentials = Credentials::from_keys("ASIALOCAL00000000000", SECRET_ACCESS_KEY, Some(SESSION_TOKEN.clone()));
    let function = operator.config().to_builder().credentials_provider(credentials).build();
    let function = aws_sdk_s3::Client::from_conf(function);

    let delete = async |version: Option<&str>| {
        let object = ObjectIdentifier::builder().key("jobs/a").set_version_id(version.map(str::to_owned));
        let delete = Delete::builder().objects(object.build().unwrap()).build().unwrap();
        let answer = function.delete_objects().bucket(bucket).delete(delete).send().await.unwrap();
        let errors = answer.errors().iter().map(|error| (error.code.clone().unwrap(), error.message.clone().unwrap()));
        (answer.deleted().len(), errors.collect::<Vec<_>>())
    };
    let (deleted, errors) = delete(None).await;
    assert_eq!((deleted, errors[0].0.as_str()), (0, "AccessDenied"));
    assert!(errors[0].1.contains("s3:DeleteObject on resource"), "{errors:?}");
    assert_eq!(delete(Some("null")).await, (1, Vec::new()));
    let left = operator.list_object_versions().bucket(bucket).send().await.unwrap();
    assert_eq!((left.versions().len(), left.delete_markers().len()), (0, 0));
}
