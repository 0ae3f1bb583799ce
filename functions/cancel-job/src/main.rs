//! Lambda entry point of `PUT /jobs/{job_id}/cancel`. The endpoint is [`cancel_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, cancel_job::handle).await
}
