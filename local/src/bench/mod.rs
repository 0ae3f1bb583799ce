//! `cargo run --release -- bench`: what the functions take, each against the least that a function can be, and what a job costs.

mod callers;
mod hour;
mod life;
mod memory;
mod presigning;
mod price;
mod report;
mod samples;
mod scale;
mod stored;
mod turns;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::ZlibEncoder};
use local::{Builder, Stack};
use plotters::prelude::{IntoDrawingArea, SVGBackend, WHITE};
use serde::Serialize;
use serde_json::json;
use shared::{
    model::OutputFile,
    outputs::{cut, parts},
};

use hour::Hour;
use life::{Bench, Outputs};
use price::Prices;
use report::{Function, Large, Report, Tls, print_functions, print_lives, print_memory, print_stored, print_tls};

/// Cold starts of every function.
const COLD: usize = 21;
/// Lives with warm functions.
const WARM: usize = 200;
/// Lives at each number of stored jobs.
const STORED: usize = 30;
/// Shares of a core: a whole one, and what Lambda gives at 1,024, at 256 and at 128 MB (1,769 MB are one vCPU).
const SHARES: [f64; 4] = [1.0, 0.58, 0.14, 0.07];

pub(crate) const HELP: &str = "\
What the functions take, and what a job costs in AWS.

Usage: cargo run --release -- bench [options]

  --json FILE     write all figures as JSON
  --prices FILE   other prices than those of local/src/bench/prices.json
  --stored LIST   numbers of stored jobs to measure with, such as 1000,10000,100000,1000000 (default: none)
  --plot FILE     draw cost and latency against them (SVG)
  --hour          measure a job of an hour, and nothing else
  --scale         simulate one user's load against DynamoDB's limits, and nothing else
  --tls           measure cold starts through TLS at shares of a core (Linux, root)";

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    json: Option<PathBuf>,
    prices: Option<PathBuf>,
    stored: Vec<usize>,
    plot: Option<PathBuf>,
    hour: bool,
    scale: bool,
    tls: bool,
}

/// The options after `bench`, or `None` when the help is wanted.
pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt as _};
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("json") => options.json = Some(arguments.value()?.into()),
            Long("prices") => options.prices = Some(arguments.value()?.into()),
            Long("stored") => {
                let list = arguments.value()?.string()?;
                let numbers: Result<Vec<usize>, _> = list.split(',').map(str::parse).collect();
                options.stored = numbers.map_err(|error| format!("--stored {list}: {error}"))?;
                options.stored.sort_unstable();
            }
            Long("plot") => options.plot = Some(arguments.value()?.into()),
            Long("hour") => options.hour = true,
            Long("scale") => options.scale = true,
            Long("tls") => options.tls = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

/// Measures, and prints tables.
pub(crate) async fn run(options: Options) -> Result<()> {
    if options.scale {
        return scale::run(options.json.as_deref());
    }
    let prices = match &options.prices {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?,
        None => include_str!("prices.json").to_owned(),
    };
    let prices: Prices = serde_json::from_str(&prices).context("the prices are not usable")?;
    if cfg!(debug_assertions) {
        eprintln!("Not optimised: these are no figures to quote. Use cargo run --release -- bench.");
    }
    let template = Template::write()?;
    if options.hour {
        let hours = hours(&template, &prices).await?;
        if let Some(file) = &options.plot {
            draw(file, &[], &hours)?;
        }
        return write_json(options.json.as_deref(), &hours);
    }
    let stack = template.stack().capacity(true).start().await?;
    let mut report = Report {
        functions: BTreeMap::new(),
        callers_us: callers::measure()?,
        presigning_ms: presigning::measure().await?,
        large: BTreeMap::new(),
        lives: BTreeMap::new(),
        hours: Vec::new(),
        tls: Vec::new(),
        stored: Vec::new(),
    };

    functions(&stack, &mut report).await?;
    print_functions(&report);
    print_memory(&stack, &report, &prices);
    large(&stack, &mut report).await?;
    lives(&stack, &prices, &mut report).await?;
    print_lives(&report, &prices);
    report.hours = hours(&template, &prices).await?;
    if options.tls {
        for share in SHARES {
            report.tls.extend(through_tls(&template, share).await?);
        }
        print_tls(&report.tls);
    }
    if !options.stored.is_empty() {
        report.stored = stored::measure(&stack, &options.stored, STORED).await?;
        print_stored(&report.stored);
    }
    if let Some(file) = &options.plot {
        draw(file, &report.stored, &report.hours)?;
    }
    stack.shutdown().await;
    write_json(options.json.as_deref(), &report)
}

