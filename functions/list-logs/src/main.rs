//! Lambda entry point of `GET /jobs/{job_id}/logs`. The endpoint is [`list_logs::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, list_logs::handle).await
}
