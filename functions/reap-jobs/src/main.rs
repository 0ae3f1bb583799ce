//! Lambda entry point of the reaper, which a schedule invokes every minute. It is [`reap_jobs::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve_event(App::from_env()?.with_bucket()?.with_deliverer()?, reap_jobs::handle).await
}
