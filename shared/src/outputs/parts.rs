//! How a large file is cut in parts.

use std::collections::BTreeMap;

use crate::model::OutputFile;

/// Parts that have arrived: size and ETag by number.
pub type ArrivedParts = BTreeMap<i32, (u64, Option<String>)>;

/// Parts of one upload. ("Amazon S3 multipart upload limits".)
pub(super) const MOST_PARTS: u64 = 10_000;
/// Bytes of every part but the last: 5 MiB.
pub(super) const SMALLEST_PART: u64 = 5 << 20;
/// Bytes of the largest part: 5 GiB. ("Amazon S3 multipart upload limits".)
pub(super) const LARGEST_PART: u64 = 5 << 30;
/// Bytes of a part, unless the miner asks for others or [`PARTS_IN_AN_ANSWER`] need to be larger: 16 MiB, minutes on a slow line.
const PART: u64 = 16 << 20;
/// Parts that one answer gives; asking again, for a file, gives the next that are missing. A file has no more, unless the miner asks
/// for smaller ones.
pub const PARTS_IN_AN_ANSWER: usize = 1000;

/// One part of a large file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: i32,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
}

/// The parts of a file of declared size.
pub fn parts(file: &OutputFile) -> impl Iterator<Item = Part> {
    let size = file.size.unwrap_or(0);
    let least = size.div_ceil(PARTS_IN_AN_ANSWER as u64).next_multiple_of(1 << 20).min(LARGEST_PART);
    let part = file.part_size.unwrap_or(PART.max(least)).max(1);
    (1..).zip((0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX))).map(move |(number, offset)| Part {
        number,
        offset,
        size: part.min(size - offset),
    })
}

/// The parts that have not arrived, or not whole.
pub fn missing_parts(file: &OutputFile, arrived: &ArrivedParts) -> Vec<Part> {
    parts(file).filter(|part| arrived.get(&part.number).is_none_or(|(size, _)| *size != part.size)).collect()
}

/// Whether a file of this declared size comes in parts.
pub fn is_in_parts(file: &OutputFile, threshold: u64) -> bool {
    file.size.is_some_and(|size| size > threshold)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_a_file_once_within_s3s_limits(size in 1_u64..=5 << 40) {
            let file = OutputFile { size: Some(size), ..OutputFile::default() };
            let parts: Vec<_> = parts(&file).collect();
            prop_assert!(parts.len() as u64 <= MOST_PARTS);
            let mut at = 0;
            for (number, part) in (1..).zip(&parts) {
                prop_assert_eq!((part.number, part.offset), (number, at));
                prop_assert!(part.size <= 5 << 30 && (part.size >= 5 << 20 || number as usize == parts.len()));
                at += part.size;
            }
            prop_assert_eq!(at, size);
        }
    }

    #[test]
    fn only_parts_that_are_not_whole_are_missing() {
        let file = OutputFile { size: Some(25), part_size: Some(10), ..OutputFile::default() };
        let arrived = [(1, (10, None)), (3, (4, None))].into();
        let missing: Vec<_> = missing_parts(&file, &arrived).iter().map(|part| part.number).collect();
        assert_eq!(missing, [2, 3]);
    }
}
