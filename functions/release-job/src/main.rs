//! Lambda entry point of `PUT /jobs/{job_id}/release`. The endpoint is [`release_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_job_tokens()?, release_job::handle).await
}
