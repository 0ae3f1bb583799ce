//! Lambda entry point of `GET /jobs/{job_id}/inputs/{input_id}`. The endpoint is [`download_input::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?.with_job_tokens()?, download_input::handle).await
}
