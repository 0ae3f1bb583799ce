//! User JWTs: signed by keys that the deployment names in a JWKS document (RFC 7517), each pinned to one algorithm.

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm},
};
use serde::Deserialize;
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
}

impl UserJwtKeys {
    /// Prepares the configured keys. An error says which entry of `USER_JWT_KEYS` cannot be used.
    pub fn new(config: &Config) -> Result<Self, String> {
        let prepare = |(at, jwk): (usize, &Jwk)| {
            Key::new(jwk).ok_or_else(|| {
                format!("environment variable USER_JWT_KEYS: key {at} is none of HS256, RS256, ES256 and EdDSA")
            })
        };
        Ok(Self {
            keys: config.user_jwt_keys.keys.iter().enumerate().map(prepare).collect::<Result<_, _>>()?,
            issuer: config.user_jwt_issuer.clone(),
            audience: config.user_jwt_audience.clone(),
        })
    }

    /// The user that `token` speaks for.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Uuid, Error> {
        let invalid = || Error::unauthorized("Invalid token.");
        let header = decode_header(token).map_err(|_| invalid())?;
        let key = self.find(header.kid.as_deref()).ok_or_else(invalid)?;
        // The key decides the algorithm; what the token's header says has to agree with it.
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Expiry is checked below, against the request's own time.
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
        if claims.nbf.is_some_and(|nbf| nbf > seconds) {
            return Err(invalid());
        }
        Uuid::try_parse(&claims.sub).map_err(|_| invalid())
    }

    /// The key that a token names; a token without a name can only mean the only key there is.
    fn find(&self, kid: Option<&str>) -> Option<&Key> {
        match (kid, &self.keys[..]) {
            (Some(kid), keys) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    fn new(jwk: &Jwk) -> Option<Self> {
        let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
            // 32 bytes and more. (RFC 7518, section 3.2; 43 characters of base64url.)
            (AlgorithmParameters::OctetKey(key), None | Some(KeyAlgorithm::HS256)) if key.value.len() >= 43 => {
                Algorithm::HS256
            }
            (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
            let answer = keys.verify(token, Timestamp::from_millis(1_795_000_000_000));
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
    fn a_key_of_another_kind_stops_the_start() {
        let error = keys(&serde_json::json!({"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS384"}]}));
        let error = error.err().expect("an unusable key");
        assert_eq!(error, "environment variable USER_JWT_KEYS: key 0 is none of HS256, RS256, ES256 and EdDSA");
    }
}
