//! A job of an hour, with all who wait for it: the command `jobchute` as miner and as owner, against a clock that runs fast.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use local::{Billed, Stack};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, Color, DrawingArea, IntoLogRange, LineSeries, Palette, Palette99, SVGBackend, WHITE,
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use super::price::Prices;

/// How many times as fast as the system's clock the stack's runs, and everybody who waits.
const SPEED: u32 = if cfg!(debug_assertions) { 60 } else { 240 };
/// How long a miner looks for work before there is any.
const IDLE: Duration = Duration::from_secs(600);
/// How long the job's command runs.
const HOUR: Duration = Duration::from_secs(3600);
/// How often the reaper runs.
const REAPER: Duration = Duration::from_secs(60);

/// What a job carries.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Load {
    /// Bytes of its arguments, about.
    pub(super) arguments: usize,
    /// Files that it makes.
    pub(super) files: usize,
}

/// What is measured: the price list's goals, and a thousand files.
const LOADS: [Load; 6] = [
    Load { arguments: 100, files: 2 },
    Load { arguments: 10 << 10, files: 2 },
    Load { arguments: 100 << 10, files: 2 },
    Load { arguments: 1 << 20, files: 2 },
    Load { arguments: (4 << 20) - 100, files: 2 },
    Load { arguments: 100, files: 1000 },
];

/// Requests of one kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Part {
    pub(super) requests: usize,
    pub(super) write_units: f64,
    pub(super) read_units: f64,
    /// Dollars for a million such jobs.
    pub(super) per_million: f64,
}

/// What a job of an hour takes.
#[derive(Debug, Serialize)]
pub(super) struct Hour {
    pub(super) load: Load,
    /// From create to download, without what follows.
    pub(super) job: Part,
    /// PUTs and GETs of its files.
    pub(super) files: Part,
    pub(super) heartbeats: Part,
    pub(super) watching: Part,
    /// The miner's looks for work in the ten minutes before.
    pub(super) idle: Part,
    /// What the reaper reads and writes for it. The queries of an empty queue are those of all jobs together.
    pub(super) reaper: Part,
}

