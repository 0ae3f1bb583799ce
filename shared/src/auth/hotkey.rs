//! Hotkey signatures: sr25519 over Substrate's signing context, by the key that an SS58 address names.

use blake2::{Blake2b512, Digest};
use schnorrkel::{PublicKey, Signature};

/// Network prefixes below this take one byte of an address, the others two. (Substrate: "SS58 address format".)
const ONE_BYTE_PREFIXES: u8 = 64;

/// The public key that an SS58 address holds, when its checksum is right.
pub fn public_key(address: &str) -> Option<PublicKey> {
    // The longest address is 36 bytes; decoding base58 takes time quadratic in the length.
    if address.len() > 50 {
        return None;
    }
    let bytes = bs58::decode(address).into_vec().ok()?;
    let prefix = match bytes.first()? {
        0..ONE_BYTE_PREFIXES => 1,
        ONE_BYTE_PREFIXES..=127 => 2,
        _ => return None,
    };
    let (payload, checksum) = bytes.split_at_checked(prefix + 32)?;
    let hash = Blake2b512::new().chain_update(b"SS58PRE").chain_update(payload).finalize();
    if checksum != &hash[..2] {
        return None;
    }
    PublicKey::from_bytes(&payload[prefix..]).ok()
}

/// Whether `signature` (hex) is `address`'s over `message`, plain or wrapped in `<Bytes>…</Bytes>` as wallets do.
pub fn verify(address: &str, message: &str, signature: &str) -> bool {
    let Some(key) = public_key(address) else { return false };
    let mut bytes = [0; 64];
    if hex::decode_to_slice(signature, &mut bytes).is_err() {
        return false;
    }
    let Ok(signature) = Signature::from_bytes(&bytes) else { return false };
    let verifies = |message: &[u8]| key.verify_simple(b"substrate", message, &signature).is_ok();
    verifies(message.as_bytes()) || verifies(format!("<Bytes>{message}</Bytes>").as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Signed {
        case: String,
        hotkey: String,
        public_key: String,
        message: String,
        signature: String,
    }

    /// Made by the Chutes SDK's own Python library.
    fn real_signatures() -> Vec<Signed> {
        let file = include_str!("../../../tests/data/hotkey-signatures.json");
        serde_json::from_str(file).expect("the file is a list of signatures")
    }

    #[test]
    fn the_chutes_sdks_own_signatures_verify() {
        let all = real_signatures();
        assert_eq!(all.len(), 14);
        for signed in all {
            let key = public_key(&signed.hotkey).expect("a valid address");
            assert_eq!(hex::encode(key.to_bytes()), signed.public_key);
            assert!(verify(&signed.hotkey, &signed.message, &signed.signature), "{}", signed.case);
        }
    }

    #[test]
    fn one_changed_bit_or_another_key_does_not_verify() {
        let [alice, .., bob] = &real_signatures()[..] else { panic!("two signers") };
        assert!(!verify(&bob.hotkey, &alice.message, &alice.signature));
        assert!(!verify(&alice.hotkey, &format!("{} ", alice.message), &alice.signature));
        for byte in 0..64 {
            let mut bytes = hex::decode(&alice.signature).expect("hex");
            bytes[byte] ^= 1;
            assert!(!verify(&alice.hotkey, &alice.message, &hex::encode(bytes)), "byte {byte}");
        }
    }

    #[test]
    fn an_address_with_a_typo_is_no_address() {
        let address = &real_signatures()[0].hotkey;
        assert!(public_key(address).is_some());
        assert!(public_key(&address.replacen('D', "E", 1)).is_none());
        for bad in ["", "5", "0OIl", "ü", &address[1..], &"5".repeat(51)] {
            assert!(public_key(bad).is_none(), "{bad:?}");
        }
    }
}
