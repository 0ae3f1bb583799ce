//! The fields of a JSON body, read one after the other.

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::json::{Object, echo};
use crate::error::{Error, Invalid, Result};

/// Reads a body's fields: the 422 names all that are wrong. A field that may be left out may also be null.
#[derive(Debug)]
pub struct Fields {
    object: Object,
    errors: Vec<Invalid>,
    /// How a value that is wrong comes back.
    echo: fn(&RawValue) -> Value,
}

impl Fields {
    /// Of this object, out of a small body.
    pub fn new(object: Object) -> Self {
        Self { object, errors: Vec::new(), echo: |raw| serde_json::from_str(raw.get()).unwrap_or_default() }
    }

    /// Of this object, out of a body of which a list or an object may be too large to come back.
    pub fn of_large(object: Object) -> Self {
        Self { echo, ..Self::new(object) }
    }

    /// A string that may be left out.
    pub fn string(&mut self, field: &'static str) -> Option<String> {
        self.typed(field, "string_type", "Input should be a valid string")
    }

    /// A string that has to be there.
    pub fn required_string(&mut self, field: &'static str) -> Option<String> {
        match self.raw(field).map(|raw| (serde_json::from_str(raw.get()), (self.echo)(raw))) {
            Some((Ok(text), _)) => return Some(text),
            Some((Err(_), input)) => {
                let wrong = Invalid::kind("string_type", loc(field), "Input should be a valid string", input);
                self.errors.push(wrong);
            }
            None => self.errors.push(Invalid::missing("body", field)),
        }
        None
    }

    /// A value that may be left out and of which `parse` makes what it is for.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&RawValue) -> Option<T>,
    ) -> Option<T> {
        let raw = self.raw(field).filter(|raw| raw.get() != "null")?;
        let (value, input) = (parse(raw), (self.echo)(raw));
        if value.is_none() {
            self.errors.push(Invalid::value(loc(field), format!("Input should be {expected}"), input));
        }
        value
    }

    /// One of several words, unless it is left out. Null is none of them.
    pub fn one_of<T>(
        &mut self,
        field: &'static str,
        message: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let raw = self.raw(field)?;
        let word: Option<String> = serde_json::from_str(raw.get()).ok();
        let (value, input) = (word.as_deref().and_then(parse), (self.echo)(raw));
        if value.is_none() {
            self.errors.push(Invalid::kind("enum", loc(field), message, input));
        }
        value
    }

    /// A list of at most `most` entries that may be left out. Of one that is longer no entry is looked at.
    pub fn list(&mut self, field: &'static str, most: usize, too_many: &str) -> Vec<Box<RawValue>> {
        let Some(list) = self.typed::<Vec<Box<RawValue>>>(field, "list_type", "Input should be a valid list") else {
            return Vec::new();
        };
        if list.len() > most {
            self.errors.push(Invalid::value(loc(field), too_many.to_owned(), list.len().into()));
            return Vec::new();
        }
        list
    }

    /// A field as it was written.
    pub fn raw(&self, field: &str) -> Option<&RawValue> {
        self.object.get(field).map(|raw| &**raw)
    }

    /// Notes that something is wrong.
    pub fn refuse(&mut self, wrong: Invalid) {
        self.errors.push(wrong);
    }

    /// Whether nothing was wrong so far.
    pub fn are_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// 422 when anything was wrong.
    pub fn end(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
        kind: &'static str,
        message: &'static str,
    ) -> Option<T> {
        let raw = self.raw(field)?;
        match serde_json::from_str::<Option<T>>(raw.get()) {
            Ok(value) => value,
            Err(_) => {
                let wrong = Invalid::kind(kind, loc(field), message, (self.echo)(raw));
                self.errors.push(wrong);
                None
            }
        }
    }
}

/// Where a field of the body is.
fn loc(field: &str) -> Vec<Value> {
    vec!["body".into(), field.into()]
}
