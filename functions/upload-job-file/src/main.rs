//! Lambda entry point of `PUT /jobs/{job_id}/upload`. The endpoint is [`upload_job_file::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?.with_job_tokens()?, upload_job_file::handle).await
}
