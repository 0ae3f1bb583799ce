//! Who sends a request.

use crate::hotkey::Hotkey;

/// A caller of the API, with the secret that proves it. `Debug` shows no secret.
#[derive(Clone)]
pub enum Identity {
    /// A stranger; or a miner, whose job token is part of the URL.
    Nobody,
    /// An API key, or a user's JWT.
    Key(String),
    /// A hotkey that signs every request.
    Hotkey(Box<Hotkey>),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Key(_) => f.write_str("Key"),
            Self::Hotkey(hotkey) => hotkey.fmt(f),
        }
    }
}

impl Identity {
    /// The headers that authenticate a request of this caller's, which is sent now. `path` may have a query.
    pub fn headers(&self, method: &str, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Key(key) => vec![("authorization", format!("Bearer {key}"))],
            Self::Hotkey(hotkey) => hotkey.headers(method, path, body).to_vec(),
        }
    }
}
