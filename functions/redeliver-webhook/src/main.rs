//! Lambda entry point of `PUT /jobs/{job_id}/webhook`. The endpoint is [`redeliver_webhook::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_deliverer()?, redeliver_webhook::handle).await
}
