//! Lambda entry point of `PUT /jobs/claim`. The endpoint is [`claim_next_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?.with_job_tokens()?, claim_next_job::handle).await
}
