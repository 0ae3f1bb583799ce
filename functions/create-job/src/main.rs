//! Lambda entry point of `POST /jobs/{chute_id}/{method}`. The endpoint is [`create_job::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, create_job::handle).await
}
