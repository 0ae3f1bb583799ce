//! Lambda entry point of `PUT /webhooks/secret`. The endpoint is [`replace_webhook_secret::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, replace_webhook_secret::handle).await
}
