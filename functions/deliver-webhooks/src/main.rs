//! Lambda entry point of what delivers webhooks. It is [`deliver_webhooks::handle`].

use deliver_webhooks::Receivers;
use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let app = App::from_env()?.with_bucket()?;
    let receivers = Receivers::from_env(app.config.reach.clone())?;
    // For the life of the process, as the app is.
    let receivers: &Receivers = Box::leak(Box::new(receivers));
    shared::serve_event(app, move |app, event| deliver_webhooks::handle(app, receivers, event)).await
}
