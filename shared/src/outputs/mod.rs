//! Output files in S3: the bucket, presigned URLs, uploads in parts, envelopes, and the check of what has arrived.

mod bucket;
mod check;
pub mod declaration;
pub mod envelope;
mod multipart;
mod parts;
mod payloads;
mod presign;
mod unwrap;

pub use bucket::{Bucket, Head, Object, Presigned, Presigner};
pub use check::{Seen, check_files, tidy};
pub use multipart::MultipartUpload;
pub use parts::{ArrivedParts, PARTS_IN_AN_ANSWER, Part, is_in_parts, missing_parts, parts};
pub use presign::Signer;
