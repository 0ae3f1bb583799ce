//! API keys: `cpk_{key id}.{user id}.{secret}`.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Characters in a secret.
const SECRET: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A key as its holder presents it. `Debug` shows its id only.
pub struct ApiKey {
    /// The key's id: what the registry finds it by.
    pub key_id: Uuid,
    /// Whose it is, as the key says; the registry has the last word.
    pub user_id: Uuid,
    text: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({})", self.key_id)
    }
}

impl ApiKey {
    /// Parses the 102 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("cpk_")?.split('.');
        let (key_id, user_id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && secret.len() == SECRET;
        if !whole || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Self { key_id: undashed(key_id)?, user_id: undashed(user_id)?, text: text.to_owned() })
    }

    /// A new key for `user_id`. Its secret has 190 bits of the system's randomness.
    pub fn generate(user_id: Uuid) -> Self {
        let key_id = Uuid::new_v4();
        let mut secret = String::with_capacity(SECRET);
        while secret.len() < SECRET {
            // Bytes 6 and 8 of a version 4 UUID hold fixed bits. The multiple of 62 keeps every letter equally likely.
            let random = Uuid::new_v4().into_bytes();
            let free = random.iter().enumerate().filter(|(at, _)| *at != 6 && *at != 8).map(|(_, byte)| *byte);
            let letters = free.filter(|byte| *byte < 248).map(|byte| ALPHABET[usize::from(byte) % 62] as char);
            secret.extend(letters.take(SECRET - secret.len()));
        }
        let text = format!("cpk_{}.{}.{secret}", key_id.simple(), user_id.simple());
        Self { key_id, user_id, text }
    }

    /// What is stored instead of the key: the SHA-256 of all its characters.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// Whether `stored` is this key's hash, compared in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }

    /// The key itself: shown once, when it is made.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// A UUID in exactly 32 lower-case hex digits.
fn undashed(text: &str) -> Option<Uuid> {
    let lower_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if lower_hex { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_parses_and_matches_its_hash_only() {
        let key = ApiKey::generate(Uuid::new_v4());
        assert_eq!(key.reveal().len(), 102);
        let parsed = ApiKey::parse(key.reveal()).expect("our own key");
        assert_eq!((parsed.key_id, parsed.user_id), (key.key_id, key.user_id));
        assert!(parsed.matches(&key.hash()));
        assert!(!parsed.matches(&ApiKey::generate(key.user_id).hash()));
        assert!(!parsed.matches(&key.hash()[..31]));
    }

    #[test]
    fn only_the_documented_form_parses() {
        let key = ApiKey::generate(Uuid::from_u128(u128::MAX)).reveal().to_owned();
        let dashed = format!("cpk_{}.{}", Uuid::new_v4(), &key[37..]);
        for bad in [
            "",
            "cpk_",
            &key[1..],
            &key[..101],
            &format!("{key}a"),
            &format!("{key}.a"),
            &key.replace('f', "F"),
            &format!("{}-", &key[..101]),
            &dashed,
        ] {
            assert!(ApiKey::parse(bad).is_none(), "{bad:?}");
        }
    }
}
