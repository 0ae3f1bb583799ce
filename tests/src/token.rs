//! Job tokens, good ones and others, made without the service.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use local::Stack;
use serde_json::{Value, json};

/// The keys that a stack signs job tokens with: `{"current": kid, kid: secret, …}`.
pub async fn job_token_keys(stack: &Stack) -> Value {
    let answer = secrets_manager(stack, "GetSecretValue", json!({})).await;
    serde_json::from_str(answer["SecretString"].as_str().expect("a secret")).expect("a key document")
}

/// Replaces them, as an operator does.
pub async fn put_job_token_keys(stack: &Stack, keys: &Value) {
    secrets_manager(stack, "PutSecretValue", json!({"SecretString": keys.to_string()})).await;
}

async fn secrets_manager(stack: &Stack, operation: &str, mut request: Value) -> Value {
    request["SecretId"] = stack.resource("JobTokenSecret").expect("a secret of the template").into();
    let target = format!("secretsmanager.{operation}");
    let request = reqwest::Client::new().post(stack.aws_url()).header("x-amz-target", target).body(request.to_string());
    request.send().await.expect("Secrets Manager answers").json().await.expect("Secrets Manager answers JSON")
}

/// A token's header and claims.
pub fn parts_of(token: &str) -> (Value, Value) {
    let part = |index| -> Value {
        let text = token.split('.').nth(index).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
    };
    (part(0), part(1))
}

/// A token with this header and these claims, under an HMAC of SHA-256 whatever the header says.
pub fn token(header: &Value, claims: &Value, secret: &Value) -> String {
    signed(Algorithm::HS256, header, claims, secret)
}

/// As [`token`], under this algorithm.
pub fn signed(algorithm: Algorithm, header: &Value, claims: &Value, secret: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let key = EncodingKey::from_secret(secret.as_str().expect("a secret").as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, algorithm).expect("signs");
    format!("{message}.{signature}")
}
