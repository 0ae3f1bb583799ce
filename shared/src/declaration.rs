//! What a miner may say of a file before it uploads it: size, hash, media type, size of the parts.

use serde_json::Value;

use crate::{
    error::Invalid,
    job::OutputFile,
    uploads::{PARTS_LIMIT, SMALLEST_PART},
};

/// Bytes of the largest object in S3: 5 TiB. ("Amazon S3 multipart upload limits".)
const LARGEST_FILE: u64 = 5 << 40;
/// Bytes of the largest part, and of the largest object in one PUT: 5 GiB.
const LARGEST_PART: u64 = 5 << 30;
/// Bytes of the longest media type.
const LONGEST_TYPE: usize = 60;

/// A field of a declaration that cannot be.
#[derive(Debug)]
pub struct Problem {
    field: &'static str,
    message: String,
    input: Value,
}

impl Problem {
    /// A problem with one field.
    pub fn of(declared: &Value, field: &'static str, problem: &str) -> Self {
        let input = declared.get(field).cloned().unwrap_or_default();
        Self { field, message: format!("{field} {problem}"), input }
    }

    /// The same as a validation error; `loc` is where the declaration stands.
    pub fn at(self, mut loc: Vec<Value>) -> Invalid {
        loc.push(self.field.into());
        Invalid::value(loc, self.message, self.input)
    }
}

/// Reads a declaration of the file `name`. Every field may be missing or null.
pub fn parse(declared: &Value, name: &str) -> Result<OutputFile, Problem> {
    let field = |name: &str| declared.get(name).filter(|value| !value.is_null());
    let checked = |name: &'static str, problem: &str, good: Option<String>| match (field(name), good) {
        (Some(_), None) => Err(Problem::of(declared, name, problem)),
        (_, good) => Ok(good),
    };
    let bytes = |name: &'static str, problem: &str, most: u64| match field(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().filter(|bytes| *bytes <= most) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Problem::of(declared, name, problem)),
        },
    };
    let size = bytes("size", "must be a whole number of bytes up to 5 TiB", LARGEST_FILE)?;
    let part_size = bytes("part_size", "must be a whole number of bytes from 5 MiB to 5 GiB", LARGEST_PART)?;
    if let Some(part_size) = part_size {
        if part_size < SMALLEST_PART {
            return Err(Problem::of(declared, "part_size", "must be a whole number of bytes from 5 MiB to 5 GiB"));
        }
        if size.is_some_and(|size| size.div_ceil(part_size) > PARTS_LIMIT) {
            return Err(Problem::of(declared, "part_size", "must not make more than 10,000 parts"));
        }
    }
    let is_sha256 = |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sha256 = field("sha256").and_then(Value::as_str).filter(is_sha256).map(str::to_ascii_lowercase);
    let sha256 = checked("sha256", "must be 64 hex digits", sha256)?;
    let is_type = |text: &&str| {
        text.len() <= LONGEST_TYPE && text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    let content_type = field("content_type").and_then(Value::as_str).filter(is_type).map(str::to_owned);
    let content_type = checked("content_type", "must be a media type of at most 60 characters", content_type)?;
    Ok(OutputFile { filename: name.to_owned(), size, sha256, content_type, part_size, ..OutputFile::default() })
}
