//! What an object's metadata says of where it came from.

use std::collections::HashMap;

use crate::model::OutputFile;

/// Object metadata that says: this is the file itself, whatever its media type looks like. Its value is [`ITSELF`], or the version of
/// the envelope that the file was taken out of: whoever finds the file then knows what else to remove.
const PLAIN: &str = "jobchute-plain";
/// The value of [`PLAIN`] for a file that came as it is.
const ITSELF: &str = "1";
/// Object metadata that holds the declared SHA-256 in hex: it comes with every download, as `x-amz-meta-sha256`.
pub(super) const SHA256: &str = "sha256";

/// Object metadata that holds which of the files that were declared under its name this is, but for the first.
const REPLACED: &str = "jobchute-replaced";

/// Metadata of an object that is this file itself.
pub(super) fn itself(file: &OutputFile) -> HashMap<String, String> {
    let mut metadata = plain(file.sha256.as_deref());
    if file.replaced > 0 {
        metadata.insert(REPLACED.to_owned(), file.replaced.to_string());
    }
    metadata
}

/// Which of the files that were declared under its name an object is, by its metadata.
pub(super) fn replaced(metadata: Option<&HashMap<String, String>>) -> u32 {
    metadata.and_then(|metadata| metadata.get(REPLACED)?.parse().ok()).unwrap_or(0)
}

/// Metadata of an object that is the file itself.
pub(super) fn plain(sha256: Option<&str>) -> HashMap<String, String> {
    let sha256 = sha256.map(|sha256| (SHA256.to_owned(), sha256.to_owned()));
    sha256.into_iter().chain([(PLAIN.to_owned(), ITSELF.to_owned())]).collect()
}

/// Metadata of an object that is the file itself, and was taken out of this version of an envelope.
pub(super) fn taken_out_of(envelope: Option<&str>) -> HashMap<String, String> {
    HashMap::from([(PLAIN.to_owned(), envelope.unwrap_or(ITSELF).to_owned())])
}

/// Where an object came from that is the file itself.
pub(super) enum Origin {
    /// It came as it is, or nobody noted what it came in.
    Itself,
    /// It was taken out of this version.
    Envelope(String),
}

impl Origin {
    /// The version of the envelope, where it is known.
    pub(super) fn envelope(self) -> Option<String> {
        match self {
            Self::Itself => None,
            Self::Envelope(version) => Some(version),
        }
    }
}

/// Whether an object is the file itself, by its metadata, and where it came from.
pub(super) fn origin(metadata: Option<&HashMap<String, String>>) -> Option<Origin> {
    metadata?.get(PLAIN).map(|value| if value == ITSELF { Origin::Itself } else { Origin::Envelope(value.clone()) })
}
