//! What a miner reports of a job.
//!
//! The status is `complete` when the command succeeded and its result, if it wrote one, was delivered: what else it left and is no
//! file to deliver does not change that. It is `error` otherwise. In both cases every file is delivered that can be, and the detail
//! names what is not.

use std::cmp::Reverse;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use crate::{
    beneath::Unusable,
    refusal::Refusal,
    work::outputs::{Output, Skipped, told},
};

/// Bytes of the largest result that is read: more than the API takes, which is 4 MiB.
pub(crate) const LARGEST_RESULT: u64 = 5 << 20;

/// The report. It is kept in the job's folder until the API has everything.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Report {
    status: Status,
    detail: Option<String>,
    /// As it was written: not JSON if Python's `json` made it.
    result: Option<String>,
    pub(crate) files: Vec<Output>,
    /// The result, or a file, is left out.
    pub(crate) lacks: bool,
    /// Some of what the command printed was sent.
    #[serde(default)]
    pub(crate) logs: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Complete,
    Error,
}

impl Report {
    fn new(status: Status, files: Vec<Output>, skipped: &[Skipped]) -> Self {
        let lacks = skipped.iter().any(|skipped| skipped.is_file);
        Self { status, detail: None, result: None, files, lacks, logs: false }
    }

    /// Of a command that succeeded.
    pub(crate) fn success(result: Result<Option<Vec<u8>>, Unusable>, files: Vec<Output>, skipped: &[Skipped]) -> Self {
        let mut report = Self::new(Status::Complete, files, skipped);
        match result.map(|content| text_of(content.unwrap_or_default())) {
            Ok(Ok(result)) => report.result = result,
            Ok(Err(why)) => report.lose_result(&why),
            Err(why) => {
                // What is no file holds nothing.
                let lacks = report.lacks || matches!(why, Unusable::Failed(_));
                report.lose_result(&format!("can't be read: {why}"));
                report.lacks = lacks;
            }
        }
        report.add(&told(skipped));
        report
    }

    /// Of a command that failed.
    pub(crate) fn failure(why: &str, files: Vec<Output>, skipped: &[Skipped]) -> Self {
        let mut report = Self::new(Status::Error, files, skipped);
        report.add(why);
        report.add(&told(skipped));
        report
    }

    /// The request's body.
    pub(crate) fn body(&self) -> String {
        let mut body = json!({"status": self.status, "detail": self.detail, "output_files": self.files});
        if self.logs {
            body["logs"] = true.into();
        }
        let mut body = body.to_string();
        if let Some(result) = &self.result {
            body.pop();
            body += &format!(r#","result":{result}}}"#);
        }
        body
    }

    /// Leaves out what the API does not take. False: nothing is left to leave out.
    pub(crate) fn leave_out(&mut self, refusal: &Refusal) -> bool {
        if refusal.status == StatusCode::UNPROCESSABLE_ENTITY {
            let at = |loc: &[serde_json::Value]| match loc {
                [_, list, at, ..] if list == "output_files" => at.as_u64(),
                _ => None,
            };
            let named: Vec<_> =
                refusal.wrong().iter().filter_map(|wrong| Some((at(&wrong.loc)?, &wrong.msg))).collect();
            let (mut refused, mut number) = (Vec::new(), 0);
            self.files.retain(|file| {
                let wrong = named.iter().find(|(at, _)| *at == number);
                number += 1;
                refused.extend(wrong.map(|(_, msg)| Skipped {
                    path: file.filename.clone(),
                    reason: (*msg).clone(),
                    is_file: true,
                }));
                wrong.is_none()
            });
            if !refused.is_empty() {
                self.add(&told(&refused));
                self.lacks = true;
                return true;
            }
        }
        // Too many bytes for one job: the largest files stand back for all others.
        if refusal.status == StatusCode::PAYLOAD_TOO_LARGE && refusal.is_about("The declared files") {
            let refused = self.leave_out_largest(refusal.number_after("a job may have "), &refusal.to_string());
            if !refused.is_empty() {
                self.add(&told(&refused));
                self.lacks = true;
                return true;
            }
        }
        let is_too_much = matches!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE);
        if is_too_much && self.result.is_some() {
            self.lose_result(&format!("was refused: {refusal}"));
            return true;
        }
        false
    }