fn write_json(file: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_string_pretty(figures).context("figures are JSON")?;
    std::fs::write(file, json).with_context(|| format!("can't write {}", file.display()))
}

/// Pictures of what was measured: latency and capacity against what is stored, and cost against what a job carries.
fn draw(file: &Path, stored: &[stored::Point], hours: &[Hour]) -> Result<()> {
    let area = SVGBackend::new(file, (800, if stored.is_empty() { 400 } else { 1200 })).into_drawing_area();
    area.fill(&WHITE)?;
    let below = if stored.is_empty() {
        area.clone()
    } else {
        let (above, below) = area.split_vertically(800);
        stored::plot(stored, &above)?;
        below
    };
    hour::plot(hours, &below)?;
    area.present().context("can't write the plot")
}

/// A job of an hour, on a stack of its own: its clock runs fast.
async fn hours(template: &Template, prices: &Prices) -> Result<Vec<Hour>> {
    let stack = template.stack().capacity(true).start().await?;
    let hours = hour::measure(&stack, prices).await?;
    hour::print(&hours);
    stack.shutdown().await;
    Ok(hours)
}

/// The repository's template, with the two functions that all others are held against.
struct Template(tempfile::TempDir);

impl Template {
    fn write() -> Result<Self> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml"))?;
        let mut baselines = String::from("Resources:\n");
        for (id, package, parameters) in
            [("HelloFunction", "hello", ""), ("HelloGetItemFunction", "hello-get-item", "/{job_id}")]
        {
            baselines += &format!(
                "  {id}:\n    Type: AWS::Serverless::Function\n    \
                 Metadata: {{BuildMethod: rust-cargolambda, BuildProperties: {{Binary: {package}}}}}\n    \
                 Properties:\n      \
                 Policies: [{{Version: \"2012-10-17\", Statement: [{{Effect: Allow, Action: [dynamodb:GetItem], \
                 Resource: [!GetAtt JobsTable.Arn]}}]}}]\n      \
                 Events: {{Route: {{Type: HttpApi, Properties: {{ApiId: !Ref HttpApi, Method: GET, Path: \"/{package}{parameters}\"}}}}}}\n"
            );
        }
        let folder = tempfile::tempdir().context("can't make a temporary folder")?;
        std::fs::write(folder.path().join("template.yaml"), text.replacen("Resources:\n", &baselines, 1))?;
        Ok(Self(folder))
    }

    fn stack(&self) -> Builder {
        let folder = self.0.path();
        Stack::builder().release(!cfg!(debug_assertions)).copies(folder).template(folder.join("template.yaml"))
    }
}

/// Every function cold and warm, with one output file of 1 KiB.
async fn functions(stack: &Stack, report: &mut Report) -> Result<()> {
    let mut bench = Bench::start(stack).await?;
    let small = Outputs { files: 1, size: 1024 };
    for _ in 0..COLD {
        stack.reclaim();
        // A start that nobody looks at: while the old processes end, it would take longer.
        stack.invoke("admin", json!({"command": "create_user"})).await?;
        bench.everything(small).await?;
    }
    for _ in 0..WARM {
        bench.everything(small).await?;
    }
    for function in bench.samples.functions() {
        let figures = bench.samples.figures(function).context("no samples")?;
        let binary = stack.binary(function).with_context(|| format!("no binary of {function}"))?;
        let binary = std::fs::read(binary)?;
        // 1 % less than SAM's packages, which are of zlib's level 6; this library's own level 6 makes them 2 % larger than that.
        let mut zip = ZlibEncoder::new(Vec::new(), Compression::best());
        zip.write_all(&binary)?;
        let zip_mb = zip.finish()?.len() as f64 / 1e6;
        report.functions.insert(function.to_owned(), Function { zip_mb, figures });
    }
    Ok(())
}

