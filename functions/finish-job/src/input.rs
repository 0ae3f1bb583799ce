//! The report's body, checked.

use std::collections::BTreeMap;

use lambda_http::Request;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    Error, Result,
    declaration::{self, Problem},
    error::Invalid,
    filename,
    job::{Job, OutputFile},
    lifecycle::Status,
    request::{Object, echo, python_object},
};
use uuid::Uuid;

/// Bytes of the largest result: 128 KiB.
const RESULT_LIMIT: usize = 128 << 10;
/// Bytes of an error's detail that are kept: 16 KiB.
const DETAIL_LIMIT: usize = 16 << 10;
/// Files of one job.
const MOST_FILES: usize = 1000;
/// Bytes of the longest declaration of a file: a name of 926 bytes, each escaped, and the rest. A longer one is not looked into:
/// a tree of it can be forty times as large.
const LONGEST_DECLARATION: usize = 8 << 10;

/// A miner's report.
pub(crate) struct Input {
    pub(crate) status: Status,
    pub(crate) result: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) files: Vec<(String, OutputFile)>,
}

impl Input {
    /// Reads the body. 422 names every field that is wrong.
    pub(crate) fn parse(request: &Request, job_id: Uuid) -> Result<Self> {
        let body = python_object(request)?;
        let mut errors = Vec::new();
        let status = status(&body, &mut errors);
        let detail = detail(&body, &mut errors);
        let mut files = BTreeMap::new();
        names(&body, &mut files, &mut errors);
        declarations(&body, &mut files, &mut errors);
        if files.len() > MOST_FILES {
            errors.push(too_many("output_filenames", files.len()));
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let result = body.get("result").map(|raw| raw.get()).filter(|text| *text != "null");
        if result.is_some_and(|text| text.len() > RESULT_LIMIT) {
            return Err(Error::TooLarge(format!("result is larger than {RESULT_LIMIT} bytes")));
        }
        let files = files.into_values().map(|file| (Job::file_id(job_id, &file.filename).to_string(), file));
        Ok(Self { status, result: result.map(str::to_owned), detail, files: files.collect() })
    }

    /// Tells this report from any other. Two with the same content are the same.
    pub(crate) fn digest(&self) -> Result<String> {
        let files: Vec<_> = self.files.iter().map(|(_, file)| file).collect();
        let content = serde_json::to_vec(&(self.status, &self.result, &self.detail, files));
        let content = content.map_err(|error| Error::internal("finish job: digest", error))?;
        Ok(hex::encode(Sha256::digest(content)))
    }
}

fn loc(field: &str) -> Vec<Value> {
    vec!["body".into(), field.into()]
}

fn status(body: &Object, errors: &mut Vec<Invalid>) -> Status {
    let Some(raw) = body.get("status") else { return Status::Error };
    match serde_json::from_str::<String>(raw.get()).as_deref() {
        Ok("error") => Status::Error,
        Ok("complete") => Status::Complete,
        Ok("cancelled") => Status::Cancelled,
        _ => {
            let message = "Input should be 'complete', 'error' or 'cancelled'";
            errors.push(Invalid::kind("enum", loc("status"), message, echo(raw)));
            Status::Error
        }
    }
}

/// The detail, cut in the middle: a traceback says most at its two ends.
fn detail(body: &Object, errors: &mut Vec<Invalid>) -> Option<String> {
    const GAP: &str = "\n[…]\n";
    let raw = body.get("detail")?;
    match serde_json::from_str::<Option<String>>(raw.get()) {
        Ok(None) => None,
        Ok(Some(text)) if text.len() <= DETAIL_LIMIT => Some(text),
        Ok(Some(text)) => {
            let half = (DETAIL_LIMIT - GAP.len()) / 2;
            let head = &text[..text.floor_char_boundary(half)];
            let tail = &text[text.ceil_char_boundary(text.len() - half)..];
            Some(format!("{head}{GAP}{tail}"))
        }
        Err(_) => {
            errors.push(Invalid::kind("string_type", loc("detail"), "Input should be a valid string", echo(raw)));
            None
        }
    }
}

/// `output_filenames`: a list of names.
fn names(body: &Object, files: &mut BTreeMap<String, OutputFile>, errors: &mut Vec<Invalid>) {
    let Some(list) = list(body, "output_filenames", errors) else { return };
    for (at, name) in list.into_iter().enumerate() {
        let loc = vec!["body".into(), "output_filenames".into(), at.into()];
        let Ok(name) = serde_json::from_str::<String>(name.get()) else {
            errors.push(Invalid::kind("string_type", loc, "Input should be a valid string", echo(name)));
            continue;
        };
        let duplicate = files.contains_key(&name).then_some("must be unique");
        match filename::problem(&name).or(duplicate) {
            Some(problem) => errors.push(Invalid::value(loc, format!("Filename {problem}"), name.into())),
            None => drop(files.insert(name.clone(), OutputFile { filename: name, ..OutputFile::default() })),
        }
    }
}

/// `output_files`: names with what the miner knows of the files already. A name may stand in both lists.
fn declarations(body: &Object, files: &mut BTreeMap<String, OutputFile>, errors: &mut Vec<Invalid>) {
    let Some(list) = list(body, "output_files", errors) else { return };
    let mut seen = std::collections::BTreeSet::new();
    for (at, declared) in list.into_iter().enumerate() {
        if declared.get().len() > LONGEST_DECLARATION {
            let loc = vec!["body".into(), "output_files".into(), at.into()];
            let message = format!("Input should have at most {LONGEST_DECLARATION} bytes");
            errors.push(Invalid::value(loc, message, Value::Null));
            continue;
        }
        match declared_file(&serde_json::from_str(declared.get()).unwrap_or_default()) {
            Ok(file) if seen.insert(file.filename.clone()) => drop(files.insert(file.filename.clone(), file)),
            Ok(file) => {
                let loc = vec!["body".into(), "output_files".into(), at.into(), "filename".into()];
                errors.push(Invalid::value(loc, "Filename must be unique", file.filename.into()));
            }
            Err(problem) => errors.push(problem.at(vec!["body".into(), "output_files".into(), at.into()])),
        }
    }
}

fn declared_file(declared: &Value) -> std::result::Result<OutputFile, Problem> {
    let Some(name) = declared.get("filename").and_then(Value::as_str) else {
        return Err(Problem::of(declared, "filename", "is required and a string"));
    };
    match filename::problem(name) {
        Some(problem) => Err(Problem::of(declared, "filename", problem)),
        None => declaration::declare(declared, OutputFile { filename: name.to_owned(), ..OutputFile::default() }),
    }
}

/// A list that may be missing or null. One that is too long is not looked at any further.
fn list<'a>(body: &'a Object, field: &'static str, errors: &mut Vec<Invalid>) -> Option<Vec<&'a RawValue>> {
    let raw = body.get(field)?;
    match serde_json::from_str::<Option<Vec<&RawValue>>>(raw.get()) {
        Ok(Some(list)) if list.len() > MOST_FILES => {
            errors.push(too_many(field, list.len()));
            None
        }
        Ok(list) => list,
        Err(_) => {
            errors.push(Invalid::kind("list_type", loc(field), "Input should be a valid list", echo(raw)));
            None
        }
    }
}

fn too_many(field: &str, files: usize) -> Invalid {
    Invalid::value(loc(field), format!("A job has at most {MOST_FILES} output files"), files.into())
}
