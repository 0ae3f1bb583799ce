//! Output files in S3: the bucket, presigned URLs, uploads in parts, envelopes, and the check of what has arrived.

pub mod allowance;
mod bucket;
mod check;
pub mod declaration;
pub mod envelope;
mod inputs;
mod logs;
mod multipart;
mod origin;
mod parts;
mod payloads;
mod presign;
mod unwrap;
mod versions;

pub use bucket::{Bucket, Head, Object, Presigned, Presigner};
pub use check::{Seen, check_files, is_much_work, tidy};
pub use logs::{LogChunk, LogPlaces, LogTarget};
pub use multipart::MultipartUpload;
pub use parts::{
    ArrivedParts, PARTS_IN_AN_ANSWER, Part, cut, is_another, is_in_parts, is_replaced, missing_parts, parts,
};
pub use presign::Signer;
