//! Job tokens: what a miner shows on a job's own routes. HS256, signed with a secret that rotates.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    aws::Lazy,
    error::{Context, Error, Result},
    model::Job,
    time::Timestamp,
};

/// The `iss` of every job token.
const ISSUER: &str = "jobchute";
/// Seconds after which the secret is read again: a new key signs by then, and one that was removed opens nothing.
const MAX_AGE: i64 = 300;
/// Seconds between two looks into the secret for a key that is unknown, or after one that failed.
const REFRESH: i64 = 60;

/// Bytes of the shortest key. (RFC 7518, section 3.2.)
const SHORTEST_SECRET: usize = 32;

/// A job token's claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobClaims {
    iss: String,
    /// The job.
    pub sub: Uuid,
    /// The attempt: an earlier one is fenced off.
    pub att: u32,
    iat: i64,
    exp: i64,
    /// In a file token: the one file that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// In an input token: the one input that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Uuid>,
}

impl JobClaims {
    /// Claims for the job's present attempt. The same attempt always gets the same ones. They outlive its deadline by the
    /// upload window (seconds).
    pub fn of_attempt(job: &Job, upload_window: i64) -> Option<Self> {
        Some(Self {
            iss: ISSUER.to_owned(),
            sub: job.job_id,
            att: job.attempt,
            iat: job.started_at?.seconds(),
            exp: job.deadline_at?.plus_seconds(upload_window).seconds(),
            filename: None,
            input: None,
        })
    }

    /// When the attempt was claimed, to the second.
    pub fn claimed_at(&self) -> Timestamp {
        Timestamp::from_millis(self.iat * 1000)
    }

    /// When the token ends.
    pub fn ends_at(&self) -> Timestamp {
        Timestamp::from_millis(self.exp * 1000)
    }

    /// The attempt's deadline, to the second.
    pub fn deadline(&self, upload_window: i64) -> Timestamp {
        self.ends_at().plus_seconds(-upload_window)
    }

    /// The claims, when they open the whole job: the token of a file or of an input does not.
    pub fn for_job(self) -> Result<Self> {
        if self.filename.is_none() && self.input.is_none() { Ok(self) } else { Err(Error::bad_job_token()) }
    }

    /// The claims, when they open the upload of some file: the token of an input does not.
    pub fn for_upload(self) -> Result<Self> {
        if self.input.is_none() { Ok(self) } else { Err(Error::bad_job_token()) }
    }

    /// The claims, when they open this input.
    pub fn for_download_of(self, input_id: Option<Uuid>) -> Result<Self> {
        match self.input {
            None => self.for_job(),
            of if of == input_id => Ok(self),
            Some(_) => Err(Error::bad_job_token()),
        }
    }

    /// The same, for one file only.
    pub fn for_file(&self, filename: &str) -> Self {
        Self { filename: Some(filename.to_owned()), ..self.clone() }
    }

    /// The same, for one input only.
    pub fn for_input(&self, input_id: Uuid) -> Self {
        Self { input: Some(input_id), ..self.clone() }
    }
}

/// The secret: `{"current": kid, kid: secret, …}`. The current key signs, all of them verify.
#[derive(Debug)]
pub struct JobTokenKeys {
    header: Header,
    signing: EncodingKey,
    secrets: HashMap<String, String>,
}

impl JobTokenKeys {
    /// Parses the secret's document. A key that is too short makes all of it unusable: it would let in whoever guesses it.
    pub fn parse(document: &str) -> Option<Self> {
        let mut secrets: HashMap<String, String> = serde_json::from_str(document).ok()?;
        let current = secrets.remove("current")?;
        let signing = EncodingKey::from_secret(secrets.get(&current)?.as_bytes());
        let header = Header { kid: Some(current), ..Header::new(Algorithm::HS256) };
        let good = secrets.values().all(|secret| secret.len() >= SHORTEST_SECRET);
        good.then_some(Self { header, signing, secrets })
    }

    /// Signs with the current key.
    pub fn sign(&self, claims: &JobClaims) -> Result<String> {
        encode(&self.header, claims, &self.signing).map_err(|error| Error::internal("job token: sign", error))
    }

    /// The claims, when a known key signed them and they have not expired.
    fn verify(&self, token: &str, now: Timestamp) -> Option<JobClaims> {
        let secret = self.secrets.get(&decode_header(token).ok()?.kid?)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[ISSUER]);
        // Expiry is checked against the request's own time.
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims = decode::<JobClaims>(token, &key, &validation).ok()?.claims;
        (claims.exp > now.seconds()).then_some(claims)
    }
}

/// The keys, read from Secrets Manager when first needed, and again when they are old or a token names one that is unknown.
#[derive(Debug)]
pub struct JobTokens {
    client: Lazy<aws_sdk_secretsmanager::Client>,
    secret: String,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    keys: Option<Arc<JobTokenKeys>>,
    /// When they have to be read again.
    stale_at: Option<Timestamp>,
    /// When a token's unknown key was last looked for.
    looked_at: Option<Timestamp>,
}

impl JobTokens {
    /// Nothing is read yet.
    pub fn new(client: Lazy<aws_sdk_secretsmanager::Client>, secret: String) -> Self {
        Self { client, secret, cached: Mutex::default() }
    }

