//! The name of a file whose own cannot be had.

/// It is always the same for this file: its id, and the end of the last part of its name with `_` for all but ASCII letters, digits and what
/// is `kept`.
pub(super) fn other_name(name: &str, file_id: &str, kept: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || kept.contains(char) { char } else { '_' };
    let last: Vec<_> = name.rsplit('/').next().unwrap_or_default().chars().map(plain).collect();
    let last: String = last[last.len().saturating_sub(80)..].iter().collect();
    format!("{file_id}-{last}")
}
