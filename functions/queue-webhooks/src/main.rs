//! Lambda entry point of what follows the stream of the jobs table. It is [`queue_webhooks::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve_event(App::from_env()?.with_deliverer()?, queue_webhooks::handle).await
}