    /// The keys, not older than [`MAX_AGE`] unless Secrets Manager is out of reach. Call it beside the first engine call: a cold
    /// start then waits for one round trip, not for two.
    pub async fn keys_at(&self, now: Timestamp) -> Result<Arc<JobTokenKeys>> {
        let (keys, stale) = {
            let cached = self.cached();
            (cached.keys.clone(), cached.stale_at.is_none_or(|at| now >= at))
        };
        match keys {
            Some(keys) if !stale => Ok(keys),
            Some(keys) => Ok(self.read(now).await.unwrap_or_else(|error| {
                tracing::warn!(cause = ?error.cause(), "the keys of job tokens could not be read again");
                self.cached().stale_at = Some(now.plus_seconds(REFRESH));
                keys
            })),
            None => self.read(now).await,
        }
    }

    /// The keys that the request has verified its token with.
    pub async fn keys(&self) -> Result<Arc<JobTokenKeys>> {
        let cached = self.cached().keys.clone();
        match cached {
            Some(keys) => Ok(keys),
            None => self.read(Timestamp::system()).await,
        }
    }

    /// The claims of a good token for this job. 401 for any other: which check failed is nobody's business.
    pub async fn verify(&self, token: &str, job_id: Option<Uuid>, now: Timestamp) -> Result<JobClaims> {
        let mut keys = self.keys_at(now).await?;
        let kid = decode_header(token).ok().and_then(|header| header.kid).ok_or_else(Error::bad_job_token)?;
        if !keys.secrets.contains_key(&kid) && self.may_look_again(now) {
            keys = self.read(now).await?;
        }
        keys.verify(token, now).filter(|claims| Some(claims.sub) == job_id).ok_or_else(Error::bad_job_token)
    }

    /// Whether an unknown key may be looked for: once in a while, or anybody's nonsense would cost a call each time.
    fn may_look_again(&self, now: Timestamp) -> bool {
        let mut cached = self.cached();
        let may = cached.looked_at.is_none_or(|last| now >= last.plus_seconds(REFRESH));
        if may {
            cached.looked_at = Some(now);
        }
        may
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, now: Timestamp) -> Result<Arc<JobTokenKeys>> {
        let request = self.client.get_secret_value().secret_id(&self.secret);
        let answer = request.send().await.context("job token: GetSecretValue")?;
        let keys = answer.secret_string().and_then(JobTokenKeys::parse);
        let keys = Arc::new(keys.ok_or_else(|| Error::internal("job token: the secret", "is not a key document"))?);
        let mut cached = self.cached();
        cached.keys = Some(keys.clone());
        cached.stale_at = Some(now.plus_seconds(MAX_AGE));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn keys() -> JobTokenKeys {
        JobTokenKeys::parse(
            r#"{"current":"k2","k1":"the first secret of 32 bytes: 0123","k2":"the second secret of 32 bytes: 012"}"#,
        )
        .expect("a key document")
    }

    fn claims() -> JobClaims {
        let (iat, exp) = (NOW.seconds(), NOW.seconds() + 10);
        let iss = ISSUER.to_owned();
        JobClaims { iss, sub: Uuid::from_u128(7), att: 1, iat, exp, filename: None, input: None }
    }

    fn forge(header: serde_json::Value, claims: &impl Serialize, secret: &str) -> String {
        let header: Header = serde_json::from_value(header).expect("a header");
        encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signs")
    }

    #[test]
    fn a_token_verifies_with_every_live_key_until_it_expires() {
        let token = keys().sign(&claims()).expect("signs");
        assert_eq!(keys().verify(&token, NOW), Some(claims()));
        assert_eq!(keys().verify(&token, NOW.plus_seconds(9)), Some(claims()));
        assert_eq!(keys().verify(&token, NOW.plus_seconds(10)), None);
        let older = forge(json!({"alg": "HS256", "kid": "k1"}), &claims(), "the first secret of 32 bytes: 0123");
        assert_eq!(keys().verify(&older, NOW), Some(claims()));
    }

    #[test]
    fn a_short_key_makes_the_document_unusable() {
        for short in ["", "0123456789abcdef0123456789abcde"] {
            let document = format!(r#"{{"current":"k1","k1":"0123456789abcdef0123456789abcdef","k2":"{short}"}}"#);
            assert!(JobTokenKeys::parse(&document).is_none(), "{short:?}");
        }
    }

    #[test]
    fn forged_and_broken_tokens_do_not() {
        let good = keys().sign(&claims()).expect("signs");
        let [_, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        // {"alg":"none","kid":"k2"}
        let none = format!("eyJhbGciOiJub25lIiwia2lkIjoiazIifQ.{payload}.");
        let mut missing = serde_json::to_value(claims()).expect("JSON");
        missing.as_object_mut().expect("an object").remove("att");
        for bad in [
            none.clone(),
            format!("{none}{signature}"),
            forge(json!({"alg": "HS256", "kid": "k2"}), &claims(), "the first secret of 32 bytes: 0123"),
            forge(json!({"alg": "HS256", "kid": "k3"}), &claims(), "the second secret of 32 bytes: 012"),
            forge(json!({"alg": "HS256"}), &claims(), "the second secret of 32 bytes: 012"),
            forge(json!({"alg": "HS384", "kid": "k2"}), &claims(), "the second secret of 32 bytes: 012"),
            forge(json!({"alg": "HS256", "kid": "k2"}), &missing, "the second secret of 32 bytes: 012"),
            forge(
                json!({"alg": "HS256", "kid": "k2"}),
                &JobClaims { iss: "else".to_owned(), ..claims() },
                "the second secret of 32 bytes: 012",
            ),
            good[..good.len() - 1].to_owned(),
            good.replace('.', " "),
            String::new(),
        ] {
            assert_eq!(keys().verify(&bad, NOW), None, "{bad}");
        }
    }
}
