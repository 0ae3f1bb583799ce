//! What other clients of the API share with the command `jobchute`: a wallet, and the headers that authenticate a request.

mod hotkey;
mod identity;

pub use hotkey::Hotkey;
pub use identity::Identity;
