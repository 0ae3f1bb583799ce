//! What it takes to know who is calling. It needs no engine, so it is measured in this process.

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use anyhow::{Result, ensure};
use jobchute::{Hotkey, Identity};
use jsonwebtoken::{EncodingKey, Header};
use lambda_http::{Body, Request, http};
use serde_json::json;
use shared::{
    auth::{Proof, api_key::ApiKey, user_jwt::UserJwtKeys},
    config::{Config, Environment},
    time::Timestamp,
};
use uuid::Uuid;

/// Times that each is done.
const TIMES: u32 = 2000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Microseconds of a core, by kind of caller, for a signed body of 1 KiB.
pub(super) fn measure() -> Result<BTreeMap<&'static str, f64>> {
    let jwks = json!({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256",
        "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]});
    let environment = Environment(|variable: &str| match variable {
        "USER_JWT_KEYS" => Some(jwks.to_string()),
        _ => Some("1".to_owned()).filter(|_| variable.ends_with("_TABLE")),
    });
    let keys = UserJwtKeys::new(&Config::read(&environment)?).map_err(anyhow::Error::msg)?;
    let (now, user, body) = (Timestamp::system().seconds(), Uuid::new_v4(), vec![b'x'; 1024]);

    let key = ApiKey::generate(user);
    let hash = key.hash();
    let jwt = jsonwebtoken::encode(
        &Header { kid: Some("k".to_owned()), ..Header::default() },
        &json!({"sub": user, "exp": now + 3600}),
        &EncodingKey::from_secret(SECRET),
    )?;
    let headers = |caller: Identity| caller.headers("PUT", "/jobs/x/claim", &body);

    let mut measured = BTreeMap::new();
    for (kind, caller) in [
        ("API key", Identity::Key(key.reveal().to_owned())),
        ("JWT", Identity::Key(jwt)),
        ("hotkey", Identity::Hotkey(Box::new(Hotkey::generate()))),
    ] {
        let mut request = http::Request::put("/jobs/x/claim");
        for (name, value) in headers(caller) {
            request = request.header(name, value);
        }
        let request: Request = request.body(Body::from(body.clone()))?;
        let know = || match Proof::verify(black_box(&request), &keys) {
            Ok(Proof::ApiKey(key)) => key.matches(&hash),
            other => other.is_ok(),
        };
        ensure!(know(), "{kind}: the caller is refused");
        let started = Instant::now();
        for _ in 0..TIMES {
            black_box(know());
        }
        measured.insert(kind, started.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
    }
    Ok(measured)
}
