//! Lambda entry point of `PUT /jobs/{job_id}/retry`. The endpoint is [`retry_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, retry_job::handle).await
}
