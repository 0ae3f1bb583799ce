//! Lambda entry point of `GET /jobs/{job_id}/webhook`. The endpoint is [`get_webhook::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, get_webhook::handle).await
}
