//! Lambda entry point of `GET /webhooks/secret`. The endpoint is [`get_webhook_secret::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, get_webhook_secret::handle).await
}
