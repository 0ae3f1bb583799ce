//! Where a job's arguments name inputs. The arguments may have 4 MiB, so this reads the text once and builds no tree of it.

use std::ops::Range;

use memchr::memchr2;
use serde_json::Value;
use uuid::Uuid;

use super::input::URI;
use crate::error::Result;

/// Bytes of the longest spelling of an input's `uri`: each character as an escape of six.
const LONGEST: usize = 6 * (URI.len() + 36);
/// Characters of a key that an error shows: a key may be as long as the arguments.
const SHOWN: usize = 100;

/// A string that is exactly the `uri` of an input, however it is escaped.
#[derive(Debug)]
pub struct Mention<'a> {
    /// Where it stands in the text, with its quotes.
    pub at: Range<usize>,
    /// The input.
    pub input_id: Uuid,
    json: &'a str,
    path: &'a [Step],
}

/// A step from a value to one inside it.
#[derive(Debug)]
enum Step {
    /// To the value of the key that stands there, with its quotes.
    Key(Range<usize>),
    /// To the entry of a list.
    Entry(usize),
}

impl Mention<'_> {
    /// The path to it, as errors tell it. Long keys are cut.
    pub fn path(&self) -> Vec<Value> {
        let shown = |step: &Step| match step {
            Step::Entry(at) => (*at).into(),
            Step::Key(at) => {
                let key: String = serde_json::from_str(&self.json[at.clone()]).unwrap_or_default();
                key.chars().take(SHOWN).collect::<String>().into()
            }
        };
        self.path.iter().map(shown).collect()
    }
}