impl Hour {
    pub(super) fn parts(&self) -> [(&'static str, &Part); 6] {
        [
            ("the job itself", &self.job),
            ("its files' PUTs and GETs", &self.files),
            ("heartbeats", &self.heartbeats),
            ("its owner, watching", &self.watching),
            ("an idle miner for 10 minutes", &self.idle),
            ("the reaper's looks", &self.reaper),
        ]
    }

    pub(super) fn per_million(&self) -> f64 {
        self.parts().iter().map(|(_, part)| part.per_million).sum()
    }
}

/// Measures all of [`LOADS`].
pub(super) async fn measure(stack: &Stack, prices: &Prices) -> Result<Vec<Hour>> {
    let mut hours = Vec::new();
    for load in LOADS {
        let billed = one(stack, load).await?;
        hours.push(sort(stack, prices, load, &billed));
    }
    Ok(hours)
}

/// Everything that AWS would bill for one job.
async fn one(stack: &Stack, load: Load) -> Result<Vec<Billed>> {
    let folder = tempfile::tempdir().context("can't make a temporary folder")?;
    let id = |answer: Value, field: &str| answer[field].as_str().map(str::to_owned).context("admin: no id");
    let admin = async |command| stack.invoke("admin", command).await;
    let user = id(admin(json!({"command": "create_user"})).await?, "user_id")?;
    let key = id(admin(json!({"command": "create_key", "user_id": user})).await?, "key")?;
    let miner = id(admin(json!({"command": "create_user", "roles": ["miner"]})).await?, "user_id")?;
    let miner_key = id(admin(json!({"command": "create_key", "user_id": miner})).await?, "key")?;
    let chute = Uuid::new_v4().to_string();
    let methods = json!([{"name": "run", "timeout": 7200, "upload": true}]);
    let chute_row =
        json!({"chute_id": chute, "user_id": user, "name": "hour", "public": true, "version": "1", "methods": methods});
    admin(json!({"command": "put_chute", "chute": chute_row})).await?;

    stack.clock().run_fast(SPEED);
    stack.take_billed();
    // Built with the functions, and beside this program.
    let program = std::env::current_exe().context("where is this program?")?.with_file_name("jobchute");
    let command = |arguments: &[&str]| -> Command {
        let mut command = Command::new(&program);
        command.args(arguments).env("JOBCHUTE_URL", stack.url()).env("JOBCHUTE_SPEED", SPEED.to_string());
        command.env("JOBCHUTE_KEY", &key).env("JOBCHUTE_MINER_KEY", &miner_key).env("TMPDIR", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let files = format!("seq {} | while read n; do echo $n > \"$JOBCHUTE_OUTPUT/checkpoint-$n\"; done", load.files);
    let script = format!("sleep {}; {files}", (HOUR / SPEED).as_secs_f64());
    let working = run(command(&["work", "--chute", &chute, "--once", "--", "sh", "-c", &script]));
    let owning = async {
        tokio::time::sleep(IDLE / SPEED).await;
        let arguments = write(folder.path(), load.arguments)?;
        let arguments = format!("@{}", arguments.display());
        let job = run(command(&["create", &chute, "run", &arguments])).await?;
        run(command(&["watch", job.trim()])).await?;
        let to = folder.path().join("downloads");
        run(command(&["download", job.trim(), "--to", &to.to_string_lossy()])).await
    };
    let reaping = async || -> Result<()> {
        loop {
            tokio::time::sleep(REAPER / SPEED).await;
            stack.run_schedule("reap-jobs").await?;
        }
    };
    tokio::select! {
        done = async { tokio::try_join!(working, owning) } => drop(done?),
        ended = reaping() => ended?,
    }
    Ok(stack.take_billed())
}

/// What it printed, when it went well.
async fn run(mut command: Command) -> Result<String> {
    let done = command.output().await.context("the command jobchute does not start")?;
    ensure!(done.status.success(), "jobchute: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A file with arguments of this many bytes.
fn write(folder: &Path, bytes: usize) -> Result<PathBuf> {
    let file = folder.join("arguments.json");
    let arguments = json!({"prompt": "a lighthouse in a storm", "image": "A".repeat(bytes)});
    std::fs::write(&file, arguments.to_string()).context("can't write the arguments")?;
    Ok(file)
}

fn sort(stack: &Stack, prices: &Prices, load: Load, billed: &[Billed]) -> Hour {
    let [job, files, heartbeats, watching, idle, reaper] = std::array::from_fn(|_| Part::default());
    let mut hour = Hour { load, job, files, heartbeats, watching, idle, reaper };
    let runs = billed.iter().filter(|entry| entry.function.as_deref() == Some("reap-jobs"));
    // Before there is a job there is nothing but the queries.
    let idle_run = runs.map(|run| run.read_units).fold(f64::INFINITY, f64::min);
    for entry in billed {
        let part = match entry.function.as_deref() {
            None => &mut hour.files,
            Some("heartbeat-job") => &mut hour.heartbeats,
            Some("get-job") => &mut hour.watching,
            // Without a write, it has claimed nothing.
            Some("claim-next-job") if entry.write_units == 0.0 => &mut hour.idle,
            Some("reap-jobs") => {
                let reads = entry.read_units - idle_run;
                hour.reaper.requests += usize::from(reads + entry.write_units > 0.0);
                hour.reaper.read_units += reads;
                hour.reaper.write_units += entry.write_units;
                hour.reaper.per_million += prices.units(reads, entry.write_units);
                continue;
            }
            Some(_) => &mut hour.job,
        };
        part.requests += 1;
        part.read_units += entry.read_units;
        part.write_units += entry.write_units;
        part.per_million += prices.billed(entry, |function| stack.memory(function).map_or(128.0, |mb| mb as f64));
    }
    hour
}

pub(super) fn print(hours: &[Hour]) {
    println!("\nA job of an hour, dollars per million jobs (requests each), by what it carries:");
    print!("{:<30}", "");
    for Hour { load, .. } in hours {
        print!(" {:>8} + {:>4} files", size(load.arguments), load.files);
    }
    println!();
    let rows = hours.first().map(Hour::parts).into_iter().flatten().map(|(name, _)| name);
    for (row, name) in rows.enumerate() {
        print!("{name:<30}");
        for (_, part) in hours.iter().map(|hour| hour.parts()[row]) {
            print!(" {:>12.1} ({:>5})", part.per_million, part.requests);
        }
        println!();
    }
    print!("{:<30}", "together");
    hours.iter().for_each(|hour| print!(" {:>12.1}        ", hour.per_million()));
    println!();
}

/// Dollars against the bytes of the arguments: the same, whatever a job carries.
pub(super) fn plot(hours: &[Hour], area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    let hours: Vec<_> = hours.iter().filter(|hour| hour.load.files == 2).collect();
    let bytes = |hour: &&Hour| hour.load.arguments as f64;
    let (first, last) = (hours.first().map_or(1.0, bytes), hours.last().map_or(2.0, bytes));
    let most = hours.iter().map(|hour| hour.per_million()).fold(0.0, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area);
    chart.caption("a million jobs of an hour (dollars)", ("sans-serif", 18)).margin(12);
    chart.x_label_area_size(36).y_label_area_size(48);
    let mut chart = chart.build_cartesian_2d((first..last).log_scale(), 0.0..most)?;
    chart.configure_mesh().x_desc("bytes of arguments").draw()?;
    let names = ["the job itself", "heartbeats", "its owner, watching", "together"];
    for (index, name) in names.into_iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let dollars = |hour: &Hour| {
            let part = hour.parts().into_iter().find(|(of, _)| *of == name);
            part.map_or(hour.per_million(), |(_, part)| part.per_million)
        };
        let line: Vec<_> = hours.iter().map(|hour| (bytes(hour), dollars(hour))).collect();
        chart.draw_series(line.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
        let drawn = chart.draw_series(LineSeries::new(line, colour))?.label(name);
        drawn.legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
