//! The envelope in which the Chutes SDK PUTs a file to a presigned URL.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How a client packs files.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// Its boundary.
    pub boundary: &'a str,
    /// Whether the part `file` comes before the part `path`, as the SDK's does.
    pub file_first: bool,
    /// The file's media type.
    pub content_type: &'a str,
}

impl Default for Envelope<'_> {
    fn default() -> Self {
        let boundary = "c68a09cb27c94576afcf4282eb70d1a4";
        Self { boundary, file_first: true, content_type: "application/octet-stream" }
    }
}

impl Envelope<'_> {
    /// The object's media type.
    pub fn header(&self) -> String {
        let quote = if self.boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()) { "" } else { "\"" };
        format!("multipart/form-data; boundary={quote}{}{quote}", self.boundary)
    }

    /// The object's bytes.
    pub fn of(&self, path: &str, content: &[u8]) -> Vec<u8> {
        let (boundary, kind) = (self.boundary, self.content_type);
        let name = path.rsplit('/').next().unwrap_or(path);
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let disposition = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let file = format!("--{boundary}\r\nContent-Type: {kind}\r\n{disposition}\r\n\r\n");
        let path = format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n\
             {path}\r\n"
        );
        let mut bytes = Vec::with_capacity(content.len() + 4096);
        if !self.file_first {
            bytes.extend_from_slice(path.as_bytes());
        }
        for piece in [file.as_bytes(), content, b"\r\n"] {
            bytes.extend_from_slice(piece);
        }
        if self.file_first {
            bytes.extend_from_slice(path.as_bytes());
        }
        bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        bytes
    }
}
