//! What a request proves of its caller, and the caller that the registry knows by it.

use lambda_http::{Request, RequestExt, http::Method};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{api_key::ApiKey, hotkey, user_jwt::UserJwtKeys};
use crate::{
    error::{Error, Result},
    http::request::{header, now},
    model::{HotkeyRow, KeyRow, Role, User},
    tables::{Found, Read, jobs::ReplayGuard},
};

/// Seconds by which a hotkey's nonce may be off.
const NONCE_WINDOW: u64 = 600;

const MISSING: &str = "Missing or invalid authorization header(s)";
const UNKNOWN: &str = "Invalid token or user not found";

/// What a request proves before the registry is asked.
#[derive(Debug)]
pub enum Credentials {
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
    /// 403 unless the account is a miner's.
    pub fn require_miner(&self) -> Result<()> {
        if self.user.roles.contains(&Role::Miner) {
            Ok(())
        } else {
            Err(Error::Forbidden("Only accounts with the miner role may do this".to_owned()))
        }
    }

    /// How a job remembers who claimed it: the hotkey, or the account of a miner that signs with a key.
    pub fn miner(&self) -> String {
        self.hotkey.clone().unwrap_or_else(|| self.user.user_id.to_string())
    }
}

impl Credentials {
    /// Checks form, time and signature. Nothing is read.
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
            _ => format!("{hotkey}:{text}:{}:{}", request.method(), request.raw_http_path()),
        };
        if !hotkey::verify(hotkey, &message, signature) {
            return Err(Error::unauthorized(MISSING));
        }
        // Hex has two spellings of one signature.
        let signed = Sha256::digest(signature.to_ascii_lowercase()).into();
        let used_for = format!("{} {}", request.method(), request.raw_http_path());
        Ok(Self::Hotkey { hotkey: hotkey.to_owned(), nonce, signed, used_for })
    }

    /// Adds the rows that tell whose these credentials are.
    pub(super) fn ask(&self, read: &mut Read) {
        match self {
            Self::Hotkey { hotkey, .. } => read.row::<HotkeyRow>(hotkey),
            Self::ApiKey(key) => {
                read.row::<KeyRow>(&key.key_id);
                read.row::<User>(&key.user_id);
            }
            Self::UserJwt(user_id) => read.row::<User>(user_id),
        }
    }

    /// The user these credentials speak for, as far as known before the registry has answered.
    pub(super) fn user_id(&self) -> Option<Uuid> {
        match self {
            Self::Hotkey { .. } => None,
            Self::ApiKey(key) => Some(key.user_id),
            Self::UserJwt(user_id) => Some(*user_id),
        }
    }

    /// The user whom a hotkey belongs to, out of what [`Self::ask`] asked for.
    pub(super) fn hotkey_user(&self, found: &Found) -> Result<Uuid> {
        let Self::Hotkey { hotkey, .. } = self else { return Err(Error::unauthorized(UNKNOWN)) };
        match found.row::<HotkeyRow>(hotkey)? {
            Some(row) if !row.revoked => Ok(row.user_id),
            _ => Err(Error::Unauthorized(format!("Could not find user with hotkey: {hotkey}").into())),
        }
    }

    /// The caller, from what was found. Revoked keys and disabled users are nobody.
    pub(super) fn caller(self, found: &Found) -> Result<Caller> {
        let nobody = || Error::unauthorized(UNKNOWN);
        let user_id = match &self {
            Self::ApiKey(key) => {
                let row = found.row::<KeyRow>(&key.key_id)?.ok_or_else(nobody)?;
                if !key.matches(row.hash.as_ref()) || row.revoked || row.user_id != key.user_id {
                    return Err(nobody());
                }
                row.user_id
            }
            Self::UserJwt(user_id) => *user_id,
            Self::Hotkey { .. } => self.hotkey_user(found)?,
        };
        let user = found.row::<User>(&user_id)?.filter(|user| !user.disabled).ok_or_else(nobody)?;
        Ok(match self {
            Self::Hotkey { hotkey, nonce, signed, used_for } => {
                let expires_at = nonce.saturating_add(2 * NONCE_WINDOW).try_into().unwrap_or(i64::MAX);
                Caller { user, hotkey: Some(hotkey), guard: Some(ReplayGuard { hash: signed, used_for, expires_at }) }
            }
            Self::ApiKey(_) | Self::UserJwt(_) => Caller { user, hotkey: None, guard: None },
        })
    }
}
