//! Who signed a request.

use std::sync::Arc;

use hyper::{Request, body::Incoming, header::AUTHORIZATION};

use crate::calls::{Caller, Callers};

/// Who signed a request.
pub(super) enum Signer {
    Function(Arc<Caller>),
    /// Nobody now: the URL was presigned, by this function.
    Presigned(Option<String>),
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
                Self::Presigned(key(query).and_then(|key| callers.function(&key)))
            }
            _ => Self::Outside,
        }
    }

    /// The function whose rights the call has.
    pub(super) fn function(&self) -> Option<&str> {
        match self {
            Self::Function(caller) => Some(&caller.function),
            Self::Presigned(function) => function.as_deref(),
            Self::Outside => None,
        }
    }
}
