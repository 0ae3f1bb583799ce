//! What a request proves of its caller, and the caller that the registry knows by it.

use std::sync::{Arc, Mutex, PoisonError};

use lambda_http::{Request, http::Method};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{api_key::ApiKey, hotkey, user_jwt::UserJwtKeys};
use crate::{
    error::{Error, Result},
    http::request::{header, now, own_path},
    model::{HotkeyRow, KeyRole, KeyRow, Role, User},
    tables::{Found, Read, jobs::ReplayGuard},
    time::Timestamp,
};

/// Seconds by which a hotkey's nonce may be off.
const NONCE_WINDOW: u64 = 600;

const MISSING: &str = "Missing or invalid authorization header(s)";
const UNKNOWN: &str = "Invalid token or user not found";

/// What a request proves before the registry is asked.
#[derive(Debug)]
pub struct Credentials {
    proof: Proof,
    /// What for.
    role: KeyRole,
    /// When.
    now: Timestamp,
    key_end: KeyEnd,
}

/// When the API key ends that the request under way has shown, if it does. The answer tells.
#[derive(Debug, Clone, Default)]
pub struct KeyEnd(Arc<Mutex<Option<Timestamp>>>);

impl KeyEnd {
    fn set(&self, end: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    /// Takes it out: the next request begins from nothing.
    pub fn take(&self) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a request shows.
#[derive(Debug)]
pub enum Proof {
    /// A valid signature by this hotkey, at this nonce. Whose hotkey it is, the registry knows.
    Hotkey {
        /// The SS58 address.
        hotkey: String,
        /// Unix seconds.
        nonce: u64,
        /// SHA-256 of the signature's bytes: one mutation per signature.
        signed: [u8; 32],
        /// The request's method and path.
        used_for: String,
    },
    /// An API key of the right form.
    ApiKey(ApiKey),
    /// A valid JWT of this user.
    UserJwt(Uuid),
}

/// Of which kind credentials are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Whose it is, is not known before the registry has answered.
    Hotkey,
    /// Anybody can make one up.
    ApiKey,
    /// Of this user, beyond doubt.
    UserJwt(Uuid),
}

/// An authenticated caller.
#[derive(Debug)]
pub struct Caller {
    /// The account.
    pub user: User,
    /// The hotkey that signed, when one did.
    pub hotkey: Option<String>,
    /// Lets its signature change something once.
    pub guard: Option<ReplayGuard>,
}

impl Caller {
    /// How a job remembers who claimed it: the hotkey, or the account of a miner that signs with a key.
    pub fn miner(&self) -> String {
        self.hotkey.clone().unwrap_or_else(|| self.user.user_id.to_string())
    }
}

impl Proof {
    /// Checks form, time and signature.
    pub fn verify(request: &Request, keys: &UserJwtKeys) -> Result<Self> {
        let missing = || Error::unauthorized(MISSING);
        let (hotkey, signature) = (header(request, "x-chutes-hotkey"), header(request, "x-chutes-signature"));
        if let (Some(hotkey), Some(signature)) = (hotkey, signature) {
            return Self::verify_hotkey(request, hotkey, signature);
        }
        // A header given twice arrives joined by a comma, which no key or token holds.
        let authorization = header(request, "authorization").filter(|text| !text.contains(',')).ok_or_else(missing)?;
        match authorization.split_ascii_whitespace().next_back() {
            Some(key) if key.starts_with("cpk_") => {
                ApiKey::parse(key).map(Self::ApiKey).ok_or_else(|| Error::unauthorized(UNKNOWN))
            }
            _ => {
                let token = authorization.strip_prefix("Bearer ").ok_or_else(missing)?;
                keys.verify(token.trim(), now(request)).map(Self::UserJwt)
            }
        }
    }

