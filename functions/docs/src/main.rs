//! Lambda entry point of `GET /docs`. The endpoint is [`docs::handle`].

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::serve_pages(docs::handle).await
}
