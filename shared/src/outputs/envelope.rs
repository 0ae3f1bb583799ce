//! The multipart/form-data envelope in which an unmodified SDK PUTs a file to its presigned URL (RFC 7578).
//!
//! An object of any size is understood from its first and last bytes: headers stand at the front, and everything behind the
//! payload is short. So nothing in the payload can be mistaken for the envelope, not even another envelope.

use std::ops::Range;

/// Bytes at each end of an object that are enough to find its payload: two part headers, with names of 926 bytes that are
/// percent-encoded, and two boundaries.
pub const WINDOW: u64 = 16 << 10;

/// Headers of one part.
const MOST_HEADERS: usize = 16;
/// The longest media type: a type and a subtype of 127 characters. (RFC 6838, 4.2.)
const LONGEST_MEDIA_TYPE: usize = 255;

/// Where the file is inside an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Its bytes within the object.
    pub range: Range<u64>,
    /// The file's own media type, when the envelope tells it.
    pub content_type: Option<String>,
}

/// Why no payload can be found: the upload did not end, or was never an envelope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutShort;

/// The boundary, when an object of this Content-Type is an envelope.
pub fn boundary(content_type: &str) -> Option<String> {
    multer::parse_boundary(content_type).ok().filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// Finds the payload of an object of `size` bytes from its first and its last bytes, which may overlap.
///
/// The parts `file` and `path` come in either order, as the SDK's HTTP client pleases.
pub fn payload(boundary: &str, head: &[u8], tail: &[u8], size: u64) -> Result<Payload, CutShort> {
    let tail_at = size.checked_sub(tail.len() as u64).ok_or(CutShort)?;
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();

    // From the front: past the parts before the file, whose content is short.
    let mut at = head.strip_prefix(&delimiter[2..]).and(Some(delimiter.len() - 2)).ok_or(CutShort)?;
    let mut file_is_first = true;
    let (start, content_type) = loop {
        let part = Part::parse(&head[at..]).ok_or(CutShort)?;
        at += part.length;
        if part.name == "file" {
            break (at as u64, part.content_type);
        }
        file_is_first = false;
        at += find(&head[at..], delimiter).ok_or(CutShort)? + delimiter.len();
    };

    // From the back: the closing delimiter, and before it the path where it is not in front.
    let closed = tail.strip_suffix(b"\r\n").unwrap_or(tail).strip_suffix(b"--").ok_or(CutShort)?;
    let mut end = closed.strip_suffix(delimiter).ok_or(CutShort)?.len();
    if file_is_first {
        let is_path = |at: &usize| is_path(&tail[at + delimiter.len()..end]);
        end = rfind(&tail[..end], delimiter).find(is_path).unwrap_or(end);
    }
    let end = tail_at + end as u64;
    if start <= end { Ok(Payload { range: start..end, content_type }) } else { Err(CutShort) }
}

/// What stands between a delimiter and a part's content.
struct Part {
    name: String,
    content_type: Option<String>,
    /// Bytes up to the content.
    length: usize,
}

impl Part {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let lines = bytes.strip_prefix(b"\r\n")?;
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let httparse::Status::Complete((length, headers)) = httparse::parse_headers(lines, &mut headers).ok()? else {
            return None;
        };
        let value = |name: &str| {
            let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            // Old clients write a file's name in Latin-1.
            Some(String::from_utf8_lossy(header.value))
        };
        let name = parameter(&value("content-disposition")?, "name")?;
        // What S3 would not take as an object's own stays behind.
        let is_type = |kind: &str| {
            (1..=LONGEST_MEDIA_TYPE).contains(&kind.len()) && kind.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let content_type = value("content-type").filter(|kind| is_type(kind)).map(|kind| kind.into_owned());
        Some(Self { name, content_type, length: length + 2 })
    }
}

/// Whether this is the part `path`, to its end: a name has no line ends, so whatever has some is still the payload.
fn is_path(bytes: &[u8]) -> bool {
    let content = |part: &Part| bytes[part.length..].iter().all(|byte| !byte.is_ascii_control());
    Part::parse(bytes).is_some_and(|part| part.name == "path" && content(&part))
}

/// A parameter of a header like `form-data; name="file"; filename="a;b"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.bytes().scan(false, |escaped, byte| {
                    let ends = byte == b'"' && !*escaped;
                    *escaped = byte == b'\\' && !*escaped;
                    Some(ends)
                });
                let end = end.into_iter().position(|ends| ends)?;
                (&quoted[..end], quoted[end + 1..].split_once(';').map(|(_, behind)| behind))
            }
            None => match after.split_once(';') {
                Some((value, behind)) => (value.trim(), Some(behind)),
                None => (after.trim(), None),
            },
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        rest = behind?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// All places, the last first.
fn rfind<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> {
    bytes.windows(wanted.len()).enumerate().rev().filter(move |(_, window)| *window == wanted).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by the SDK's own HTTP client.
    const REAL: &[u8] = include_bytes!("../../../tests/data/sdk-upload.multipart");
    const REAL_TYPE: &str = "multipart/form-data; boundary=c68a09cb27c94576afcf4282eb70d1a4";

    /// Looks at an object through windows of `window` bytes, as a function does.
    fn open(boundary: &str, object: &[u8], window: usize) -> Result<Payload, CutShort> {
        let head = &object[..window.min(object.len())];
        let tail = &object[object.len().saturating_sub(window)..];
        payload(boundary, head, tail, object.len() as u64)
    }

    fn bytes<'a>(object: &'a [u8], payload: &Payload) -> &'a [u8] {
        &object[payload.range.start as usize..payload.range.end as usize]
    }

    #[test]
    fn the_sdks_own_envelope_opens() {
        let boundary = boundary(REAL_TYPE).expect("an envelope");
        let payload = open(&boundary, REAL, 16 << 10).expect("whole");
        assert_eq!(bytes(REAL, &payload), b"hello");
        assert_eq!(payload.content_type.as_deref(), Some("text/plain"));
    }

    #[test]
    fn an_envelope_cut_short_anywhere_does_not_open() {
        let boundary = boundary(REAL_TYPE).expect("an envelope");
        // The last line's end may be missing: nothing of the file is.
        for end in 0..REAL.len() - 2 {
            assert_eq!(open(&boundary, &REAL[..end], 16 << 10), Err(CutShort), "{end}");
        }
    }

    #[test]
    fn only_an_envelope_has_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"").as_deref(), Some("a b"));
        for other in
            ["", "text/plain", "multipart/mixed; boundary=a", "multipart/form-data", "multipart/form-data; x=y"]
        {
            assert_eq!(boundary(other), None, "{other}");
        }
    }

    fn envelope(boundary: &str, file_first: bool, name: &str, content: &[u8]) -> Vec<u8> {
        let disposition = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let file = [format!("--{boundary}\r\nContent-Type: a/b\r\n{disposition}\r\n\r\n").as_bytes(), content, b"\r\n"]
            .concat();
        let path = format!("--{boundary}\r\ncontent-disposition: form-data; name=\"path\"\r\n\r\n{name}\r\n");
        let parts = if file_first { [&file, path.as_bytes()] } else { [path.as_bytes(), &file] };
        [parts.concat(), format!("--{boundary}--\r\n").into_bytes()].concat()
    }

    /// Payloads made of what could confuse a parser.
    fn hostile(boundary: String) -> impl Strategy<Value = Vec<u8>> {
        let inner = envelope("other", true, "inner", b"inner content");
        let pieces = prop_oneof![
            Just(b"\r\n--".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"--".to_vec()),
            Just(format!("--{boundary}").into_bytes()),
            Just(inner),
            Just(envelope(&boundary, true, "inner", b"inner content")),
            Just(envelope(&boundary, false, "inner", b"inner content")),
            proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
    }

    fn any_envelope() -> impl Strategy<Value = (String, bool, String, Vec<u8>)> {
        ("[0-9a-zA-Z'()+_,./:=?-]{1,70}", any::<bool>(), "[a-z;=%/ü ]{1,40}").prop_flat_map(
            |(boundary, first, name)| {
                hostile(boundary.clone()).prop_map(move |content| (boundary.clone(), first, name.clone(), content))
            },
        )
    }

    #[test]
    fn a_name_that_begins_like_the_boundary_is_not_taken_for_it() {
        for file_first in [true, false] {
            let object = envelope("b", file_first, "--b", b"content");
            assert_eq!(bytes(&object, &open("b", &object, 1000).expect("whole")), b"content");
        }
    }

    #[test]
    fn a_media_type_that_no_object_can_have_is_left_out() {
        for (kind, kept) in
            [("a/b; c=\"d\"", Some("a/b; c=\"d\"")), ("", None), ("ü/x", None), (&"x".repeat(256), None)]
        {
            let head = format!("--b\r\nContent-Type: {kind}\r\nContent-Disposition: form-data; name=\"file\"");
            let object = [head.as_bytes(), b"; filename=\"\xfc\"\r\n\r\nx\r\n--b--\r\n"].concat();
            let payload = open("b", &object, 1000).expect("whole");
            assert_eq!((bytes(&object, &payload), payload.content_type.as_deref()), (&b"x"[..], kept));
        }
    }

    proptest! {
        #[test]
        fn whatever_was_put_in_comes_out((boundary, file_first, name, content) in any_envelope()) {
            let object = envelope(&boundary, file_first, &name, &content);
            let payload = open(&boundary, &object, 512).expect("whole");
            prop_assert_eq!(bytes(&object, &payload), &content[..]);
            prop_assert_eq!(payload.content_type.as_deref(), Some("a/b"));
        }

        #[test]
        fn no_object_makes_the_parser_panic_or_point_outside(
            object in proptest::collection::vec(any::<u8>(), 0..200),
            window in 0_usize..300,
        ) {
            let object = [b"--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n", &object[..], b"\r\n--b--"].concat();
            if let Ok(payload) = open("b", &object, window) {
                prop_assert!(payload.range.end <= object.len() as u64);
            }
        }
    }
}
