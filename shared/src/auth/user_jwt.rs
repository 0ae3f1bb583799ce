//! User JWTs: signed by keys that the deployment names in a JWKS document (RFC 7517), each pinned to one algorithm.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, RSAKeyParameters},
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{config::Config, error::Error, time::Timestamp};

/// Who may issue user JWTs.
pub struct UserJwtKeys {
    keys: Vec<Key>,
    issuer: Option<String>,
    audience: Option<String>,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// Seconds by which an issuer's clock may be ahead. A token's end is taken at its word.
const LEEWAY: f64 = 60.0;
/// Bits of the smallest RSA key, and its smallest exponent. (NIST SP 800-131A; FIPS 186-5, section 5.4.)
const RSA_BITS: usize = 2048;
const RSA_EXPONENT: u64 = 65_537;

impl UserJwtKeys {
    /// Prepares the configured keys. Those that are of no use here are ignored, as RFC 7517 (section 5) has it: an issuer's document
    /// also holds keys for encryption, and of kinds to come. It is an error when none is left.
    pub fn new(config: &Config) -> Result<Self, String> {
        let all = &config.user_jwt_keys;
        let keys: Vec<_> = all.iter().filter_map(Key::new).collect();
        if keys.is_empty() && !all.is_empty() {
            let usable = "HS256 of 32 bytes, RS256 of 2,048 bits, ES256 or EdDSA";
            return Err(format!("environment variable USER_JWT_KEYS: no key verifies signatures by {usable}"));
        }
        Ok(Self { keys, issuer: config.user_jwt_issuer.clone(), audience: config.user_jwt_audience.clone() })
    }

    /// The user that `token` speaks for.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Uuid, Error> {
        let invalid = || Error::unauthorized("Invalid token.");
        let header = decode_header(token).map_err(|_| invalid())?;
        // Nothing that it may name is understood here. (RFC 7515, section 4.1.11.)
        if header.crit.is_some() {
            return Err(invalid());
        }
        let key = self.find(header.kid.as_deref()).ok_or_else(invalid)?;
        // The key decides the algorithm; what the token's header says has to agree with it.
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Times are checked below, against the request's own time in whole seconds.
        validation.validate_exp = false;
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let claims = decode::<Claims>(token, &key.key, &validation).map_err(|_| invalid())?.claims;
        let seconds = now.seconds() as f64;
        if claims.exp <= seconds {
            return Err(Error::unauthorized("Token expired."));
        }
        let is_ahead = |begin: Option<f64>| begin.is_some_and(|begin| begin > seconds + LEEWAY);
        if is_ahead(claims.nbf) || is_ahead(claims.iat) {
            return Err(invalid());
        }
        Uuid::try_parse(&claims.sub).map_err(|_| invalid())
    }

    /// The key that a token names. A token without a name can only mean the only key there is, and a name can only mean the only
    /// key when that has none.
    fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, &self.keys[..]) {
            (Some(_), [only]) if only.kid.is_none() => Some(only),
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    /// The key, when it is one that verifies signatures here.
    fn new(jwk: &Value) -> Option<Self> {
        let signs = jwk.get("use").is_none_or(|usage| usage == "sig");
        let verifies =
            jwk.get("key_ops").is_none_or(|all| all.as_array().is_some_and(|all| all.contains(&"verify".into())));
        let jwk: &Jwk = &serde_json::from_value(jwk.clone()).ok().filter(|_| signs && verifies)?;
        let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
            // 32 bytes and more. (RFC 7518, section 3.2; 43 characters of base64url.)
            (AlgorithmParameters::OctetKey(key), None | Some(KeyAlgorithm::HS256)) if key.value.len() >= 43 => {
                Algorithm::HS256
            }
            (AlgorithmParameters::RSA(key), None | Some(KeyAlgorithm::RS256)) if is_strong(key) => Algorithm::RS256,
            (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES256))
                if curve.curve == EllipticCurve::P256 =>
            {
                Algorithm::ES256
            }
            (AlgorithmParameters::OctetKeyPair(_), None | Some(KeyAlgorithm::EdDSA)) => Algorithm::EdDSA,
            _ => return None,
        };
        Some(Self { kid: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
    }
}

