//! The query of a request: what a list shows, and what else a request says beside its body.

use lambda_http::Request;
use uuid::Uuid;

use super::request::{query, query_all};
use crate::{
    error::{Error, Invalid, Result},
    item::{Cursor, Page},
};

/// Jobs on a page, unless the caller asks for fewer or more.
const DEFAULT_LIMIT: u32 = 20;
/// Jobs on the longest page.
const LONGEST_PAGE: u32 = 100;
/// Chutes of which one request may ask for a job.
const MOST_CHUTES: usize = 16;

/// A query, read one parameter after the other: the 422 names all that are wrong.
#[derive(Debug)]
pub struct Parameters<'a> {
    request: &'a Request,
    errors: Vec<Invalid>,
}

impl<'a> Parameters<'a> {
    /// Of this request.
    pub fn new(request: &'a Request) -> Self {
        Self { request, errors: Vec::new() }
    }

    /// A parameter that may be left out.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = query(self.request, field)?;
        let value = parse(text);
        if value.is_none() {
            let msg = format!("Input should be {expected}");
            self.errors.push(Invalid::value(vec!["query".into(), field.into()], msg, text.into()));
        }
        value
    }

    /// A chute's id.
    pub fn chute_id(&mut self) -> Option<Uuid> {
        self.optional("chute_id", "a valid UUID", |text| Uuid::try_parse(text).ok())
    }

    /// The ids of 1 to 16 chutes, each once.
    pub fn chute_ids(&mut self) -> Vec<Uuid> {
        let given = query_all(self.request, "chute_id");
        let loc = || vec!["query".into(), "chute_id".into()];
        match given.len() {
            0 => self.errors.push(Invalid::missing("query", "chute_id")),
            1..=MOST_CHUTES => {}
            number => self.errors.push(Invalid::value(loc(), "Input should be 1 to 16 chutes", number.into())),
        }
        let mut chute_ids = Vec::new();
        for text in given {
            match Uuid::try_parse(text) {
                Ok(chute_id) if chute_ids.contains(&chute_id) => {}
                Ok(chute_id) => chute_ids.push(chute_id),
                Err(_) => self.errors.push(Invalid::value(loc(), "Input should be a valid UUID", text.into())),
            }
        }
        chute_ids
    }

    /// Labels, as they are given.
    pub fn labels(&self) -> Vec<String> {
        query_all(self.request, "label").into_iter().map(str::to_owned).collect()
    }

    /// A webhook's URL, as it is given.
    pub fn webhook(&self) -> Option<String> {
        query(self.request, "webhook").map(str::to_owned)
    }

    /// Notes that something is wrong.
    pub fn refuse(&mut self, error: Invalid) {
        self.errors.push(error);
    }

    /// Notes that a parameter which is not there has to be.
    pub fn require(&mut self, field: &'static str) {
        if query(self.request, field).is_none() {
            self.errors.push(Invalid::missing("query", field));
        }
    }

    /// `limit` and `cursor`.
    pub fn page(&mut self) -> Page {
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
        Page {
            limit: self.optional("limit", "an integer from 1 to 100", limit).unwrap_or(DEFAULT_LIMIT),
            after: self.optional("cursor", "a cursor of this list", parse_cursor),
        }
    }

    /// 422 when anything was wrong.
    pub fn end(self) -> Result<()> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
}

/// The cursor as clients hand it back.
pub fn show_cursor((at, job_id): Cursor) -> String {
    format!("{at}.{}", job_id.simple())
}

/// What [`show_cursor`] has shown.
pub fn parse_cursor(text: &str) -> Option<Cursor> {
    let (at, job_id) = text.split_once('.')?;
    Some((at.parse().ok()?, Uuid::try_parse(job_id).ok()?))
}
