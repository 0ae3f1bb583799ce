//! Secrets Manager: the two calls that reading and rotating a secret need.

use std::{
    collections::BTreeMap,
    fs,
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
            secrets.save()?;
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
        let mut answer = json!({"ARN": arn, "Name": secret.name, "VersionStages": ["AWSCURRENT"]});
        match (operation, request["SecretString"].as_str()) {
            ("GetSecretValue", _) => answer["SecretString"] = secret.value.as_str().into(),
            ("PutSecretValue", Some(value)) => {
                secret.value = value.to_owned();
                secret.version = Uuid::new_v4().to_string();
            }
            _ => return error(400, "InvalidRequestException", "The local stack can't honour this request."),
        }
        answer["VersionId"] = secret.version.as_str().into();
        drop(stored);
        match self.save() {
            Ok(()) => server::answer(200, CONTENT_TYPE, answer.to_string()),
            Err(_) => error(500, "InternalServiceError", "The secret could not be saved."),
        }
    }

    fn save(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&*self.lock()).context("can't write secrets")?;
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
