//! How fast a watch stream is taken in, as a share of what `kube::runtime::watcher` does alone with the same bytes.
//!
//! Both sides run on one thread and read the same recorded stream from memory. The bare side decodes it to
//! `DynamicObject` and counts. Ours is all that the host does with it until spans are finished: decode and project in
//! the watches, index, map in a sandbox, annotate, export (to nowhere). So the ratio says what the host adds.

mod canned;
mod sides;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use criterion::{Criterion, SamplingMode};
use lighthouse_telemetry::mappers::Mappers;

use canned::Canned;

/// So many pull requests at once, two pipelines each.
const PULL_REQUESTS: u16 = 20;
/// Share of the bare watcher's rate that must be reached.
const TARGET: f64 = 0.5;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mappers = Mappers::builtin()?;
    let canned = runtime.block_on(Canned::record(&mappers.catalog, PULL_REQUESTS))?;
    let canned = Arc::new(canned);
    // The first time pays for what is set up once.
    runtime.block_on(sides::ingest(&canned, &mappers))?;
    let check = runtime.block_on(sides::ingest(&canned, &mappers))?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut fastest = [None; 2];
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mut measure = |name, place: usize, once: &dyn Fn() -> anyhow::Result<()>| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                for _ in 0..times {
                    if let Err(error) = once() {
                        eprintln!("{name}: {error:#}");
                        std::process::exit(1);
                    }
                }
                let taken = start.elapsed();
                let each = taken.as_secs_f64() / times as f64;
                if let Some(fastest) = fastest.get_mut(place) {
                    *fastest = Some(fastest.map_or(each, |other: f64| other.min(each)));
                }
                taken
            });
        });
    };
    measure("bare watcher", 0, &|| {
        runtime.block_on(sides::bare(&canned, &mappers.catalog))
    });
    measure("ingest", 1, &|| {
        runtime.block_on(sides::ingest(&canned, &mappers)).map(drop)
    });
    group.finish();
    criterion.final_summary();

    let [Some(bare), Some(ingest)] = fastest else {
        // Another bench was asked for.
        return Ok(());
    };
    let rate = |seconds: f64| canned.changes as f64 / seconds;
    let ratio = bare / ingest;
    println!(
        "{} changes, {} bytes; {} mappings, {} spans",
        canned.changes, canned.bytes, check.mappings, check.spans
    );
    println!(
        "once: {:.0?}, of which {:.0?} in the watches, {:.0?} in mappers",
        check.whole, check.watching, check.mapping
    );
    println!(
        "bare watcher  {:>9.0} changes/s  {:>8.1?}",
        rate(bare),
        seconds(bare)?
    );
    println!(
        "ingest        {:>9.0} changes/s  {:>8.1?}",
        rate(ingest),
        seconds(ingest)?
    );
    println!(
        "ratio         {ratio:>9.2}  target {TARGET}  {}",
        if ratio >= TARGET { "yes" } else { "NO" }
    );
    Ok(())
}

fn seconds(seconds: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(seconds).context("a measurement is no duration")
}
