//! The secret that signs a user's webhooks, by the Standard Webhooks specification (standardwebhooks.com, 1.0.0).

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    time::{DAY, Timestamp},
};

/// What tells a secret from other text.
const PREFIX: &str = "whsec_";
/// Seconds for which a secret signs on beside the one that has replaced it.
const OVERLAP: i64 = DAY;
/// Former secrets that sign: whoever makes a new one each time that an answer is lost still has them all.
const FORMER: usize = 5;

/// A user's row in the registry, known by the user's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookSecret {
    /// `whsec_` and 32 random bytes in base64.
    pub secret: String,
    /// Those before it, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<Former>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Former {
    secret: String,
    until: Timestamp,
}

impl WebhookSecret {
    /// A new one, of 256 bits of the system's randomness.
    pub fn generate() -> Self {
        let random = (0..3).fold(Sha256::new(), |hash, _| hash.chain_update(Uuid::new_v4()));
        Self { secret: format!("{PREFIX}{}", BASE64_STANDARD.encode(random.finalize())), former: Vec::new() }
    }

    /// A new one, beside which this one signs for a day.
    pub fn replaced(self, now: Timestamp) -> Self {
        let mut former = vec![Former { secret: self.secret, until: now.plus_seconds(OVERLAP) }];
        former.extend(self.former.into_iter().filter(|former| former.until > now));
        former.truncate(FORMER);
        Self { former, ..Self::generate() }
    }

    /// Those before it, for the table.
    pub fn former_attribute(&self) -> Result<AttributeValue> {
        serde_dynamo::to_attribute_value(&self.former).map_err(|error| Error::internal("write: webhook secret", error))
    }

    /// Until when former ones sign, too.
    pub fn previous_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.former.iter().map(|former| former.until).filter(|until| *until > now).max()
    }

    /// `webhook-signature`: one for each secret that signs.
    pub fn sign(&self, webhook_id: &str, at: Timestamp, body: &str, now: Timestamp) -> String {
        let former = self.former.iter().filter(|former| former.until > now).map(|former| &*former.secret);
        let sign = |secret: &str| {
            let key = BASE64_STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).unwrap_or_default();
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
            mac.update(format!("{webhook_id}.{}.{body}", at.seconds()).as_bytes());
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        };
        let signatures: Vec<_> = [&*self.secret].into_iter().chain(former).map(sign).collect();
        signatures.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn it_signs_as_the_specification_says() {
        let secret = WebhookSecret { secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), former: Vec::new() };
        let at = Timestamp::from_millis(1_614_265_330_000);
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#, at);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn those_before_it_sign_beside_it_for_a_day_each() {
        let begin = Timestamp::from_millis(1_000_000);
        let later = begin.plus_seconds(3600);
        let first = WebhookSecret::generate();
        assert_eq!(first.previous_until(begin), None);
        let third = first.clone().replaced(begin).replaced(later);
        let alone = first.sign("msg_1", begin, "{}", begin);
        let signatures = |now| third.sign("msg_1", begin, "{}", now);
        assert_eq!(signatures(later).split(' ').count(), 3);
        assert!(signatures(later).split(' ').any(|signature| signature == alone));
        assert_eq!(signatures(begin.plus_seconds(DAY)).split(' ').count(), 2);
        assert_eq!(signatures(later.plus_seconds(DAY)).split(' ').count(), 1);
        assert_eq!(third.previous_until(later), Some(later.plus_seconds(DAY)));
    }

    #[test]
    fn a_secret_is_one_of_the_specification() {
        let secret = WebhookSecret::generate().secret;
        let bytes = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
        assert!((24..=64).contains(&bytes.len()));
        assert_ne!(secret, WebhookSecret::generate().secret);
    }
}
