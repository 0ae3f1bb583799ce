//! Lambda entry point of `GET /jobs/claimable`. The endpoint is [`list_claimable_jobs::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, list_claimable_jobs::handle).await
}
