//! Lambda entry point of `DELETE /jobs/{job_id}`. The endpoint is [`delete_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, delete_job::handle).await
}
