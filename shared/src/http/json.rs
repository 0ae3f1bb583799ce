//! JSON bodies whose values stay text.

use std::fmt;

use indexmap::IndexMap;
use lambda_http::Request;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use super::decode::decoded;
use crate::error::{Error, Invalid, Result};

/// A JSON object whose values are still text: what only passes through stays as it was written. A key given twice counts
/// as given last, as in Python.
pub type Object = IndexMap<String, Box<RawValue>>;

/// Levels that a body may nest. An answer has it one or two levels deeper, in `job_args`, `job_data` or `result`, and has to be
/// readable: serde_json stops at 127 levels, Python's `json` at about 1,000.
const DEEPEST: usize = 100;
/// What some editors, and Windows, begin a text with.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// Bytes of the longest report: a result of 4 MiB, and a thousand files with all that may be said of them. More than Lambda's 6 MB reach
/// a function only in gzip.
const LONGEST: usize = 8 << 20;

/// The body as a JSON object of at most `limit` bytes; an empty body is `{}`.
pub fn object(request: &Request, limit: usize) -> Result<Object> {
    parse_object(&decoded(request, limit)?)
}

/// As [`object`], and what Python's `json` writes although JSON has none of it is taken: `NaN`, `Infinity` and `-Infinity` are
/// null, and half a surrogate pair, which a traceback over undecodable bytes holds, is U+FFFD.
pub fn python_object(request: &Request) -> Result<Object> {
    let body = decoded(request, LONGEST)?;
    match parse_object(&body) {
        Err(Error::Invalid(errors)) => match plain_json(&body) {
            Some(body) => parse_object(&body),
            None => Err(Error::Invalid(errors)),
        },
        parsed => parsed,
    }
}

fn parse_object(body: &[u8]) -> Result<Object> {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if text.is_empty() {
        return Ok(Object::new());
    }
    // Text values are only scanned when kept as text. This reads them: half a surrogate pair or a number like 1e999 must
    // not get in, or no strict parser could read the job again.
    let invalid =
        |error: &serde_json::Error| Invalid::json(body.len() - text.len() + offset(text, error), &plain(error));
    let mut parser = serde_json::Deserializer::from_slice(text);
    let checked = Checked { levels: DEEPEST }.deserialize(&mut parser).and_then(|()| parser.end());
    checked.map_err(|error| invalid(&error))?;
    match serde_json::from_slice(text) {
        Ok(object) => Ok(object),
        Err(_) => {
            let raw: &RawValue = serde_json::from_slice(text).map_err(|error| invalid(&error))?;
            let message = "Input should be a valid dictionary";
            Err(Invalid::kind("dict_type", vec!["body".into()], message, echo(raw)).into())
        }
    }
}

/// A small body as a tree of values.
pub fn tree(body: &Object) -> Value {
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_default();
    Value::Object(body.iter().map(|(name, raw)| (name.clone(), value(raw))).collect())
}

/// What comes back of a value that is wrong: a list or an object only when it is short.
pub fn echo(raw: &RawValue) -> Value {
    const LONGEST: usize = 1000;
    match raw.get() {
        text if text.starts_with(['[', '{']) && text.len() > LONGEST => Value::Null,
        text => serde_json::from_str(text).unwrap_or_default(),
    }
}

/// Any JSON of at most so many levels, read to its end and not kept: a tree of it can be forty times as large as its text.
#[derive(Clone, Copy)]
struct Checked {
    levels: usize,
}

impl Checked {
    /// What may be inside of a list or an object.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let inside = self.levels.checked_sub(1).map(|levels| Self { levels });
        inside.ok_or_else(|| E::custom(format_args!("nested more than {DEEPEST} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while list.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while object.next_entry_seed(inside, inside)?.is_some() {}
        Ok(())
    }
}

/// Where in the body parsing stopped, in bytes.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return body.len();
    }
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column().saturating_sub(1)).min(body.len())
}

/// The parser's message without the place, which has its own field.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The body with `null` for every `NaN`, `Infinity` and `-Infinity` outside of strings, and `\ufffd` for every half of a
/// surrogate pair inside of them; None when there is neither.
fn plain_json(body: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut out = Vec::with_capacity(body.len());
    let (mut rest, mut in_string, mut found) = (body, false, false);
    while let Some(&byte) = rest.first() {
        let name = NAMES.iter().find(|name| !in_string && rest.starts_with(name));
        let (taken, instead) = match (byte, name) {
            (_, Some(name)) => (name.len(), Some(&b"null"[..])),
            (b'\\', None) if in_string => match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
                (Some(Half::High), Some(Half::Low)) => (12, None),
                (Some(_), _) => (6, Some(&b"\\ufffd"[..])),
                (None, _) => (2.min(rest.len()), None),
            },
            (b'"', None) => {
                in_string = !in_string;
                (1, None)
            }
            _ => (1, None),
        };
        found |= instead.is_some();
        out.extend_from_slice(instead.unwrap_or(&rest[..taken]));
        rest = &rest[taken..];
    }
    found.then_some(out)
}

