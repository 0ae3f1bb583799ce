//! Lambda entry point of `PUT /jobs/{job_id}`. The endpoint is [`complete_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?.with_job_tokens()?, complete_job::handle).await
}
