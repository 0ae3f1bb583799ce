//! The report's body, checked.

use std::collections::{BTreeMap, BTreeSet};

use lambda_http::Request;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use shared::{
    Error, Result,
    error::Invalid,
    http::{Fields, echo, python_object},
    model::{OutputFile, Status, filename},
    outputs::declaration::{Declaration, Filename, Problem, declare},
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes of the largest result: 4 MiB.
const RESULT_LIMIT: usize = 4 << 20;
/// Bytes of an error's detail that are kept: 16 KiB.
const DETAIL_LIMIT: usize = 16 << 10;
/// Files of one job.
const MOST_FILES: usize = 1000;
/// Bytes of the longest declaration of a file: a name of 926 bytes, each escaped, and the rest. A longer one is not looked into:
/// a tree of it can be forty times as large.
const LONGEST_DECLARATION: usize = 8 << 10;

/// How a job came out.
#[derive(ToSchema)]
#[schema(as = Report)]
#[expect(dead_code, reason = "what `Report` is read from")]
pub(crate) struct ReportBody {
    /// `error` unless the miner says otherwise.
    #[schema(value_type = Reported, required = false)]
    status: Option<Reported>,
    /// Any JSON, at most 4 MiB.
    #[schema(value_type = Option<Value>)]
    result: Option<()>,
    /// What went wrong. Kept to 16 KiB, cut in the middle.
    detail: Option<String>,
    /// The files that the miner will upload, at most 1,000.
    #[schema(max_items = 1000)]
    output_filenames: Option<Vec<Filename>>,
    /// The same with what is known of each file. S3 then refuses any other bytes. A name may be in both lists.
    #[schema(max_items = 1000)]
    output_files: Option<Vec<DeclaredFile>>,
    /// The attempt has sent a log with its heartbeats. Without it what it sent may outlive the job by months.
    logs: Option<bool>,
}

/// What a miner may report.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "the words of `ReportBody::status`")]
enum Reported {
    Complete,
    Error,
    Cancelled,
}

/// A file that a miner will upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by `declared_file`")]
struct DeclaredFile {
    /// Its name.
    filename: Filename,
    #[serde(flatten)]
    declaration: Declaration,
}

/// A miner's report, read.
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) result: Option<String>,
    pub(crate) detail: Option<String>,
    /// By file id.
    pub(crate) files: BTreeMap<Uuid, OutputFile>,
    pub(crate) logs: bool,
    /// Tells this report from any other. Two with the same content are the same.
    pub(crate) digest: String,
}

impl Report {
    /// Reads the body. 422 names every field that is wrong.
    pub(crate) fn read(request: &Request, job_id: Uuid) -> Result<Self> {
        let mut fields = Fields::of_large(python_object(request)?);
        let status = status(&mut fields);
        let detail = fields.string("detail").map(cut_in_the_middle);
        let mut files = BTreeMap::new();
        names(&mut fields, &mut files);
        declarations(&mut fields, &mut files);
        if files.len() > MOST_FILES {
            let loc = vec!["body".into(), "output_filenames".into()];
            fields.refuse(Invalid::value(loc, too_many(), files.len().into()));
        }
        let logs = fields.optional("logs", "true or false", |raw| serde_json::from_str(raw.get()).ok());
        let result = fields.raw("result").map(|raw| raw.get().to_owned()).filter(|text| text != "null");
        fields.end()?;
        if result.as_ref().is_some_and(|text| text.len() > RESULT_LIMIT) {
            return Err(Error::TooLarge(format!("result is larger than {RESULT_LIMIT} bytes")));
        }
        let by_name: Vec<_> = files.values().collect();
        let content = serde_json::to_vec(&(status, &result, &detail, by_name));
        let content = content.map_err(|error| Error::internal("finish job: digest", error))?;
        let digest = hex::encode(Sha256::digest(content));
        let files = files.into_values().map(|file| (OutputFile::id(job_id, &file.filename), file)).collect();
        Ok(Self { status, result, detail, files, logs: logs.unwrap_or(false), digest })
    }
}

fn status(fields: &mut Fields) -> Status {
    let message = "Input should be 'complete', 'error' or 'cancelled'";
    let status = fields.one_of("status", message, |word| match word {
        "error" => Some(Status::Error),
        "complete" => Some(Status::Complete),
        "cancelled" => Some(Status::Cancelled),
        _ => None,
    });
    status.unwrap_or(Status::Error)
}

/// A detail of at most [`DETAIL_LIMIT`] bytes: a traceback says most at its two ends.
fn cut_in_the_middle(text: String) -> String {
    const GAP: &str = "\n[…]\n";
    if text.len() <= DETAIL_LIMIT {
        return text;
    }
    let half = (DETAIL_LIMIT - GAP.len()) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head}{GAP}{tail}")
}

/// `output_filenames`: a list of names.
fn names(fields: &mut Fields, files: &mut BTreeMap<String, OutputFile>) {
    for (at, name) in fields.list("output_filenames", MOST_FILES, &too_many()).iter().enumerate() {
        let loc = vec!["body".into(), "output_filenames".into(), at.into()];
        let Ok(name) = serde_json::from_str::<String>(name.get()) else {
            fields.refuse(Invalid::kind("string_type", loc, "Input should be a valid string", echo(name)));
            continue;
        };
        let duplicate = files.contains_key(&name).then_some("must be unique");
        match filename::problem(&name).or(duplicate) {
            Some(problem) => fields.refuse(Invalid::value(loc, format!("Filename {problem}"), name.into())),
            None => drop(files.insert(name.clone(), OutputFile::named(name))),
        }
    }
}

/// `output_files`: names with what the miner knows of the files already. A name may stand in both lists.
fn declarations(fields: &mut Fields, files: &mut BTreeMap<String, OutputFile>) {
    let mut seen = BTreeSet::new();
    for (at, declared) in fields.list("output_files", MOST_FILES, &too_many()).iter().enumerate() {
        let loc = || vec!["body".into(), "output_files".into(), at.into()];
        if declared.get().len() > LONGEST_DECLARATION {
            let message = format!("Input should have at most {LONGEST_DECLARATION} bytes");
            fields.refuse(Invalid::value(loc(), message, Value::Null));
            continue;
        }
        match declared_file(declared) {
            Ok(file) if seen.insert(file.filename.clone()) => drop(files.insert(file.filename.clone(), file)),
            Ok(file) => {
                let loc = [loc(), vec!["filename".into()]].concat();
                fields.refuse(Invalid::value(loc, "Filename must be unique", file.filename.into()));
            }
            Err(problem) => fields.refuse(problem.at(loc())),
        }
    }
}

fn declared_file(declared: &RawValue) -> Result<OutputFile, Problem> {
    let declared: Value = serde_json::from_str(declared.get()).unwrap_or_default();
    let Some(name) = declared.get("filename").and_then(Value::as_str) else {
        return Err(Problem::of(&declared, "filename", "is required and a string"));
    };
    match filename::problem(name) {
        Some(problem) => Err(Problem::of(&declared, "filename", problem)),
        None => declare(&declared, OutputFile::named(name)),
    }
}

fn too_many() -> String {
    format!("A job has at most {MOST_FILES} output files")
}
