//! What other clients of the API share with the command `jobchute`: a wallet, the headers that authenticate a request, and the client
//! that sends it.

mod hotkey;
mod http;
mod identity;

pub use hotkey::Hotkey;
pub use http::{http, install_crypto, plain_http};
pub use identity::Identity;
