//! Lambda entry point of `POST /jobs/{job_id}`. The endpoint is [`finish_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?.with_job_tokens()?, finish_job::handle).await
}
