//! Secrets Manager: the two calls that reading and rotating a secret need.

use std::{
    collections::BTreeMap,
    fs, mem,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use hyper::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    disk,
    server::{self, Body},
    template::{Secret, SecretValue},
};

/// Of the JSON protocol.
pub(crate) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// One secret's current version.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Stored {
    name: String,
    version: String,
    value: String,
}

/// Every secret, by ARN.
#[derive(Debug)]
pub(crate) struct Secrets {
    stored: Mutex<BTreeMap<String, Stored>>,
    file: Option<PathBuf>,
}

impl Secrets {
    /// Makes the template's secrets, or finds them in `folder` from the last time.
    pub(crate) fn open(template: &[Secret], folder: Option<&Path>) -> Result<Self> {
        let file = folder.map(|folder| folder.join("secrets.json"));
        let mut stored: BTreeMap<String, Stored> = match &file {
            Some(file) if file.exists() => {
                let text = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("can't use {}", file.display()))?
            }
            _ => BTreeMap::new(),
        };
        let known = stored.len();
        for secret in template {
            stored.entry(secret.arn.clone()).or_insert_with(|| Stored {
                name: secret.name.clone(),
                version: Uuid::new_v4().to_string(),
                value: first_value(&secret.value),
            });
        }
        let is_new = stored.len() > known;
        let secrets = Self { stored: Mutex::new(stored), file };
        if is_new {
            secrets.save(&secrets.lock())?;
        }
        Ok(secrets)
    }

    /// Serves one operation of the JSON protocol.
    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> Response<Body> {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = request["SecretId"].as_str().unwrap_or_default();
        let mut stored = self.lock();
        let Some((arn, secret)) = stored.iter_mut().find(|(arn, secret)| *arn == id || secret.name == id) else {
            return error(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
        };
        let arn = arn.clone();
        let mut answer = json!({"ARN": arn, "Name": secret.name, "VersionStages": ["AWSCURRENT"]});
        match (operation, request["SecretString"].as_str()) {
            ("GetSecretValue", _) => {
                answer["SecretString"] = secret.value.as_str().into();
                answer["VersionId"] = secret.version.as_str().into();
            }
            ("PutSecretValue", Some(value)) => {
                let new =
                    Stored { name: secret.name.clone(), version: Uuid::new_v4().to_string(), value: value.to_owned() };
                answer["VersionId"] = new.version.as_str().into();
                let former = mem::replace(secret, new);
                if self.save(&stored).is_err() {
                    stored.insert(arn, former);
                    return error(500, "InternalServiceError", "The secret could not be saved.");
                }
            }
            _ => return error(400, "InvalidRequestException", "The local stack can't honour this request."),
        }
        server::answer(200, CONTENT_TYPE, answer.to_string())
    }

    /// Who calls it has them locked: what one saves, no other writes over with what was before.
    fn save(&self, stored: &BTreeMap<String, Stored>) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec_pretty(stored).context("can't write secrets")?;
        disk::replace(file, &text).with_context(|| format!("can't write {}", file.display()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Stored>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn error(status: u16, kind: &str, message: &str) -> Response<Body> {
    server::answer(status, CONTENT_TYPE, json!({"__type": kind, "message": message}).to_string())
}

fn first_value(value: &SecretValue) -> String {
    match value {
        SecretValue::Given(value) => value.clone(),
        SecretValue::Generated { length, into } => {
            let mut password = String::new();
            while password.len() < *length {
                password.push_str(&Uuid::new_v4().simple().to_string());
            }
            password.truncate(*length);
            match into {
                None => password,
                Some((template, key)) => {
                    let mut document = template.clone();
                    document.insert(key.clone(), password.into());
                    Value::Object(document).to_string()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn template() -> Vec<Secret> {
        let secret = |n| Secret {
            arn: format!("arn-{n}"),
            name: format!("secret-{n}"),
            value: SecretValue::Given("first".to_owned()),
        };
        (0..8).map(secret).collect()
    }

    fn put(secrets: &Secrets, name: &str, value: &str) -> u16 {
        let request = json!({"SecretId": name, "SecretString": value}).to_string();
        secrets.call("PutSecretValue", request.as_bytes()).status().as_u16()
    }

    fn values(secrets: &Secrets) -> Vec<String> {
        secrets.lock().values().map(|secret| secret.value.clone()).collect()
    }

    #[test]
    fn secrets_that_are_put_at_once_are_all_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = Secrets::open(&template(), Some(folder.path())).expect("secrets");
        for round in 0..20 {
            thread::scope(|scope| {
                for secret in template() {
                    let secrets = &secrets;
                    scope
                        .spawn(move || assert_eq!(put(secrets, &secret.name, &format!("{}-{round}", secret.arn)), 200));
                }
            });
            let reopened = Secrets::open(&template(), Some(folder.path())).expect("secrets");
            let all: Vec<_> = template().iter().map(|secret| format!("{}-{round}", secret.arn)).collect();
            assert_eq!(values(&reopened), all);
        }
    }

    #[test]
    fn a_secret_that_can_not_be_saved_is_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let secrets = Secrets::open(&template(), Some(folder.path())).expect("secrets");
        fs::remove_dir_all(folder.path()).expect("the folder");
        assert_eq!(put(&secrets, "secret-0", "second"), 500);
        assert!(values(&secrets).iter().all(|value| value == "first"));
    }
}
