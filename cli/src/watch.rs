//! `jobchute watch`: a job until it is over.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;

use crate::api::Api;

/// Time between two looks at the job.
const EVERY: Duration = Duration::from_secs(1);

/// Shows status and progress as they change. Success when the job is complete.
pub(crate) async fn until_over(api: &Api, job: &str) -> Result<ExitCode> {
    let bar = ProgressBar::new(1000).with_style(ProgressStyle::with_template("{elapsed} {wide_bar} {msg}")?);
    let mut seen = String::new();
    let job = loop {
        let job = api.json(Method::GET, &format!("/jobs/{job}"), None).await?;
        let status = job["status"].as_str().unwrap_or_default().to_owned();
        bar.set_position((job["progress"].as_f64().unwrap_or_default() * 1000.0) as u64);
        bar.set_message(status.clone());
        if status != seen {
            bar.suspend(|| println!("{status}"));
            seen = status;
        }
        if job["terminal"] == true {
            break job;
        }
        tokio::time::sleep(EVERY).await;
    };
    bar.finish_and_clear();
    if let Value::String(detail) = &job["error_detail"] {
        println!("{}", harmless(detail));
    }
    if !job["result"].is_null() {
        println!("{}", harmless(&format!("{:#}", job["result"])));
    }
    Ok(if job["status"] == "complete" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A miner's words, without what a terminal would obey.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\t' => shown.push(char),
            _ if char.is_control() => shown.extend(char.escape_default()),
            _ => shown.push(char),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miners_words_do_not_steer_the_terminal() {
        assert_eq!(harmless("é\t100 %\n\x1b[2J\r\u{9b}K"), "é\t100 %\n\\u{1b}[2J\\r\\u{9b}K");
    }
}
