//! What the command prints. Names and words of other people's are shown so that a terminal obeys none of them, and nothing
//! panics when nobody reads.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Serialize;

use crate::printer::{self, Stream};

/// A progress bar of a file.
pub(crate) const BAR: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";

/// What is printed is for scripts.
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on standard output is JSON, and has no words.
pub(crate) fn speak_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub(crate) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Prints as it is. Where a printer was started, that has it to do, and there is no error.
fn put(stream: Stream, text: Vec<u8>) -> io::Result<()> {
    match (printer::started(), stream) {
        (Some(printer), stream) => {
            printer.print(stream, text);
            Ok(())
        }
        (None, Stream::Output) => {
            let mut output = io::stdout().lock();
            // What has no line break at its end would wait for one, and an error would be nobody's.
            output.write_all(&text).and_then(|()| output.flush())
        }
        (None, Stream::Error) => io::stderr().lock().write_all(&text),
    }
}

/// Prints a line to standard output. An error of the kind `BrokenPipe` says that nobody reads any more.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    put(Stream::Output, (harmless(&text.to_string()) + "\n").into())
}

/// The same for a command that goes on when nobody reads. For scripts words go to standard error.
pub(crate) fn tell(text: impl Display) {
    // The work is worth more than the words about it.
    let _ = if is_json() { put(Stream::Error, (harmless(&text.to_string()) + "\n").into()) } else { line(text) };
}

/// Prints what this program has made itself, as it is.
pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
    put(Stream::Output, bytes.to_owned())
}

/// Prints a JSON document to standard output, on one line.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    put(Stream::Output, (one_line(&serde_json::to_string(value)?) + "\n").into())
}

/// Prints a JSON text of somebody else's to standard output, with its own line breaks.
pub(crate) fn json_text(text: &str) -> io::Result<()> {
    put(Stream::Output, (json_escaped(text, |char| matches!(char, '\n' | '\t')) + "\n").into())
}

/// A JSON text on one line: a line break in it stands between two tokens.
pub(crate) fn one_line(text: &str) -> String {
    json_escaped(&text.replace(['\n', '\t'], " "), |_| false)
}

/// The same JSON, without what a terminal obeys: that stands in strings, where it can be escaped.
fn json_escaped(text: &str, stays: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\r' => shown.push(' '),
            _ if !stays(char) && (char.is_control() || turns(char)) => {
                shown.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            _ => shown.push(char),
        }
    }
    shown
}

/// Prints a line to standard error, if somebody reads it.
pub(crate) fn complain(text: impl Display) {
    let _ = put(Stream::Error, (harmless(&text.to_string()) + "\n").into());
}

/// Text without what a terminal obeys: control characters, and those that turn the direction of writing, are shown as escapes.
/// New lines and tabs stay.
pub(crate) fn harmless(text: &str) -> String {
    escaped(text, |char| matches!(char, '\n' | '\t'))
}

/// A file's name on one line.
pub(crate) fn name(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, stays: fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if !stays(char) && (char.is_control() || turns(char)) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Unicode's `Bidi_Control`, with which `a<U+202E>gpj.sh` is shown as `ahs.jpg`, and its two line separators.
fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Makes a stream of bytes harmless piece by piece.
#[derive(Default)]
pub(crate) struct Filter {
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl Filter {
    /// What to show of the next bytes.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let whole = all.len() - unfinished(&all);
        self.begun = all.split_off(whole);
        harmless(&String::from_utf8_lossy(&all))
    }
}

/// How many bytes at the end begin a character of UTF-8 that goes on.
fn unfinished(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if length > back + 1 { back + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_words_do_not_steer_the_terminal() {
        assert_eq!(harmless("é\t100 %\n\x1b[2J\r\u{9b}K"), "é\t100 %\n\\u{1b}[2J\\r\\u{9b}K");
        assert_eq!(name("a\u{202e}gpj.sh\nb"), "a\\u{202e}gpj.sh\\nb");
    }

    #[test]
    fn json_stays_the_same_json_on_one_line() -> serde_json::Result<()> {
        let text = "{\r\n\t\"a\": \"x\u{202e}\u{9b}2J\u{7f}\\n\", \"n\": 18446744073709551616}";
        let line = one_line(text);
        assert_eq!(line, r#"{   "a": "x\u202e\u009b2J\u007f\n", "n": 18446744073709551616}"#);
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(text)?, serde_json::from_str(&line)?);
        assert_eq!(before, after);
        assert_eq!(json_escaped("[\n1]", |char| char == '\n'), "[\n1]");
        Ok(())
    }

    #[test]
    fn a_stream_is_made_harmless_wherever_it_is_cut() {
        let text = "é\x1b[2J€\u{1f600}\u{202e}x".as_bytes();
        let expected = "é\\u{1b}[2J€\u{1f600}\\u{202e}x";
        for first in 0..=text.len() {
            let mut filter = Filter::default();
            let shown = filter.pass(&text[..first]) + &filter.pass(&text[first..]);
            assert_eq!(shown, expected, "{first}");
        }
        assert_eq!(Filter::default().pass(b"\x9b2J\xffx"), "\u{fffd}2J\u{fffd}x");
    }
}
