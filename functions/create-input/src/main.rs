//! Lambda entry point of `POST /inputs`. The endpoint is [`create_input::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, create_input::handle).await
}
