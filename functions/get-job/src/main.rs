//! Lambda entry point of `GET /jobs/{job_id}`. The endpoint is [`get_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, get_job::handle).await
}
