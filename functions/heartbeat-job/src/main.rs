//! Lambda entry point of `PUT /jobs/{job_id}/heartbeat`. The endpoint is [`heartbeat_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_job_tokens()?.with_log_places()?, heartbeat_job::handle).await
}
