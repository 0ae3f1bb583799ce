//! Lambda entry point of `GET /docs`. The endpoint is [`docs::handle`].

use docs::Policy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let policy = &Policy::read(|variable| std::env::var(variable).ok());
    shared::serve_pages(move |request| docs::handle(policy, request)).await
}