/// Jobs with a thousand files, and the largest form.
async fn large(stack: &Stack, report: &mut Report) -> Result<()> {
    let (small, large) = (Outputs { files: 1, size: 1 << 10 }, Outputs { files: 1000, size: 1 << 10 });
    let form = 4 << 20;
    let mut start = Bench::start(stack).await?;
    let (mut first, mut later) = (Bench::start(stack).await?, Bench::start(stack).await?);
    let (mut first_form, mut later_form) = (Bench::start(stack).await?, Bench::start(stack).await?);
    for _ in 0..COLD / 2 {
        stack.reclaim();
        start.life(small).await?;
        first_form.form(form).await?;
        first.life(large).await?;
        for _ in 0..2 {
            later.life(large).await?;
            later_form.form(form).await?;
        }
    }
    println!();
    for (function, what, first, later) in [
        ("finish-job", "1,000 files of 1 KiB", &first, &later),
        ("complete-job", "1,000 files of 1 KiB", &first, &later),
        ("upload-job-file", "a form of 4 MiB", &first_form, &later_form),
    ] {
        let figures = |bench: &Bench<'_>| bench.samples.figures(function).context("no samples");
        let (first, later) = (figures(first)?, figures(later)?);
        println!(
            "{function} with {what}: {:.1} ms, {:.1} ms of CPU; the first in a process {:.1} and {:.1}; {:.0} MiB",
            later.warm_ms, later.cpu_ms, first.warm_ms, first.cpu_ms, later.peak_mib,
        );
        report.large.insert(function, Large { first, later });
    }
    println!("presigning 1,000 uploads, which a finish does: {:.1} ms of CPU", report.presigning_ms);
    Ok(())
}

/// Whole lives with outputs of several sizes; the largest is not uploaded here, but counted.
async fn lives(stack: &Stack, prices: &Prices, report: &mut Report) -> Result<()> {
    let memory = |function: &str| stack.memory(function).map_or(128.0, |mb| mb as f64);
    let mut bench = Bench::start(stack).await?;
    for (name, outputs) in [
        ("1 file of 1 KiB", Outputs { files: 1, size: 1 << 10 }),
        ("1 file of 10 MiB", Outputs { files: 1, size: 10 << 20 }),
        ("2 files of 10 MiB", Outputs { files: 2, size: 10 << 20 }),
    ] {
        bench.life(outputs).await?;
        bench.life(outputs).await?;
        let parts = outputs.files as f64;
        report.lives.insert(name.to_owned(), prices.life(&bench.last, outputs, parts, memory));
        if outputs.files == 2 {
            let through = prices.life_through_lambda(&bench.last, outputs);
            report.lives.insert(format!("{name}, at 512 MB and through Lambda"), through);
        }
    }
    // Over 64 MiB a file goes in parts, whose PUTs are counted; all else is asked of S3 once, however large it is.
    let large = Outputs { files: 1, size: 10 << 30 };
    bench.life(Outputs { files: 1, size: 65 << 20 }).await?;
    let file = OutputFile { size: Some(large.size as u64), ..OutputFile::default() };
    let parts = parts(&cut(file, 64 << 20)).count() as f64;
    report.lives.insert("1 file of 10 GiB".to_owned(), prices.life(&bench.last, large, parts, memory));
    Ok(())
}

/// Cold starts of the usual read through TLS, at a share of a core.
async fn through_tls(template: &Template, share: f64) -> Result<Vec<Tls>> {
    let mut builder = template.stack().tls(true);
    if share < 1.0 {
        builder = builder.cpu_share(share);
    }
    let stack = builder.start().await?;
    let mut bench = Bench::start(&stack).await?;
    for _ in 0..COLD / 2 {
        stack.reclaim();
        bench.everything(Outputs { files: 0, size: 0 }).await?;
    }
    let of = |function: &'static str| {
        let figures = bench.samples.figures(function)?;
        Some(Tls { function, share, init_ms: figures.init_ms, first_ms: figures.first_ms })
    };
    let measured = ["hello", "get-job", "finish-job"].into_iter().filter_map(of).collect();
    stack.shutdown().await;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn get_job_is_held_against_a_read_of_the_same_job() -> Result<()> {
        let template = Template::write()?;
        let stack = template.stack().capacity(true).start().await?;
        let mut bench = Bench::start(&stack).await?;
        for _ in 0..2 {
            bench.everything(Outputs { files: 1, size: 1024 }).await?;
        }
        let units = |function| bench.samples.figures(function).map(|figures| figures.read_units);
        // A strongly consistent read of up to 4 KB.
        assert_eq!(units("hello-get-item"), Some(1.0));
        assert_eq!(units("hello"), Some(0.0));
        assert!(units("get-job") > units("hello-get-item"));
        bench.others(&Uuid::new_v4().to_string()).await.expect_err("there is no such job");
        stack.shutdown().await;
        Ok(())
    }
}
