//! Lambda entry point of `GET /jobs/{job_id}/download/{file_id}`. The endpoint is [`download_output_file::handle`].

use shared::App;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve(App::from_env()?.with_bucket()?, download_output_file::handle).await
}