    /// Takes out the largest file, and as many more as it takes for the others to have no more than `most` bytes, if that is known.
    fn leave_out_largest(&mut self, most: Option<u64>, reason: &str) -> Vec<Skipped> {
        let (mut all, mut refused) = (self.files.iter().map(|file| file.size).sum::<u64>(), Vec::new());
        let mut largest: Vec<_> = (0..self.files.len()).collect();
        largest.sort_by_key(|number| Reverse(self.files[*number].size));
        let mut stays = vec![true; self.files.len()];
        for number in largest {
            if !refused.is_empty() && most.is_none_or(|most| all <= most) {
                break;
            }
            let Output { filename, size, .. } = &self.files[number];
            (stays[number], all) = (false, all - size);
            refused.push(Skipped { path: filename.clone(), reason: reason.to_owned(), is_file: true });
        }
        let mut stays = stays.into_iter();
        self.files.retain(|_| stays.next().unwrap_or(true));
        refused
    }

    fn lose_result(&mut self, why: &str) {
        self.result = None;
        self.lacks = true;
        self.status = Status::Error;
        self.add(&format!("JOBCHUTE_RESULT {why}"));
    }

    fn add(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let detail = self.detail.get_or_insert_default();
        if !detail.is_empty() && !detail.ends_with('\n') {
            detail.push('\n');
        }
        detail.push_str(text.trim_end_matches('\n'));
    }
}

/// The one JSON value of a result's file, as it is written; None when there is none. Whether its text is good the API decides.
fn text_of(content: Vec<u8>) -> Result<Option<String>, String> {
    let text = String::from_utf8(content).map_err(|_| "is not UTF-8")?;
    let text = text.trim_start_matches('\u{feff}').trim_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str::<&RawValue>(&as_json(text)) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

/// The same with `null` for the three numbers of Python's that JSON does not have.
fn as_json(text: &str) -> String {
    let (mut json, mut in_string, mut rest) = (String::with_capacity(text.len()), false, text);
    while let Some(char) = rest.chars().next() {
        let number = ["NaN", "-Infinity", "Infinity"].into_iter().find(|name| !in_string && rest.starts_with(name));
        let taken = match (char, number) {
            (_, Some(number)) => number.len(),
            ('\\', None) if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            ('"', None) => {
                in_string = !in_string;
                1
            }
            _ => char.len_utf8(),
        };
        json.push_str(if number.is_some() { "null" } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &str) -> Result<Option<String>, String> {
        text_of(text.as_bytes().to_vec())
    }

    #[test]
    fn a_result_is_passed_on_as_it_is_written() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for text in [
            "null",
            "18446744073709551616",
            "123456789012345678901234567890.10",
            r#"{"b":1,"a":NaN,"c":[-Infinity,Infinity]}"#,
            r#""half \ud800, \" and \\""#,
            r#"{"NaN\"":"Infinity"}"#,
            &deep,
        ] {
            assert_eq!(result(text), Ok(Some(text.to_owned())), "{}", &text[..text.len().min(80)]);
        }
        assert_eq!(result("\u{feff}{\"a\" : 1}\r\n"), Ok(Some("{\"a\" : 1}".to_owned())));
        for nothing in ["", "\n", "\u{feff}", " \r\n"] {
            assert_eq!(result(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn a_result_says_nothing_about_the_rest_of_the_report() {
        for text in ["1,\"status\":\"complete\"", "1}", "{} {}", "done", "{", "\"", "\"\\", "NaNNaN", "1NaN", "'a'"] {
            assert!(result(text).is_err(), "{text}");
        }
        assert_eq!(text_of(vec![b'"', 0xff, b'"']), Err("is not UTF-8".to_owned()));
    }

    #[test]
    fn the_body_holds_the_result_as_text() {
        let mut report =
            Report::success(Ok(Some(b"{\"n\":30000000000000000000000000000001}".to_vec())), Vec::new(), &[]);
        assert_eq!(
            report.body(),
            r#"{"status":"complete","detail":null,"output_files":[],"result":{"n":30000000000000000000000000000001}}"#
        );
        report.lose_result("was refused");
        assert_eq!(report.body(), r#"{"status":"error","detail":"JOBCHUTE_RESULT was refused","output_files":[]}"#);
    }
}
