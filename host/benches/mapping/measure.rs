//! Measures, and prints what came of it.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::bail;
use criterion::Criterion;
use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_engine::Mapper;
use serde_json::Value;

use crate::subjects::Case;

/// Microseconds to decode a case's objects, and to map their projection in a fresh sandbox. None if the command line asks
/// for other benches.
pub fn both(
    criterion: &mut Criterion,
    what: &str,
    mapper: &Mapper,
    case: &Case,
) -> anyhow::Result<Option<(f64, f64)>> {
    let subject = case.subject(mapper)?;
    match mapper.map(&subject)? {
        Outcome::Spans(trees) if !trees.is_empty() => {}
        other => bail!("{what}: the mapper makes no spans of it but {other:?}"),
    }
    let decode = fastest(criterion, &format!("{what}/decode"), || {
        for json in &case.json {
            let decoded = serde_json::from_str::<Value>(black_box(json));
            black_box(&decoded);
        }
    });
    let map = fastest(criterion, &format!("{what}/map"), || {
        let mapped = mapper.map(black_box(&subject));
        black_box(&mapped);
    });
    Ok(decode.zip(map))
}

/// Microseconds of the fastest sample: what else the machine does can only add to a measurement.
fn fastest(criterion: &mut Criterion, name: &str, mut work: impl FnMut()) -> Option<f64> {
    let mut fastest: Option<f64> = None;
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            for _ in 0..times {
                work();
            }
            let taken: Duration = start.elapsed();
            let each = taken.as_secs_f64() * 1e6 / times as f64;
            fastest = Some(fastest.map_or(each, |other| other.min(each)));
            taken
        });
    });
    fastest
}

/// A line of the table.
pub struct Row {
    pub what: &'static str,
    /// Length of the JSON that is decoded.
    pub bytes: usize,
    /// Microseconds.
    pub decode: f64,
    /// Microseconds.
    pub map: f64,
    /// Share of decoding.
    pub target: f64,
    /// Microseconds that are good enough whatever their share.
    pub enough: Option<f64>,
}

/// What is printed at the end.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn add(&mut self, row: Row) {
        self.0.push(row);
    }
}

impl Table {
    /// How many times as long one mapping takes as another one.
    pub fn times(&self, one: &str, other: &str) -> Option<f64> {
        let map = |what: &str| {
            let mut rows = self.0.iter().filter(|row| row.what == what);
            rows.next().map(|row| row.map)
        };
        Some(map(one)? / map(other)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<30} | {:>6} | {:>9} | {:>9} | {:>5} | {:<15} | ok",
            "what", "bytes", "decode µs", "map µs", "ratio", "target"
        )?;
        for row in &self.0 {
            let ratio = row.map / row.decode;
            let target = match row.enough {
                Some(enough) => format!("{} or {enough} µs", row.target),
                None => row.target.to_string(),
            };
            let reached = ratio <= row.target || row.enough.is_some_and(|enough| row.map <= enough);
            writeln!(
                formatter,
                "{:<30} | {:>6} | {:>9.1} | {:>9.1} | {ratio:>5.2} | {target:<15} | {}",
                row.what,
                row.bytes,
                row.decode,
                row.map,
                if reached { "yes" } else { "NO" }
            )?;
        }
        Ok(())
    }
}
