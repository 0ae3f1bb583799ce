//! The credentials that the stack's engines know.

use std::sync::LazyLock;

/// An access key for everybody who is not a function: its calls are neither counted nor made to fail.
pub const ACCESS_KEY_ID: &str = "LOCALTEST";
/// The secret of every access key of a stack that keeps nothing. One with a folder for its data has its own.
pub const SECRET_ACCESS_KEY: &str = "local/secret/of/every/access/key/0000000";

/// The session token of every function. As long as Lambda's, and a URL escapes as much of it: one in 32 characters of Base64, and
/// a run of slashes. So presigned URLs have their real length.
pub static SESSION_TOKEN: LazyLock<String> =
    LazyLock::new(|| format!("IQoJb3JpZ2luX2VjE{}", "TheLocalStackGives/ThisToFunctions+00000".repeat(24)));
