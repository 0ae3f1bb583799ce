//! What a miner may say of a file before it uploads it: size, hash, media type, size of the parts.

use std::ops::RangeInclusive;

use serde_json::Value;
use utoipa::ToSchema;

use super::parts::{LARGEST_PART, MOST_PARTS, SMALLEST_PART};
use crate::{error::Invalid, model::OutputFile};

/// Bytes of the largest object in S3: 5 TiB. ("Amazon S3 multipart upload limits".)
const LARGEST_FILE: u64 = 5 << 40;
/// Bytes of the longest media type that is recorded: an office document's has 73.
pub const LONGEST_TYPE: usize = 80;

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

/// A whole number, also one that is written `5.0`: JSON has one kind of number.
fn whole(value: &Value) -> Option<u64> {
    let float = |float: &f64| float.fract() == 0.0 && (0.0..=(1_u64 << 53) as f64).contains(float);
    value.as_u64().or_else(|| value.as_f64().filter(float).map(|float| float as u64))
}

/// A relative path. Segments are not empty, `.` or `..`; no backslash and no control characters. At most 926 bytes: with what
/// goes before it, a key in S3 has 1,024.
#[derive(Debug, ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$",
    min_length = 1,
    max_length = 926
)]
#[expect(dead_code, reason = "the schema of a name")]
pub struct Filename(String);

/// What may be declared of a file. Every field may be left out or null.
#[derive(Debug, Default, ToSchema)]
pub struct Declaration {
    /// Bytes, up to 5 TiB.
    #[schema(minimum = 0, maximum = 5497558138880_i64)]
    size: Option<u64>,
    /// SHA-256 in hex.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    /// A media type of at most 80 printable ASCII characters.
    #[schema(pattern = "^[ -~]*/[ -~]*$", max_length = 80)]
    content_type: Option<String>,
    /// Bytes of each part of a file that goes in parts: 5 MiB to 5 GiB, and not more than 10,000 of them.
    #[schema(minimum = 5242880, maximum = 5368709120_i64)]
    part_size: Option<u64>,
}

impl Declaration {
    fn read(declared: &Value, known: &OutputFile) -> Result<Self, Problem> {
        const PART_SIZE: &str = "must be a whole number of bytes from 5 MiB to 5 GiB";
        let field = |name: &str| declared.get(name).filter(|value| !value.is_null());
        let bytes = |name: &'static str, problem: &str, good: RangeInclusive<u64>| match field(name) {
            None => Ok(None),
            Some(value) => match whole(value).filter(|bytes| good.contains(bytes)) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(Problem::of(declared, name, problem)),
            },
        };
        let string = |name: &'static str, problem: &str, is_good: fn(&str) -> bool| match field(name) {
            None => Ok(None),
            Some(value) => match value.as_str().filter(|text| is_good(text)) {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(Problem::of(declared, name, problem)),
            },
        };
        let size = bytes("size", "must be a whole number of bytes up to 5 TiB", 0..=LARGEST_FILE)?;
        let part_size = bytes("part_size", PART_SIZE, SMALLEST_PART..=LARGEST_PART)?;
        if let (Some(size), Some(part_size)) = (size.or(known.size), part_size.or(known.part_size))
            && size.div_ceil(part_size) > MOST_PARTS
        {
            return Err(Problem::of(declared, "part_size", "must not make more than 10,000 parts"));
        }
        let is_sha256 = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_type = |text: &str| {
            text.len() <= LONGEST_TYPE && text.contains('/') && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        Ok(Self {
            size,
            part_size,
            sha256: string("sha256", "must be 64 hex digits", is_sha256)?.map(|text| text.to_ascii_lowercase()),
            content_type: string("content_type", "must be a media type of at most 80 characters", is_type)?,
        })
    }
}

/// The file with what is declared of it. What is known already holds for what is not declared.
pub fn declare(declared: &Value, known: OutputFile) -> Result<OutputFile, Problem> {
    let told = Declaration::read(declared, &known)?;
    Ok(OutputFile {
        size: told.size.or(known.size),
        part_size: told.part_size.or(known.part_size),
        sha256: told.sha256.or(known.sha256),
        content_type: told.content_type.or(known.content_type),
        ..known
    })
}
