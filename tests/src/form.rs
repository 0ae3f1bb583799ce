//! The form in which a small file goes through the API.

/// A `multipart/form-data` body under way.
#[derive(Clone, Debug, Default)]
pub struct Form {
    bytes: Vec<u8>,
}

const BOUNDARY: &str = "c68a09cb27c94576afcf4282eb70d1a4";

impl Form {
    /// The request's content type.
    pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=c68a09cb27c94576afcf4282eb70d1a4";

    /// The two fields that the route takes.
    pub fn of(path: &str, content: &[u8]) -> Vec<u8> {
        Self::default().file("text/plain", content).path(path).end()
    }

    /// The field `file`.
    pub fn file(self, content_type: &str, content: &[u8]) -> Self {
        let kind = format!("name=\"file\"; filename=\"blob\"\r\nContent-Type: {content_type}");
        self.field(&kind, content)
    }

    /// The field `path`.
    pub fn path(self, path: &str) -> Self {
        self.field("name=\"path\"", path.as_bytes())
    }

    /// A field of any kind.
    pub fn field(mut self, disposition: &str, content: &[u8]) -> Self {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// The whole body.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.bytes
    }
}
