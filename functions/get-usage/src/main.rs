//! Lambda entry point of `GET /usage`. The endpoint is [`get_usage::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?, get_usage::handle).await
}
