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
/// Bytes of the smallest part that we choose: 16 MiB, minutes on a slow line.
const PART: u64 = 16 << 20;
/// Parts that a file is cut in until each has [`LARGE_PART`]: each is a request, $5.00 a million.
const USUAL_PARTS: u64 = 100;
/// Bytes of the largest part that we choose as long as [`PARTS_IN_AN_ANSWER`] suffice: 512 MiB, what a broken line costs at most.
const LARGE_PART: u64 = 512 << 20;
/// Parts that one answer gives; asking again, for a file, gives the next that are missing. Up to 4.8 TiB a file has no more, unless the
/// miner asks for smaller ones.
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

/// The file with the size that its parts are to have, which grows with its own, if it goes in parts. It is kept with the file, so that an
/// upload is gone on with whatever a later release would choose, or the threshold is by then.
pub fn cut(file: OutputFile, threshold: u64) -> OutputFile {
    let size = file.size.unwrap_or(0);
    let few = size.div_ceil(USUAL_PARTS).clamp(PART, LARGE_PART);
    let part = few.max(least_part(size)).next_multiple_of(1 << 20).min(LARGEST_PART);
    OutputFile { cut: Some(part).filter(|_| size > threshold), ..file }
}

/// Bytes of a part when one answer gives them all.
fn least_part(size: u64) -> u64 {
    size.div_ceil(PARTS_IN_AN_ANSWER as u64)
}

/// The parts of a file of declared size.
pub fn parts(file: &OutputFile) -> impl Iterator<Item = Part> {
    let size = file.size.unwrap_or(0);
    // A file for which none was chosen is small, or was declared to an earlier release, which went by this.
    let unchosen = || PART.max(least_part(size).next_multiple_of(1 << 20).min(LARGEST_PART));
    let part = file.part_size.or(file.cut).unwrap_or_else(unchosen).max(1);
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

/// Whether parts that have come of the file as it was are of no use to it as it is declared now.
pub fn is_another(before: &OutputFile, now: &OutputFile) -> bool {
    // Nothing came in parts while nobody had told its size.
    is_replaced(before, now) || (before.size.is_some() && !are_cut_alike(before, now))
}

/// Whether it is declared now to be other bytes: another size or hash takes the place of a declared one.
pub fn is_replaced(before: &OutputFile, now: &OutputFile) -> bool {
    let has_another_hash = before.sha256.is_some() && now.sha256 != before.sha256;
    has_another_hash || (before.size.is_some() && now.size != before.size)
}

/// Whether both have the same parts. A part of the one may pass for one of the other, by number and size, though it begins elsewhere.
fn are_cut_alike(one: &OutputFile, other: &OutputFile) -> bool {
    parts(one).eq(parts(other))
}

/// Whether a file comes in parts: it was so when its size was declared, or its size is above this now.
pub fn is_in_parts(file: &OutputFile, threshold: u64) -> bool {
    file.cut.is_some() || file.size.is_some_and(|size| size > threshold)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_a_file_once_within_s3s_limits(size in 1_u64..=5 << 40) {
            let file = cut(OutputFile { size: Some(size), ..OutputFile::default() }, 0);
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
    fn parts_grow_with_the_file() {
        let of = |size: u64| OutputFile { size: Some(size), ..OutputFile::default() };
        let (mib, gib) = (1 << 20, 1 << 30);
        for (size, count, part) in [
            (65 * mib, 5, 16 * mib),
            (1600 * mib, 100, 16 * mib),
            (10 * gib, 100, 103 * mib),
            (50 * gib, 100, 512 * mib),
            (500 * gib, 1000, 512 * mib),
            (5 << 40, 1024, 5 * gib),
        ] {
            let parts: Vec<_> = parts(&cut(of(size), 0)).collect();
            assert_eq!((parts.len(), parts[0].size), (count, part), "{size}");
        }
        let asked = OutputFile { part_size: Some(5 * mib), ..of(10 * gib) };
        assert_eq!(parts(&cut(asked, 0)).count(), 2048, "the miner has the last word");
    }

    #[test]
    fn a_file_of_the_first_release_keeps_its_parts() {
        let file = OutputFile { size: Some(10 << 30), ..OutputFile::default() };
        assert_eq!((parts(&file).count(), parts(&file).next().map(|part| part.size)), (640, Some(16 << 20)));
    }

    #[test]
    fn files_are_cut_alike_whose_parts_are_the_same() {
        let of = |part_size: Option<u64>| OutputFile { size: Some(25 << 20), part_size, ..OutputFile::default() };
        assert!(are_cut_alike(&of(None), &of(Some(16 << 20))));
        assert!(are_cut_alike(&of(Some(25 << 20)), &of(Some(1 << 30))));
        assert!(!are_cut_alike(&of(Some(10 << 20)), &of(Some(20 << 20))));
    }

    #[test]
    fn only_parts_that_are_not_whole_are_missing() {
        let file = OutputFile { size: Some(25), part_size: Some(10), ..OutputFile::default() };
        let arrived = [(1, (10, None)), (3, (4, None))].into();
        let missing: Vec<_> = missing_parts(&file, &arrived).iter().map(|part| part.number).collect();
        assert_eq!(missing, [2, 3]);
    }
}
