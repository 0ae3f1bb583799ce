//! Lambda entry point of what puts the ends of jobs on an EventBridge bus. It is [`publish_events::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve_event(App::from_env()?.with_event_bus()?, publish_events::handle).await
}
