//! The values of options. What is wrong with one is said in a sentence.

use std::time::Duration;

use uuid::Uuid;

use crate::inputs::Named;

/// Seconds that a job may wait for a miner.
const WAITING: std::ops::RangeInclusive<u64> = 10..=30 * 86_400;

pub(super) fn id(word: &str) -> Result<Uuid, String> {
    Uuid::try_parse(word).map_err(|_| "this is not an id".to_owned())
}

pub(super) fn word(word: &str) -> Result<String, String> {
    if word.is_empty() { Err("it is empty".to_owned()) } else { Ok(word.to_owned()) }
}

/// A key as the API takes it.
pub(super) fn idempotency_key(word: &str) -> Result<String, String> {
    let is_good = (1..=255).contains(&word.len()) && word.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_good.then(|| word.to_owned()).ok_or_else(|| "it has to be 1 to 255 printable ASCII characters".to_owned())
}

/// `NAME=FILE`. A name has nothing that JSON could spell in another way.
pub(super) fn input(word: &str) -> Result<Named, String> {
    let is_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        !name.is_empty() && name.bytes().all(is_plain)
    };
    match word.split_once('=') {
        Some((name, file)) if is_name(name) && !file.is_empty() => {
            Ok(Named { name: name.to_owned(), file: file.into() })
        }
        _ => Err("this is not NAME=FILE, with letters, digits, _ - and . in NAME".to_owned()),
    }
}

/// A number of seconds, or of what its last letter says, as the API writes times.
fn seconds(word: &str) -> Result<u64, String> {
    let (number, unit) = match word.as_bytes().last() {
        Some(b's') => (&word[..word.len() - 1], 1),
        Some(b'm') => (&word[..word.len() - 1], 60),
        Some(b'h') => (&word[..word.len() - 1], 3600),
        Some(b'd') => (&word[..word.len() - 1], 86_400),
        _ => (word, 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| number.parse::<u64>().ok()?.checked_mul(unit)).flatten();
    seconds.ok_or_else(|| "this is not a time: 90, 90s, 15m, 2h or 7d".to_owned())
}

/// How long this command may take: a second to a year.
pub(super) fn time(word: &str) -> Result<Duration, String> {
    match seconds(word)? {
        seconds @ 1..=31_536_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("it has to be 1 s to 365 days".to_owned()),
    }
}

/// How long a job may wait for a miner, as the API takes it.
pub(super) fn cancel_after(word: &str) -> Result<String, String> {
    if WAITING.contains(&seconds(word)?) { Ok(word.to_owned()) } else { Err("it has to be 10 s to 30 days".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_limits() {
        for (word, seconds) in [("1", 1), ("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(time(word), Ok(Duration::from_secs(seconds)), "{word}");
        }
        for wrong in ["", "s", "0", "-1", "+1", "1.5h", "5x", "5 m", "é", "1e9", "366d", "99999999999999999999d"] {
            assert!(time(wrong).is_err() && cancel_after(wrong).is_err(), "{wrong}");
        }
        for (word, good) in [("9", false), ("10", true), ("30d", true), ("31d", false), ("2592001", false)] {
            assert_eq!(cancel_after(word).is_ok(), good, "{word}");
        }
    }
}
