//! Checksums that an upload declares, in headers or after the body, and that S3 verifies before it keeps a byte.

use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    dto::{Checksum, ChecksumAlgorithm},
    s3_error,
};
use serde::{Deserialize, Serialize};

/// Checksums in base64, those that the uploader asked for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl From<Checksum> for Checksums {
    fn from(sum: Checksum) -> Self {
        Self {
            crc32: sum.checksum_crc32,
            crc32c: sum.checksum_crc32c,
            crc64nvme: sum.checksum_crc64nvme,
            sha1: sum.checksum_sha1,
            sha256: sum.checksum_sha256,
        }
    }
}

/// What is known about a body before it arrives.
pub(super) struct Declared {
    pub(super) checksums: Checksums,
    pub(super) algorithm: Option<ChecksumAlgorithm>,
    pub(super) md5: Option<String>,
    pub(super) length: Option<i64>,
    pub(super) trailers: Option<TrailingHeaders>,
}

pub(super) fn hasher(declared: &Declared) -> S3Result<ChecksumHasher> {
    let algorithm = declared.algorithm.as_ref().map(ChecksumAlgorithm::as_str);
    let known = [
        ChecksumAlgorithm::CRC32,
        ChecksumAlgorithm::CRC32C,
        ChecksumAlgorithm::CRC64NVME,
        ChecksumAlgorithm::SHA1,
        ChecksumAlgorithm::SHA256,
    ];
    if algorithm.is_some_and(|name| !known.contains(&name)) {
        return Err(s3_error!(InvalidRequest, "Unsupported checksum algorithm"));
    }
    let wanted = |given: &Option<String>, name: &str| given.is_some() || algorithm == Some(name);
    let sums = &declared.checksums;
    Ok(ChecksumHasher {
        crc32: wanted(&sums.crc32, ChecksumAlgorithm::CRC32).then(Default::default),
        crc32c: wanted(&sums.crc32c, ChecksumAlgorithm::CRC32C).then(Default::default),
        crc64nvme: wanted(&sums.crc64nvme, ChecksumAlgorithm::CRC64NVME).then(Default::default),
        sha1: wanted(&sums.sha1, ChecksumAlgorithm::SHA1).then(Default::default),
        sha256: wanted(&sums.sha256, ChecksumAlgorithm::SHA256).then(Default::default),
    })
}

/// Checksums that came after the body.
pub(super) fn read_trailers(sums: &mut Checksums, trailers: Option<TrailingHeaders>) -> S3Result<()> {
    let Some(trailers) = trailers.and_then(|trailers| trailers.take()) else { return Ok(()) };
    let read = |name: &str, sum: &mut Option<String>| {
        if let Some(value) = trailers.get(name) {
            *sum = Some(value.to_str().map_err(|_| s3_error!(InvalidArgument))?.to_owned());
        }
        Ok::<_, s3s::S3Error>(())
    };
    read("x-amz-checksum-crc32", &mut sums.crc32)?;
    read("x-amz-checksum-crc32c", &mut sums.crc32c)?;
    read("x-amz-checksum-crc64nvme", &mut sums.crc64nvme)?;
    read("x-amz-checksum-sha1", &mut sums.sha1)?;
    read("x-amz-checksum-sha256", &mut sums.sha256)
}

pub(super) fn agree(declared: &Checksums, computed: &Checksums) -> S3Result<()> {
    let pairs = [
        ("CRC32", &declared.crc32, &computed.crc32),
        ("CRC32C", &declared.crc32c, &computed.crc32c),
        ("CRC64NVME", &declared.crc64nvme, &computed.crc64nvme),
        ("SHA1", &declared.sha1, &computed.sha1),
        ("SHA256", &declared.sha256, &computed.sha256),
    ];
    match pairs.into_iter().find(|(_, declared, computed)| declared.is_some() && declared != computed) {
        Some((name, ..)) => {
            Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."))
        }
        None => Ok(()),
    }
}