/// Whether an RSA key is large enough to trust, with an exponent that is odd and not tiny.
fn is_strong(key: &RSAKeyParameters) -> bool {
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>())
    };
    let bits = |modulus: Vec<u8>| modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    let exponent =
        |bytes: Vec<u8>| (bytes.len() <= 8).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    let exponent = number(&key.e).and_then(exponent);
    number(&key.n).map_or(0, bits) >= RSA_BITS && exponent.is_some_and(|e: u64| e >= RSA_EXPONENT && e % 2 == 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Environment;

    /// Keys and tokens made by PyJWT. The good ones expire at 1795000100.
    fn real_tokens() -> Value {
        serde_json::from_str(include_str!("../../../tests/data/user-jwts.json")).expect("JSON")
    }

    fn keys(jwks: &Value) -> Result<UserJwtKeys, String> {
        let config = Config::read(&Environment(|variable: &str| match variable {
            "JOBS_TABLE" | "REGISTRY_TABLE" => Some("table".to_owned()),
            "USER_JWT_KEYS" => Some(jwks.to_string()),
            "USER_JWT_ISSUER" => Some("https://id.example".to_owned()),
            "USER_JWT_AUDIENCE" => Some("jobchute".to_owned()),
            _ => None,
        }));
        UserJwtKeys::new(&config.expect("complete"))
    }

    fn detail(answer: Result<Uuid, Error>) -> String {
        match answer.expect_err("a bad token") {
            Error::Unauthorized(detail) => detail.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_of_every_kind_of_key_verify_until_they_expire() {
        let data = real_tokens();
        let keys = keys(&data["jwks"]).expect("usable keys");
        for case in data["good"].as_array().expect("a list") {
            let (name, token) = (&case[0], case[1].as_str().expect("a token"));
            let at = |seconds: i64| keys.verify(token, Timestamp::from_millis(seconds * 1000));
            let user_id = at(1_795_000_099).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(user_id.to_string(), data["user_id"].as_str().expect("an id"));
            assert_eq!(detail(at(1_795_000_100)), "Token expired.", "{name}");
        }
    }

    #[test]
    fn a_token_that_its_key_did_not_sign_as_pinned_is_invalid() {
        let data = real_tokens();
        let keys = keys(&data["jwks"]).expect("usable keys");
        for case in data["bad"].as_array().expect("a list") {
            let token = case[1].as_str().expect("a token");
            // More than the leeway before the one that is not yet valid becomes so.
            let answer = keys.verify(token, Timestamp::from_millis(1_794_999_980_000));
            assert_eq!(detail(answer), "Invalid token.", "{}", case[0]);
        }
    }

    #[test]
    fn a_token_cut_short_or_changed_is_invalid() {
        let data = real_tokens();
        let keys = keys(&data["jwks"]).expect("usable keys");
        let token = data["good"][0][1].as_str().expect("a token");
        for end in 0..token.len() {
            assert!(keys.verify(&token[..end], Timestamp::from_millis(1_795_000_000_000)).is_err(), "{end}");
        }
    }

    #[test]
    fn keys_of_no_use_here_are_ignored_while_one_is_left() {
        let mut data = real_tokens();
        let good = data["jwks"]["keys"].as_array().expect("keys").clone();
        let rsa = good.iter().find(|key| key["kty"] == "RSA").expect("an RSA key").clone();
        let changed = |field: &str, value: Value| {
            let mut key = rsa.clone();
            (key[field], key["kid"]) = (value, "bad".into());
            key
        };
        let odd = [
            changed("use", "enc".into()),
            changed("use", "later".into()),
            changed("key_ops", json!(["encrypt"])),
            changed("alg", "RSA-OAEP".into()),
            changed("alg", "unheard of".into()),
            changed("n", rsa["n"].as_str().expect("a modulus")[..172].into()),
            changed("e", "Aw".into()),
            changed("e", "AQAA".into()),
            changed("e", "AQ".into()),
            json!({"kty": "oct", "k": "AAAA", "alg": "HS384"}),
            json!({"kty": "unheard of", "kid": "later"}),
            json!({}),
            json!(null),
        ];
        for key in &odd {
            let error = keys(&json!({"keys": [key]})).err().unwrap_or_else(|| panic!("{key}"));
            assert_eq!(
                error,
                "environment variable USER_JWT_KEYS: no key verifies signatures by HS256 of 32 bytes, RS256 of 2,048 bits, \
                 ES256 or EdDSA"
            );
        }
        data["jwks"]["keys"] = odd.into_iter().chain(good).collect();
        let keys = keys(&data["jwks"]).expect("usable keys");
        for case in data["good"].as_array().expect("a list") {
            let token = case[1].as_str().expect("a token");
            assert!(keys.verify(token, Timestamp::from_millis(1_795_000_000_000)).is_ok(), "{}", case[0]);
        }
    }

    /// A token of the only key there is, made with these claims beside a user's.
    fn signed(header: Value, claims: Value) -> (UserJwtKeys, String) {
        let secret = [7; 32];
        let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret)});
        let mut all = json!({"sub": Uuid::nil(), "exp": 2_000, "iss": "https://id.example", "aud": "jobchute"});
        all.as_object_mut().expect("claims").extend(claims.as_object().expect("claims").clone());
        let header =
            jsonwebtoken::Header { alg: Algorithm::HS256, ..serde_json::from_value(header).expect("a header") };
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&header, &all, &key).expect("a token");
        (keys(&json!({"keys": [jwk]})).expect("a usable key"), token)
    }

    #[test]
    fn an_issuers_clock_may_be_a_minute_ahead() {
        let at = |claims: Value| {
            let (keys, token) = signed(json!({"alg": "HS256"}), claims);
            keys.verify(&token, Timestamp::from_millis(1_000_999)).is_ok()
        };
        for claim in ["nbf", "iat"] {
            assert!(at(json!({claim: 1_060})), "{claim}");
            assert!(!at(json!({claim: 1_061})), "{claim}");
        }
        assert!(at(json!({"exp": 1_001})));
        assert!(!at(json!({"exp": 1_000})), "an end is an end");
    }

    #[test]
    fn a_single_key_without_a_name_is_meant_by_any() {
        let (keys, token) = signed(json!({"alg": "HS256", "kid": "any"}), json!({}));
        assert!(keys.verify(&token, Timestamp::from_millis(0)).is_ok());
    }

    #[test]
    fn an_extension_that_nobody_here_understands_makes_a_token_invalid() {
        let (keys, token) = signed(json!({"alg": "HS256", "crit": ["b64"]}), json!({}));
        assert_eq!(detail(keys.verify(&token, Timestamp::from_millis(0))), "Invalid token.");
    }
}
