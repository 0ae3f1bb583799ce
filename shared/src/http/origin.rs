//! The secret header of whoever stands before the API: a CDN with a firewall that nobody should go around.

use lambda_http::Request;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::request::header;
use crate::{
    config::Environment,
    error::{Error, Result},
};

/// The header. CloudFront sends it with every request to its origin, and replaces one that a client sent. ("Add custom headers to
/// origin requests".)
const HEADER: &str = "x-origin-verify";

/// What a request has to bring, when the deployment says so: `ORIGIN_SECRET`, or while that is being replaced,
/// `ORIGIN_SECRET_PREVIOUS`. Only their hashes are kept, so that no line can show them and a comparison tells no length.
pub struct Origin(Vec<[u8; 32]>);

impl Origin {
    /// From any environment. Without a secret, everybody may come.
    pub fn read<F: Fn(&str) -> Option<String>>(env: &Environment<F>) -> Self {
        let current = env.optional("ORIGIN_SECRET");
        // One that was left behind when the check was switched off checks nothing.
        let previous = current.as_ref().and_then(|_| env.optional("ORIGIN_SECRET_PREVIOUS"));
        Self([current, previous].into_iter().flatten().map(|secret| Sha256::digest(secret).into()).collect())
    }

    /// 403 for a request that came another way.
    pub fn admit(&self, request: &Request) -> Result<()> {
        let brought = Sha256::digest(header(request, HEADER).unwrap_or_default());
        let known = self.0.iter().fold(Choice::from(0), |known, secret| known | secret.ct_eq(&brought));
        match self.0.is_empty() || known.into() {
            true => Ok(()),
            false => Err(Error::Forbidden("X-Origin-Verify is missing or wrong".to_owned())),
        }
    }
}