    fn verify_hotkey(request: &Request, hotkey: &str, signature: &str) -> Result<Self> {
        let text = header(request, "x-chutes-nonce").unwrap_or_default();
        let nonce = match text.parse::<u64>() {
            // `parse` takes a sign, which is not decimal ASCII digits.
            Ok(nonce) if text.bytes().all(|byte| byte.is_ascii_digit()) => nonce,
            _ => return Err(Error::unauthorized("Invalid nonce!")),
        };
        if nonce.abs_diff(now(request).seconds().max(0) as u64) >= NONCE_WINDOW {
            return Err(Error::unauthorized("Invalid nonce!"));
        }
        let message = match *request.method() {
            Method::POST | Method::PUT | Method::PATCH => {
                format!("{hotkey}:{text}:{}", hex::encode(Sha256::digest(request.body().as_ref())))
            }
            _ => format!("{hotkey}:{text}:{}:{}", request.method(), own_path(request)),
        };
        if !hotkey::verify(hotkey, &message, signature) {
            return Err(Error::unauthorized(MISSING));
        }
        // Hex has two spellings of one signature.
        let signed = Sha256::digest(signature.to_ascii_lowercase()).into();
        let used_for = format!("{} {}", request.method(), own_path(request));
        Ok(Self::Hotkey { hotkey: hotkey.to_owned(), nonce, signed, used_for })
    }
}

impl Credentials {
    /// Checks form, time and signature, for something that takes this role. Nothing is read.
    pub fn verify(request: &Request, keys: &UserJwtKeys, role: KeyRole, key_end: &KeyEnd) -> Result<Self> {
        key_end.take();
        let proof = Proof::verify(request, keys)?;
        Ok(Self { proof, role, now: now(request), key_end: key_end.clone() })
    }

    /// Of which kind they are.
    pub(super) const fn kind(&self) -> Kind {
        match self.proof {
            Proof::Hotkey { .. } => Kind::Hotkey,
            Proof::ApiKey(_) => Kind::ApiKey,
            Proof::UserJwt(user_id) => Kind::UserJwt(user_id),
        }
    }

    /// Adds the rows that tell whose these credentials are.
    pub(super) fn ask(&self, read: &mut Read) {
        match &self.proof {
            Proof::Hotkey { hotkey, .. } => read.row::<HotkeyRow>(hotkey),
            Proof::ApiKey(key) => {
                read.row::<KeyRow>(&key.key_id);
                read.row::<User>(&key.user_id);
            }
            Proof::UserJwt(user_id) => read.row::<User>(user_id),
        }
    }

    /// The user these credentials speak for, as far as known before the registry has answered.
    pub(super) fn user_id(&self) -> Option<Uuid> {
        match &self.proof {
            Proof::Hotkey { .. } => None,
            Proof::ApiKey(key) => Some(key.user_id),
            Proof::UserJwt(user_id) => Some(*user_id),
        }
    }

    /// The user whom a hotkey belongs to, out of what [`Self::ask`] asked for.
    pub(super) fn hotkey_user(&self, found: &Found) -> Result<Uuid> {
        let Proof::Hotkey { hotkey, .. } = &self.proof else { return Err(Error::unauthorized(UNKNOWN)) };
        match found.row::<HotkeyRow>(hotkey)? {
            Some(row) if !row.revoked => Ok(row.user_id),
            _ => Err(Error::Unauthorized(format!("Could not find user with hotkey: {hotkey}").into())),
        }
    }

    /// The caller, from what was found. Revoked keys and disabled users are nobody.
    pub(super) fn caller(self, found: &Found) -> Result<Caller> {
        let nobody = || Error::unauthorized(UNKNOWN);
        let user_id = match &self.proof {
            Proof::ApiKey(key) => {
                let row = found.row::<KeyRow>(&key.key_id)?.ok_or_else(nobody)?;
                let is_over = row.revoked || row.expires_at.is_some_and(|end| end <= self.now);
                if !key.matches(row.hash.as_ref()) || is_over || row.user_id != key.user_id {
                    return Err(nobody());
                }
                self.key_end.set(row.expires_at);
                if !row.roles().contains(&self.role) {
                    return Err(Error::Forbidden(format!(
                        "This API key does not have the role {}",
                        self.role.as_str()
                    )));
                }
                row.user_id
            }
            Proof::UserJwt(user_id) => *user_id,
            Proof::Hotkey { .. } => self.hotkey_user(found)?,
        };
        let user = found.row::<User>(&user_id)?.filter(|user| !user.disabled).ok_or_else(nobody)?;
        if self.role == KeyRole::Miner && !user.roles.contains(&Role::Miner) {
            return Err(Error::Forbidden("Only accounts with the miner role may do this".to_owned()));
        }
        Ok(match self.proof {
            Proof::Hotkey { hotkey, nonce, signed, used_for } => {
                let expires_at = nonce.saturating_add(2 * NONCE_WINDOW).try_into().unwrap_or(i64::MAX);
                Caller { user, hotkey: Some(hotkey), guard: Some(ReplayGuard { hash: signed, used_for, expires_at }) }
            }
            Proof::ApiKey(_) | Proof::UserJwt(_) => Caller { user, hotkey: None, guard: None },
        })
    }
}
