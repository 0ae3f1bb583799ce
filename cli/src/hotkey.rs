//! A wallet: an sr25519 key that signs requests as the Chutes SDK does.

use std::{
    fmt::Display,
    time::{SystemTime, UNIX_EPOCH},
};

use blake2::{Blake2b512, Digest};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey};
use sha2::Sha256;

/// Substrate's generic network prefix.
const PREFIX: u8 = 42;

/// A hotkey. `Debug` shows its address only.
#[derive(Clone)]
pub struct Hotkey {
    keys: Keypair,
    /// 32 bytes in hex: the secret.
    pub seed: String,
    /// Its SS58 address.
    pub address: String,
}

impl std::fmt::Debug for Hotkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hotkey({})", self.address)
    }
}

impl Hotkey {
    /// A new one.
    pub fn generate() -> Self {
        Self::new(&MiniSecretKey::generate())
    }

    /// The one of a seed: 32 bytes in hex.
    pub fn from_seed(seed: &str) -> Option<Self> {
        let seed = hex::decode(seed.trim_start_matches("0x")).ok()?;
        MiniSecretKey::from_bytes(&seed).ok().as_ref().map(Self::new)
    }

    fn new(seed: &MiniSecretKey) -> Self {
        let keys = seed.expand_to_keypair(ExpansionMode::Ed25519);
        let mut bytes = vec![PREFIX];
        bytes.extend(keys.public.to_bytes());
        let checksum = Blake2b512::new().chain_update(b"SS58PRE").chain_update(&bytes).finalize();
        bytes.extend(&checksum[..2]);
        Self { address: bs58::encode(bytes).into_string(), seed: hex::encode(seed.to_bytes()), keys }
    }

    /// The headers that authenticate a request, signed now.
    pub fn headers(&self, method: &str, path: &str, body: &[u8]) -> [(&'static str, String); 3] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.headers_at(now.as_secs(), method, path, body)
    }

    /// The same with any nonce: Unix seconds. A request that may have a body is signed over the body, another over its method and
    /// its path without the query.
    pub fn headers_at(
        &self,
        nonce: impl Display,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> [(&'static str, String); 3] {
        let purpose = match method {
            "POST" | "PUT" | "PATCH" => hex::encode(Sha256::digest(body)),
            _ => format!("{method}:{}", path.split('?').next().unwrap_or_default()),
        };
        self.headers_over(&nonce.to_string(), &purpose)
    }

    /// The same with any nonce, over anything.
    pub fn headers_over(&self, nonce: &str, purpose: &str) -> [(&'static str, String); 3] {
        let signature = self.sign(&format!("{}:{nonce}:{purpose}", self.address));
        [
            ("x-chutes-hotkey", self.address.clone()),
            ("x-chutes-nonce", nonce.to_owned()),
            ("x-chutes-signature", signature),
        ]
    }

    /// The signature over a message, in hex.
    pub fn sign(&self, message: &str) -> String {
        hex::encode(self.keys.sign_simple(b"substrate", message.as_bytes()).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_one_that_wallets_show() {
        // Substrate's development account //Alice.
        let seed = "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
        let alice = Hotkey::from_seed(seed).expect("a seed");
        assert_eq!(alice.seed, seed);
        assert_eq!(alice.address, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn a_signature_is_over_hotkey_nonce_and_purpose() {
        let hotkey = Hotkey::generate();
        let [_, _, (_, signature)] = hotkey.headers_at(1_795_000_000, "GET", "/jobs/claimable?limit=1", b"");
        let signature = schnorrkel::Signature::from_bytes(&hex::decode(signature).expect("hex")).expect("a signature");
        let message = format!("{}:1795000000:GET:/jobs/claimable", hotkey.address);
        assert!(hotkey.keys.public.verify_simple(b"substrate", message.as_bytes(), &signature).is_ok());
    }
}
