//! Names of output files: what a miner may call them, and how a download spells them.

use std::fmt::Write;

use super::output_file::PREFIX_LENGTH;

/// Bytes of the longest S3 key. (S3: "Naming Amazon S3 objects".)
const LONGEST_KEY: usize = 1024;
/// Bytes of the longest name: what goes before it leaves as many.
const LONGEST: usize = LONGEST_KEY - PREFIX_LENGTH;

/// Why `name` cannot be an output file's, when it cannot.
pub fn problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("must not be empty")
    } else if name.len() > LONGEST {
        Some("must be at most 926 bytes long")
    } else if name.chars().any(|char| char.is_control() || matches!(char, '\\' | '\u{fffe}' | '\u{ffff}')) {
        // The last two XML cannot hold, and S3 lists in XML.
        Some("must not contain control characters or backslashes")
    } else if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Some("must be a relative path without empty, '.' or '..' segments")
    } else {
        None
    }
}

/// `Content-Disposition` for a download of `name` (RFC 6266): its last segment, in ASCII for old clients and in UTF-8
/// (RFC 8187) for all others.
pub fn content_disposition(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    // A quoted-string may hold quotes as pairs, but clients disagree on how to read them, and on '%'.
    let plain = |char: char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\' | '%');
    let ascii: String = name.chars().map(|char| if plain(char) { char } else { '_' }).collect();
    let mut header = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        match byte {
            // attr-char of RFC 8187.
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                header.push(byte as char);
            }
            _ if byte.is_ascii_alphanumeric() => header.push(byte as char),
            // Writing to a string does not fail.
            _ => drop(write!(header, "%{byte:02X}")),
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_names() {
        for good in ["a", "a/b.txt", "sub dir/ünï \"q\".txt", "...", ".hidden", "a..b", &"x".repeat(926)] {
            assert_eq!(problem(good), None, "{good:?}");
        }
    }

    #[test]
    fn defect_10_a_name_that_could_leave_its_folder_or_break_a_header_is_refused() {
        for bad in
            ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a\r\nb", "a\0", "\u{85}"]
        {
            assert!(problem(bad).is_some(), "{bad:?}");
        }
        assert!(problem(&"x".repeat(927)).is_some());
        assert!(problem(&"é".repeat(464)).is_some(), "bytes count, not characters");
    }

    #[test]
    fn a_download_keeps_its_name() {
        assert_eq!(content_disposition("a/b.txt"), "attachment; filename=\"b.txt\"; filename*=UTF-8''b.txt");
        assert_eq!(
            content_disposition("ünï \"100%\".txt"),
            "attachment; filename=\"_n_ _100__.txt\"; filename*=UTF-8''%C3%BCn%C3%AF%20%22100%25%22.txt"
        );
    }
}
