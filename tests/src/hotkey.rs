//! A miner's hotkey, as the reference's SDK signs with it.

use blake2::{Blake2b512, Digest};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey};
use sha2::Sha256;
use uuid::Uuid;

use crate::stack;

/// A hotkey with its secret.
#[derive(Clone)]
pub struct Hotkey {
    keys: Keypair,
    /// The SS58 address.
    pub address: String,
}

impl Hotkey {
    /// A new one.
    pub fn generate() -> Self {
        let seed = Sha256::digest(Uuid::new_v4());
        let keys = MiniSecretKey::from_bytes(&seed).unwrap().expand_to_keypair(ExpansionMode::Ed25519);
        // 42: any Substrate chain.
        let mut bytes = [&[42][..], &keys.public.to_bytes()].concat();
        let checksum = Blake2b512::new().chain_update(b"SS58PRE").chain_update(&bytes).finalize();
        bytes.extend_from_slice(&checksum[..2]);
        Self { keys, address: bs58::encode(bytes).into_string() }
    }

    /// The signature over a message, in hex.
    pub fn sign(&self, message: &str) -> String {
        hex::encode(self.keys.sign_simple(b"substrate", message.as_bytes()).to_bytes())
    }

    /// The three headers of a request, signed now by the stack's clock.
    pub fn headers(&self, method: &str, path: &str, body: &[u8]) -> [(&'static str, String); 3] {
        self.headers_at(stack().clock().now() / 1000, method, path, body)
    }

    /// The same with any nonce: Unix seconds.
    pub fn headers_at(
        &self,
        nonce: impl std::fmt::Display,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> [(&'static str, String); 3] {
        let what = match method {
            "POST" | "PUT" | "PATCH" => hex::encode(Sha256::digest(body)),
            _ => format!("{method}:{}", path.split('?').next().unwrap_or_default()),
        };
        self.headers_over(&nonce.to_string(), &what)
    }

    /// The same with any nonce, over anything.
    pub fn headers_over(&self, nonce: &str, what: &str) -> [(&'static str, String); 3] {
        let signature = self.sign(&format!("{}:{nonce}:{what}", self.address));
        [
            ("x-chutes-hotkey", self.address.clone()),
            ("x-chutes-nonce", nonce.to_owned()),
            ("x-chutes-signature", signature),
        ]
    }
}
