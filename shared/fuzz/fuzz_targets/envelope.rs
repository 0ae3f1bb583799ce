//! The envelope parser under libFuzzer. With `cargo install cargo-fuzz`, in `shared/`, for ten minutes:
//!
//! ```sh
//! RUSTC_BOOTSTRAP=1 cargo fuzz run envelope -- -max_total_time=600
//! ```
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

// The file itself, so that the fuzzer need not build AWS's SDK.
#[path = "../../src/outputs/envelope.rs"]
#[allow(dead_code)]
mod envelope;

use envelope::{CutShort, Payload};

#[derive(Arbitrary, Debug)]
enum Input {
    /// What a client sends. What was put in has to come out.
    Sent(Sent),
    /// Anything. It must not point outside of the object.
    Raw { boundary: String, object: Vec<u8>, window: u16 },
}

#[derive(Arbitrary, Debug)]
struct Sent {
    boundary: Vec<u8>,
    file_first: bool,
    name: String,
    content_type: Option<Vec<u8>>,
    pieces: Vec<Piece>,
    /// Bytes that arrived, when not all did.
    cut: Option<u16>,
    window: u16,
}

/// Payloads are made of what could confuse a parser.
#[derive(Arbitrary, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Delimiter,
    Close,
    PartHead { file: bool },
    LineEnd,
}

impl Sent {
    /// 1 to 70 characters that RFC 2046 allows.
    fn boundary(&self) -> String {
        const ALLOWED: &[u8] = b"0123456789abcXYZ'()+_,-./:=?";
        let mut boundary: String =
            self.boundary.iter().take(70).map(|at| ALLOWED[*at as usize % ALLOWED.len()] as char).collect();
        if boundary.is_empty() {
            boundary.push('b');
        }
        boundary
    }

    fn payload(&self, boundary: &str) -> Vec<u8> {
        let mut payload = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => payload.extend_from_slice(bytes),
                Piece::Delimiter => payload.extend_from_slice(format!("\r\n--{boundary}").as_bytes()),
                Piece::Close => payload.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes()),
                Piece::PartHead { file } => {
                    let name = if *file { "file" } else { "path" };
                    let head = format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                    payload.extend_from_slice(head.as_bytes());
                }
                Piece::LineEnd => payload.extend_from_slice(b"\r\n"),
            }
        }
        payload
    }

    fn object(&self, boundary: &str, payload: &[u8]) -> Vec<u8> {
        // The API takes no other names.
        let name: String = self.name.chars().filter(|char| !char.is_control() && *char != '\\').take(200).collect();
        let quoted = name.replace('"', "%22");
        let kind = self.kind().map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
        let head = format!("{kind}Content-Disposition: form-data; filename=\"{quoted}\"; name=\"file\"\r\n\r\n");
        let file = [format!("--{boundary}\r\n{head}").as_bytes(), payload, b"\r\n"].concat();
        let path = format!("--{boundary}\r\ncontent-disposition: form-data; name=path\r\n\r\n{name}\r\n");
        let parts = if self.file_first { [&file[..], path.as_bytes()] } else { [path.as_bytes(), &file] };
        [parts.concat(), format!("--{boundary}--\r\n").into_bytes()].concat()
    }

    fn kind(&self) -> Option<String> {
        let bytes = self.content_type.as_ref()?;
        let kind: String = bytes.iter().take(100).map(|byte| (b'!' + byte % 94) as char).collect();
        (!kind.is_empty()).then_some(kind)
    }
}

/// Looks at an object through two windows, as a function does.
fn open(boundary: &str, object: &[u8], window: usize) -> Result<Payload, CutShort> {
    let head = &object[..window.min(object.len())];
    let tail = &object[object.len().saturating_sub(window)..];
    envelope::payload(boundary, head, tail, object.len() as u64)
}

fn range(payload: &Payload) -> std::ops::Range<usize> {
    payload.range.start as usize..payload.range.end as usize
}

fuzz_target!(|input: Input| {
    match input {
        Input::Sent(sent) => {
            let boundary = sent.boundary();
            let header = format!("multipart/form-data; boundary=\"{boundary}\"");
            assert_eq!(envelope::boundary(&header).as_deref(), Some(boundary.as_str()));
            let payload = sent.payload(&boundary);
            let object = sent.object(&boundary, &payload);
            let window = 2048 + usize::from(sent.window);
            let found = open(&boundary, &object, window).expect("a whole envelope opens");
            assert_eq!(object[range(&found)], payload);
            assert_eq!(found.content_type, sent.kind());

            // Cut short behind the last delimiter of its payload it can't be taken for a whole one.
            let cut = sent.cut.map_or(object.len(), |cut| usize::from(cut) % object.len());
            if cut < object.len() - 2 && !has(&payload, format!("--{boundary}--").as_bytes()) {
                assert_eq!(open(&boundary, &object[..cut], window), Err(CutShort));
            }
        }
        Input::Raw { boundary, object, window } => {
            if let Some(boundary) = envelope::boundary(&format!("multipart/form-data; boundary={boundary}"))
                && let Ok(found) = open(&boundary, &object, usize::from(window))
            {
                let range = range(&found);
                assert!(object[..range.start].ends_with(b"\n"));
                assert!(object[range.end..].starts_with(format!("\r\n--{boundary}").as_bytes()));
            }
        }
    }
});

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
