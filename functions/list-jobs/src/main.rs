//! Lambda entry point of `GET /jobs`. The endpoint is [`list_jobs::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, list_jobs::handle).await
}
