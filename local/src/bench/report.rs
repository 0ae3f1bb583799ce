//! What was measured, and the tables that tell it.

use std::collections::BTreeMap;

use local::Stack;
use serde::Serialize;

use super::{
    hour::Hour,
    memory,
    price::{Life, Prices},
    samples::Figures,
    stored::Point,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) functions: BTreeMap<String, Function>,
    /// Microseconds of a core that knowing a caller takes.
    pub(super) callers_us: BTreeMap<&'static str, f64>,
    /// Milliseconds of a core that a thousand upload URLs take.
    pub(super) presigning_ms: f64,
    pub(super) large: BTreeMap<&'static str, Large>,
    pub(super) lives: BTreeMap<String, Life>,
    pub(super) hours: Vec<Hour>,
    pub(super) tls: Vec<Tls>,
    pub(super) stored: Vec<Point>,
}

/// One function.
#[derive(Debug, Serialize)]
pub(super) struct Function {
    /// Megabytes, compressed as a package is.
    pub(super) zip_mb: f64,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// A cold start through TLS.
#[derive(Debug, Serialize)]
pub(super) struct Tls {
    pub(super) function: &'static str,
    pub(super) share: f64,
    pub(super) init_ms: f64,
    pub(super) first_ms: f64,
}

/// The largest requests, in processes that have seen small ones only, and in those that have seen another of their kind.
#[derive(Debug, Serialize)]
pub(super) struct Large {
    pub(super) first: Figures,
    pub(super) later: Figures,
}

pub(super) fn print_functions(report: &Report) {
    let hello = report.functions.get("hello").map_or(1.0, |hello| hello.figures.init_ms);
    println!("\n{:<22} zip MB  init ms  × hello  first ms  warm ms    p99   CPU ms  MiB  calls  RCU   WCU", "");
    for (name, Function { zip_mb, figures: f }) in &report.functions {
        println!(
            "{name:<22} {zip_mb:>6.2} {:>8.1} {:>8.2} {:>9.1} {:>8.2} {:>6.1} {:>8.2} {:>4.0} {:>3}+{:<2} {:>4.1} {:>5.1}",
            f.init_ms,
            f.init_ms / hello,
            f.first_ms,
            f.warm_ms,
            f.warm_p99_ms,
            f.cpu_ms,
            f.peak_mib,
            f.dynamodb_calls,
            f.s3_calls,
            f.read_units,
            f.write_units,
        );
    }
    let warm = |name: &str| report.functions.get(name).map_or(0.0, |function| function.figures.warm_ms);
    let ratio = warm("get-job") / warm("hello-get-item");
    println!("calls: DynamoDB+S3. get-job, warm: {ratio:.2} × hello-get-item");
    for (kind, us) in &report.callers_us {
        println!("verifying a caller by {kind}: {us:.1} µs");
    }
}

/// Every memory setting, and the best. A function that nobody waits for should have the smallest.
pub(super) fn print_memory(stack: &Stack, report: &Report, prices: &Prices) {
    println!(
        "\nA warm request at a memory setting: ms, dollars per million (Lambda's part); where price × latency is least:"
    );
    for (name, function) in &report.functions {
        let settings = memory::settings(&function.figures, prices);
        let (Some(best), Some(set)) = (memory::best(&settings), stack.memory(name)) else { continue };
        print!("{name:<22}");
        for setting in &settings {
            print!(" {:>5.0} MB {:>5.1} {:>4.2}", setting.mb, setting.ms, setting.price);
        }
        println!("  → {:.0} MB; the template has {set}", best.mb);
    }
    println!("CPU in proportion to memory, one core at 1,769 MB; calls to the engines as below.");
}

pub(super) fn print_lives(report: &Report, prices: &Prices) {
    println!("\nA job's life, dollars per million jobs ({}, {}):", prices.source, prices.date);
    println!("{:<46} requests  calls   RCU   WCU  GB-s/M    API  Lambda  DynamoDB    S3   total  (storage)", "");
    for (name, life) in &report.lives {
        println!(
            "{name:<46} {:>8} {:>3}+{:<3} {:>5.1} {:>5.1} {:>7.0} {:>6.2} {:>7.2} {:>9.2} {:>6.2} {:>7.2} {:>9.0}",
            life.requests,
            life.dynamodb_calls,
            life.s3_calls,
            life.read_units,
            life.write_units,
            life.gb_seconds * 1e6,
            life.api,
            life.lambda,
            life.dynamodb,
            life.s3,
            life.per_million,
            life.storage,
        );
    }
    println!(
        "Billed time is what was measured here and, for each call, {} ms to DynamoDB or {} ms to S3 more.",
        prices.assumed_ms_per_dynamodb_call, prices.assumed_ms_per_s3_call
    );
}

pub(super) fn print_tls(measured: &[Tls]) {
    println!("\nCold starts through TLS:\n{:<12} core   init ms  first ms  both", "");
    for Tls { function, share, init_ms, first_ms } in measured {
        println!("{function:<12} {share:>4.2} {init_ms:>9.1} {first_ms:>9.1} {:>6.1}", init_ms + first_ms);
    }
}

pub(super) fn print_stored(points: &[Point]) {
    println!("\nWith jobs stored:\n{:<22}  stored  warm ms  units", "");
    for Point { stored, function, warm_ms, units } in points {
        println!("{function:<22} {stored:>7} {warm_ms:>8.2} {units:>6.1}");
    }
}
