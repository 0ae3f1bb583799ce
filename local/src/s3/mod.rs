//! S3: `s3s` speaks the protocol and verifies signatures, also presigned ones; versions, multipart uploads and listings
//! are here. Not `s3s-fs`: its file names can't hold a key over some 140 bytes, it keeps bytes whose checksum was wrong,
//! and has no versions.

mod authentication;
mod blobs;
mod checksums;
mod error;
mod index;
mod listings;
mod operations;
mod store;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow};
use hyper::{Request, Response};
use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    service::{S3Service, S3ServiceBuilder},
};

use crate::{disk, template};
pub(crate) use authentication::refusal;
use blobs::{Blobs, Settle};
pub(crate) use error::Refusal;
use index::Index;
pub(crate) use index::named_blobs;
pub(crate) use operations::Forbidden;
use store::Store;

/// The engine, ready to serve.
pub(crate) struct Engine(S3Service);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("s3::Engine")
    }
}

impl Engine {
    /// Opens the buckets, with their bytes in `folder`; what they hold is forgotten at the end unless `keep`. Every access key has the
    /// `secret`. The first `unversioned` objects get the version `null` though their bucket keeps versions.
    pub(crate) fn open(
        buckets: &[template::Bucket],
        folder: &Path,
        keep: bool,
        secret: &str,
        unversioned: u64,
    ) -> Result<Self> {
        let settle: Option<Settle> = keep.then(|| Arc::new(disk::settle) as _);
        let blobs = Blobs::open(&folder.join("objects"), settle)?;
        let index = Index::open(keep.then(|| folder.join("s3.sqlite")).as_deref())?;
        if keep {
            let named = index.blobs().context("can't read the index of S3")?;
            blobs.sweep(&named).context("can't tidy up the objects of S3")?;
        }
        let buckets = buckets.iter().map(|bucket| (bucket.name.clone(), bucket.versioned)).collect();
        let mut service = S3ServiceBuilder::new(Store { buckets, unversioned: unversioned.into(), index, blobs });
        service.set_auth(AnyKey(SecretKey::from(secret)));
        Ok(Self(service.build()))
    }

    /// Serves one request.
    pub(crate) async fn call(&self, request: Request<s3s::Body>) -> Result<Response<s3s::Body>> {
        self.0.call(request).await.map_err(|error| anyhow!("{error:?}")).context("S3")
    }
}

/// Every access key has the one secret, so what an environment presigned outlives it.
struct AnyKey(SecretKey);

#[async_trait::async_trait]
impl S3Auth for AnyKey {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests;
