//! Who signed a request.

use std::{sync::Arc, time::SystemTime};

use hyper::{Request, body::Incoming, header::AUTHORIZATION};

use crate::calls::{Caller, Callers, Issued};

/// Who signed a request.
pub(super) enum Signer {
    Function(Arc<Caller>),
    /// Nobody now: the URL was presigned, by a function with this key.
    Presigned(Option<Issued>),
    /// A test, an operator, or nobody.
    Outside,
}

impl Signer {
    /// By the access key, whether the signature is good or not.
    pub(super) fn of(request: &Request<Incoming>, callers: &Callers) -> Self {
        let key = |credential: &str| {
            let (_, credential) = credential.split_once("Credential=")?;
            // A slash, which a query has encoded.
            credential.split(['/', '%']).next().map(str::to_owned)
        };
        let header = request.headers().get(AUTHORIZATION).and_then(|value| key(value.to_str().ok()?));
        match (header, request.uri().query()) {
            (Some(key), _) => callers.find(&key).map_or(Self::Outside, Self::Function),
            (None, Some(query)) if query.contains("X-Amz-Signature=") => {
                Self::Presigned(key(query).and_then(|key| callers.issued(&key)))
            }
            _ => Self::Outside,
        }
    }

    /// The function whose rights the call has.
    pub(super) fn function(&self) -> Option<&str> {
        match self {
            Self::Function(caller) => Some(&caller.function),
            Self::Presigned(issued) => issued.as_ref().map(|issued| issued.function.as_str()),
            Self::Outside => None,
        }
    }

    /// Whether a URL has outlived the credentials that signed it.
    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        matches!(self, Self::Presigned(Some(issued)) if issued.until <= now)
    }
}