enum Half {
    High,
    Low,
}

/// The half of a surrogate pair that an escape at the start of `text` is.
fn surrogate(text: &[u8]) -> Option<Half> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    match u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from_python(text: &str) -> Option<String> {
        plain_json(text.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn pythons_nan_is_null_outside_of_strings_only() {
        assert_eq!(
            from_python(r#"{"a":NaN,"b":[-Infinity,Infinity]}"#).as_deref(),
            Some(r#"{"a":null,"b":[null,null]}"#)
        );
        assert_eq!(from_python(r#"{"NaN":"NaN \" NaN \\"}"#), None);
        assert_eq!(from_python(r#"{"a":"\\","b":NaN}"#).as_deref(), Some(r#"{"a":"\\","b":null}"#));
    }

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character_and_a_whole_one_stays() {
        assert_eq!(from_python(r#"{"a":"\ud83d\ude00 \udce9"}"#).as_deref(), Some(r#"{"a":"\ud83d\ude00 \ufffd"}"#));
        assert_eq!(from_python(r#"["\ud83d\ud83d\ude00"]"#).as_deref(), Some(r#"["\ufffd\ud83d\ude00"]"#));
        assert_eq!(
            from_python(r#"["\ud83d", "\\udce9", "\u+d80"]"#).as_deref(),
            Some(r#"["\ufffd", "\\udce9", "\u+d80"]"#)
        );
        assert_eq!(from_python(r#"{"\ud83d\ude00":"\u00e9"}"#), None);
    }

    #[test]
    fn what_passes_through_stays_as_it_was_written() {
        let body = r#"{"z":123456789012345678901234567890,"a":1.10,"z2":{"k" :"é\u0000"}}"#;
        let object = parse_object(body.as_bytes()).expect("an object");
        assert_eq!(serde_json::to_string(&object).expect("JSON"), body);
    }

    #[test]
    fn an_error_says_where_in_bytes() {
        let Err(Error::Invalid(errors)) = parse_object("{\"é\":1,\n\"b\":}".as_bytes()) else { panic!("not JSON") };
        assert_eq!(errors[0].loc, [Value::from("body"), Value::from(13)]);
        assert_eq!(errors[0].ctx, Some(serde_json::json!({ "error": "expected value" })));
    }

    #[test]
    fn half_a_surrogate_pair_and_a_number_out_of_range_stay_out() {
        for body in [r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, r#"{"a":"#, "\u{feff}\u{feff}{}", "{}x"] {
            assert!(matches!(parse_object(body.as_bytes()), Err(Error::Invalid(_))), "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_says_nothing() {
        assert!(parse_object("\u{feff}".as_bytes()).expect("no arguments").is_empty());
        assert_eq!(parse_object("\u{feff}{\"a\":1}".as_bytes()).expect("an object").len(), 1);
        let Err(Error::Invalid(errors)) = parse_object("\u{feff}{x".as_bytes()) else { panic!("not JSON") };
        assert_eq!(errors[0].loc[1], 4, "counted in the bytes that were sent");
    }

    /// A list in lists, in an object.
    fn nested(levels: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
    }

    #[test]
    fn a_body_is_nested_no_deeper_than_every_reader_can_read_its_answer() {
        let body = nested(DEEPEST);
        let object = parse_object(body.as_bytes()).expect("an object");
        let answer = serde_json::json!({"data": {"job_args": object}}).to_string();
        serde_json::from_str::<Value>(&answer).expect("readable by whoever uses serde_json");
        for levels in [DEEPEST + 1, 126, 127, 128, 10_000] {
            let Err(Error::Invalid(errors)) = parse_object(nested(levels).as_bytes()) else { panic!("{levels}") };
            assert_eq!(errors[0].ctx, Some(serde_json::json!({"error": "nested more than 100 levels deep"})));
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_object(&body);
            let _ = plain_json(&body);
        }

        #[test]
        fn json_without_nan_is_left_alone(text in "[a-z\"\\\\]{0,40}") {
            let json = serde_json::to_string(&serde_json::json!({ text.clone(): [text] })).expect("JSON");
            prop_assert_eq!(from_python(&json), None);
        }
    }
}
