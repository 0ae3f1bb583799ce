//! Lambda entry point of `PUT /inputs/{input_id}`. The endpoint is [`renew_input::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, renew_input::handle).await
}
