//! What clients send. The endpoints read these bodies by hand, so that an error names every field that is wrong; here they are
//! written down. A field that is described as optional may also be null.

#![expect(dead_code, reason = "only the schemas are read")]

use shared::job::PortMapping;
use utoipa::ToSchema;

/// Any JSON object: the job's arguments.
#[derive(ToSchema)]
pub struct Arguments {
    /// Gigabytes of disk, stored as a whole number. 10 unless the job asks for more.
    #[schema(exclusive_minimum = 10, exclusive_maximum = 1000)]
    _disk_gb: Option<f64>,
}

/// Where the miner runs the job.
#[derive(ToSchema)]
pub struct Claim {
    /// The miner's name for the instance.
    instance_id: Option<String>,
    /// Where on earth.
    region: Option<String>,
    /// How to reach it.
    host: Option<String>,
    /// Has to cover the ports that the job asks for.
    port_mappings: Option<Vec<PortMapping>>,
}

/// A sign of life. The first one opts in to a short lease: 90 seconds after each.
#[derive(ToSchema)]
pub struct Heartbeat {
    /// How far the job is.
    #[schema(minimum = 0, maximum = 1)]
    progress: Option<f64>,
}

/// How a job came out.
#[derive(ToSchema)]
pub struct Report {
    /// `error` unless the miner says otherwise.
    #[schema(inline, value_type = Reported, required = false)]
    status: Option<Reported>,
    /// Any JSON, at most 128 KiB.
    #[schema(value_type = Option<Value>)]
    result: Option<()>,
    /// What went wrong. Kept to 16 KiB, cut in the middle.
    detail: Option<String>,
    /// The files that the miner will upload, at most 1,000.
    #[schema(max_items = 1000)]
    output_filenames: Option<Vec<Filename>>,
    /// The same with what is known of each file. S3 then refuses any other bytes. A name may be in both lists.
    #[schema(max_items = 1000)]
    output_files: Option<Vec<DeclaredFile>>,
}

/// What a miner may report.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Reported {
    Complete,
    Error,
    Cancelled,
}

/// A relative path. Segments are not empty, `.` or `..`; no backslash and no control characters. At most 926 bytes: with what
/// goes before it, a key in S3 has 1,024.
#[derive(ToSchema)]
#[schema(
    pattern = r"^(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f\x7f-\x9f]+)*$",
    min_length = 1,
    max_length = 926
)]
pub struct Filename(String);

/// A file that a miner will upload.
#[derive(ToSchema)]
pub struct DeclaredFile {
    /// Its name.
    filename: Filename,
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

/// One of the job's files, to get a fresh upload target for it. What else it says replaces what was declared.
#[derive(ToSchema)]
pub struct Renewal {
    /// The file's name.
    path: String,
    /// Bytes, up to 5 TiB.
    #[schema(minimum = 0, maximum = 5497558138880_i64)]
    size: Option<u64>,
    /// SHA-256 in hex.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    /// A media type of at most 80 printable ASCII characters.
    #[schema(pattern = "^[ -~]*/[ -~]*$", max_length = 80)]
    content_type: Option<String>,
    /// Bytes of each part: 5 MiB to 5 GiB, and not more than 10,000 of them.
    #[schema(minimum = 5242880, maximum = 5368709120_i64)]
    part_size: Option<u64>,
}

/// A small file.
#[derive(ToSchema)]
pub struct UploadForm {
    /// The bytes: at most 4 MiB.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// The file's name, as it was reported.
    path: String,
}
