//! Cost and latency against the number of stored jobs.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use local::Stack;
use plotters::{
    coord::Shift,
    prelude::{ChartBuilder, Circle, Color, DrawingArea, IntoLogRange, LineSeries, RGBColor, SVGBackend, WHITE},
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    life::{Bench, Outputs},
    samples::Samples,
};

/// Items in one BatchWriteItem.
const BATCH: usize = 25;
/// Requests whose cost should not depend on what is stored.
const WATCHED: [&str; 6] = ["create-job", "claim-next-job", "list-claimable-jobs", "claim-job", "get-job", "list-jobs"];

/// A function with this many jobs stored.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) stored: usize,
    pub(super) function: &'static str,
    pub(super) warm_ms: f64,
    pub(super) units: f64,
}

/// Measures at each of these numbers of jobs, all of one user, on one chute, and each waiting for a miner: the worst case. A point
/// is the median of so many lives.
pub(super) async fn measure(stack: &Stack, numbers: &[usize], lives: usize) -> Result<Vec<Point>> {
    let mut bench = Bench::start(stack).await?;
    bench.life(Outputs { files: 1, size: 1024 }).await?;
    let job_id = bench.create().await?;
    let pending = stored_job(stack, &job_id).await?;
    // No other may wait before those that are measured.
    bench.look_and_claim(&job_id).await?;
    let (mut points, mut stored) = (Vec::new(), 0);
    for &number in numbers {
        fill(stack, &pending, stored..number).await?;
        stored = number;
        bench.samples = Samples::default();
        for _ in 0..lives {
            bench.life(Outputs { files: 1, size: 1024 }).await?;
            bench.list().await?;
            let job_id = bench.create().await?;
            bench.look_and_claim(&job_id).await?;
        }
        for function in WATCHED {
            let figures = bench.samples.figures(function).context("no samples")?;
            let units = figures.read_units + figures.write_units;
            points.push(Point { stored, function, warm_ms: figures.warm_ms, units });
        }
        eprintln!("  {number} jobs stored");
    }
    Ok(points)
}

/// The job's item.
async fn stored_job(stack: &Stack, job_id: &str) -> Result<Value> {
    let request = json!({"TableName": stack.resource("JobsTable")?, "Key": {"job_id": {"S": job_id}}});
    let mut stored = stack.dynamodb("GetItem", request).await?;
    stored.get_mut("Item").map(Value::take).context("the job is not stored")
}

/// Stores copies of a pending job as of the year 2096: a user's list begins with them, and a chute's queue ends with them.
async fn fill(stack: &Stack, pending: &Value, numbers: Range<usize>) -> Result<()> {
    let table = stack.resource("JobsTable")?;
    let copy = |number: usize| {
        let mut item = pending.clone();
        let time = |unit: usize| json!({"N": ((4_000_000_000_000 + number) * unit).to_string()});
        item["job_id"] = json!({"S": Uuid::new_v4()});
        (item["created_at"], item["due_at"]) = (time(1), time(1_000_000));
        json!({"PutRequest": {"Item": item}})
    };
    let numbers: Vec<_> = numbers.collect();
    for batch in numbers.chunks(BATCH) {
        let puts: Vec<Value> = batch.iter().copied().map(copy).collect();
        let answer = stack.dynamodb("BatchWriteItem", json!({"RequestItems": {table: puts}})).await?;
        let left = answer["UnprocessedItems"].as_object().is_some_and(|left| !left.is_empty());
        ensure!(!left, "the engine did not take all jobs");
    }
    Ok(())
}

/// Latency above, capacity below; both against the number of stored jobs.
pub(super) fn plot(points: &[Point], area: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<()> {
    const COLOURS: [RGBColor; WATCHED.len()] = [
        RGBColor(31, 119, 180),
        RGBColor(227, 119, 194),
        RGBColor(255, 127, 14),
        RGBColor(44, 160, 44),
        RGBColor(148, 103, 189),
        RGBColor(140, 86, 75),
    ];
    let (first, last) = (points.iter().map(|p| p.stored).min(), points.iter().map(|p| p.stored).max());
    let range = (first.unwrap_or(1) as f64..last.unwrap_or(1) as f64).log_scale();
    type Figure = fn(&Point) -> f64;
    let figures: [(&str, Figure); 2] =
        [("warm request, median (ms)", |point| point.warm_ms), ("capacity units per request", |point| point.units)];
    for (half, (title, figure)) in area.split_evenly((2, 1)).iter().zip(figures) {
        let most = points.iter().map(figure).fold(0.0, f64::max) * 1.2;
        let mut chart = ChartBuilder::on(half);
        chart.caption(title, ("sans-serif", 18)).margin(12).x_label_area_size(36).y_label_area_size(48);
        let mut chart = chart.build_cartesian_2d(range.clone(), 0.0..most)?;
        chart.configure_mesh().x_desc("jobs stored").draw()?;
        for (function, colour) in WATCHED.into_iter().zip(COLOURS) {
            let line: Vec<_> =
                points.iter().filter(|p| p.function == function).map(|p| (p.stored as f64, figure(p))).collect();
            chart.draw_series(line.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
            let drawn = chart.draw_series(LineSeries::new(line, colour))?.label(function);
            drawn.legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[tokio::test]
    async fn what_a_request_takes_does_not_grow_with_what_is_stored() -> Result<()> {
        let stack = Stack::builder().capacity(true).start().await?;
        let points = measure(&stack, &[0, 100, 300], 3).await?;
        let units = |stored| {
            let points = points.iter().filter(|point| point.stored == stored);
            points.map(|point| (point.function, point.units)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(units(300), units(100));
        // The copies are there: a page is full of them.
        assert!(units(100)["list-jobs"] > units(0)["list-jobs"], "{points:?}");
        assert!(WATCHED.into_iter().all(|function| units(300)[function] > 0.0), "{points:?}");
        stack.shutdown().await;
        Ok(())
    }
}
