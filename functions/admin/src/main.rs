//! Lambda entry point of the administrator's commands, invoked directly. They are [`admin::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve_event(App::from_env()?, admin::handle).await
}
