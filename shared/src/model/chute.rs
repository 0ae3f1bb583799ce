//! A chute: an application that jobs run on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// An application that jobs run on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chute {
    /// The chute's id.
    pub chute_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its host name's first label.
    #[serde(default)]
    pub slug: Option<String>,
    /// Whether everybody may create jobs on it.
    pub public: bool,
    /// Users who may, when it is not public.
    #[serde(default)]
    pub shared_with: BTreeSet<Uuid>,
    /// Version of its code.
    pub version: String,
    /// Version of the SDK that it was built with.
    #[serde(default)]
    pub chutes_version: Option<String>,
    /// Whether its instances may be taken away.
    #[serde(default)]
    pub preemptible: bool,
    /// The image that it runs.
    #[serde(default)]
    pub image: Option<Image>,
    /// The hardware that it asks for, as miners read it: an object of at most 4 KiB of JSON.
    #[serde(default)]
    pub node_selector: Option<Value>,
    /// Its jobs wait in shards, for more than 500 a second. It cannot become false again: jobs wait in the shards.
    #[serde(default)]
    pub busy: bool,
    /// Its jobs.
    pub methods: Vec<Method>,
}

/// A container image.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The image's id.
    pub image_id: String,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// Whether everybody may use it.
    #[serde(default)]
    pub public: bool,
    /// Its patch level.
    #[serde(default)]
    pub patch_version: Option<String>,
}

/// One kind of job of a chute, as the SDK's `@chute.job(…)` declares it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its name: the last segment of the create route.
    pub name: String,
    /// Seconds that a job may run: 30 s to 24 h. None: the deployment's longest.
    #[serde(default)]
    pub timeout: Option<u32>,
    /// How often a job that was lost is tried again.
    #[serde(default)]
    pub retry: u32,
    /// Days that a job is kept when it is over, if those are fewer than the deployment's: 1 to 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Whether a job that its miner reports as `error` is tried again, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_errors: bool,
    /// Ports that the miner has to open.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Whether it uploads output files, as the SDK declares it. Taken and kept; what a miner reports decides.
    #[serde(default)]
    pub upload: bool,
}

/// A port that a job listens on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What it is for.
    #[serde(default)]
    pub name: Option<String>,
    /// Its number inside the container.
    pub port: u16,
    /// `tcp`, `udp` or `http`.
    pub proto: String,
}

/// What a job remembers of its chute.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChuteSnapshot {
    /// The chute's name.
    pub name: String,
    /// Whether it was public.
    pub public: bool,
    /// Its version.
    pub version: String,
    /// Its host name's first label.
    pub slug: Option<String>,
    /// The SDK's version.
    pub chutes_version: Option<String>,
    /// Whether its instances may be taken away.
    pub preemptible: bool,
    /// Its image.
    pub image: Option<Image>,
}

impl From<Chute> for ChuteSnapshot {
    fn from(chute: Chute) -> Self {
        Self {
            name: chute.name,
            public: chute.public,
            version: chute.version,
            slug: chute.slug,
            chutes_version: chute.chutes_version,
            preemptible: chute.preemptible,
            image: chute.image,
        }
    }
}

impl Chute {
    /// Whether `user_id` may create jobs on it.
    pub fn is_open_to(&self, user_id: Uuid) -> bool {
        self.public || self.user_id == user_id || self.shared_with.contains(&user_id)
    }

    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }
}