/// Finds every mention in a text that is known to be JSON, in order. Keys are none.
pub fn each_mention(json: &str, mut found: impl FnMut(&Mention<'_>)) {
    let bytes = json.as_bytes();
    let (mut path, mut is_key, mut at) = (Vec::new(), false, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => {
                path.push(Step::Key(0..0));
                is_key = true;
            }
            b'[' => {
                path.push(Step::Entry(0));
                is_key = false;
            }
            b'}' | b']' => {
                path.pop();
            }
            b',' => match path.last_mut() {
                Some(Step::Entry(entry)) => *entry += 1,
                _ => is_key = true,
            },
            b'"' => {
                let string = at..end_of_string(bytes, at);
                at = string.end;
                match path.last_mut() {
                    Some(Step::Key(key)) if is_key => (*key, is_key) = (string, false),
                    _ => {
                        if let Some(input_id) = input_id(&json[string.clone()]) {
                            found(&Mention { at: string, input_id, json, path: &path });
                        }
                    }
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Where the string ends that begins at this quote: behind its last one.
fn end_of_string(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += next;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// The input that a string in quotes is the `uri` of. Its id may have capitals, as in a path.
fn input_id(string: &str) -> Option<Uuid> {
    if string.len() > LONGEST + 2 {
        return None;
    }
    let unescaped: String;
    let text = match string.contains('\\') {
        true => {
            unescaped = serde_json::from_str(string).ok()?;
            &unescaped
        }
        false => string.trim_matches('"'),
    };
    let id = text.strip_prefix(URI).filter(|id| id.len() == 36)?;
    Uuid::try_parse(id).ok()
}

/// The text with another string in the place of each mention, and not a byte changed beside.
pub fn replace_mentions(json: &str, mut with: impl FnMut(Uuid) -> Result<String>) -> Result<String> {
    let mut all = Vec::new();
    each_mention(json, |mention| all.push((mention.at.clone(), mention.input_id)));
    let (mut replaced, mut done) = (String::with_capacity(json.len()), 0);
    for (at, input_id) in all {
        replaced.push_str(&json[done..at.start]);
        replaced.push_str(&Value::String(with(input_id)?).to_string());
        done = at.end;
    }
    replaced.push_str(&json[done..]);
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::Input;

    const ID: &str = "3f0a1f6e-0000-4000-8000-0000000000ab";

    fn mentions(json: &str) -> Vec<(Vec<Value>, Uuid)> {
        let mut all = Vec::new();
        each_mention(json, |mention| all.push((mention.path(), mention.input_id)));
        all
    }

    /// The same by a tree.
    fn walk(value: &Value, path: &mut Vec<Value>, all: &mut Vec<(Vec<Value>, Uuid)>) {
        match value {
            Value::String(text) => {
                let id = text.strip_prefix(URI).filter(|id| id.len() == 36);
                all.extend(id.and_then(|id| Uuid::try_parse(id).ok()).map(|id| (path.clone(), id)));
            }
            Value::Array(entries) => {
                for (at, entry) in entries.iter().enumerate() {
                    path.push(at.into());
                    walk(entry, path, all);
                    path.pop();
                }
            }
            Value::Object(entries) => {
                for (key, entry) in entries {
                    path.push(key.chars().take(SHOWN).collect::<String>().into());
                    walk(entry, path, all);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    #[test]
    fn a_string_that_is_exactly_a_uri_is_a_mention() {
        let uri = format!("{URI}{ID}");
        let escaped: String = uri.chars().map(|char| format!("\\u{:04x}", char as u32)).collect();
        for spelt in [uri.clone(), uri.replace('/', "\\/"), escaped, format!("{URI}{}", ID.to_uppercase())] {
            let text = format!("{{\"a\" : [ 1.50, {{\"b\\n\":\"{spelt}\"}} ]}}");
            assert_eq!(
                mentions(&text),
                [(vec![json!("a"), json!(1), json!("b\n")], Uuid::try_parse(ID).unwrap_or_default())]
            );
        }
        for other in [
            json!({ &uri: 1 }),
            json!([format!("{uri} "), format!(" {uri}"), format!("{uri}/a"), format!("\"{uri}\"")]),
            json!([URI, "jobchute://inputs/x", uri.to_uppercase(), uri.replace('-', ""), ID]),
            json!([format!("{URI}{{{}}}", &ID[..34]), format!("{URI}{}", "é".repeat(18))]),
        ] {
            assert_eq!(mentions(&other.to_string()), [], "{other}");
        }
    }

    #[test]
    fn only_mentions_are_replaced() {
        let text = format!(r#"{{"z":1.10,"a": "{URI}{ID}" ,"{URI}{ID}":"{URI}{ID}x","b":["\"",12e400,"{URI}{ID}"]}}"#);
        let expected = format!(r#"{{"z":1.10,"a": "b\"c" ,"{URI}{ID}":"{URI}{ID}x","b":["\"",12e400,"b\"c"]}}"#);
        let replaced = replace_mentions(&text, |_| Ok("b\"c".to_owned()));
        assert_eq!(replaced.expect("no error"), expected);
    }

    #[test]
    fn a_long_key_is_cut_where_an_error_shows_it() {
        let text = json!({ "é".repeat(1000): format!("{URI}{ID}") }).to_string();
        assert_eq!(mentions(&text)[0].0, [json!("é".repeat(100))]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let uri = any::<u128>().prop_map(|id| json!(format!("{URI}{}", Uuid::from_u128(id))));
        let leaf = prop_oneof![
            uri,
            "[ -~é😀\n\"\\\\]{0,12}".prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            Just(json!(null))
        ];
        let key = prop_oneof!["[a-z\"\\\\\\[{,:é]{0,4}", Just(format!("{URI}{ID}"))];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_mentions_are_those_of_the_tree(value in any_json(), pretty in any::<bool>(), slashes in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let text = if slashes { text.replace('/', "\\/") } else { text };
            let mut expected = Vec::new();
            walk(&value, &mut Vec::new(), &mut expected);
            prop_assert_eq!(mentions(&text), expected);
            let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            let same = replace_mentions(&text, |input_id| Ok(Input::uri(input_id))).expect("no error");
            prop_assert_eq!(parsed(&same), parsed(&text));
        }
    }
}
