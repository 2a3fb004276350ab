//! How fast a watch stream is taken in, as a share of what `kube::runtime::watcher` does alone with the same bytes.
//!
//! Both sides run on one thread and read the same recorded stream from memory, as fast as they can. The bare side
//! decodes it to `DynamicObject` and counts. Ours is all that the host does with it until spans are finished: decode and
//! project in the watches, index, map in a sandbox, annotate, export (to nowhere). So the ratio says what the host adds.
//!
//! A second line says what the same changes cost when they come over minutes, as they were recorded. Then most of them are
//! mapped; in a flood what changes again within a second is mapped once.

mod canned;
mod sides;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use criterion::{Criterion, SamplingMode};
use lighthouse_telemetry::mappers::Mappers;

use canned::Canned;
use sides::Pace;

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
    runtime.block_on(sides::ingest(&canned, &mappers, Pace::Flood))?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut fastest = [None; 3];
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
    for (name, place, pace) in [
        ("ingest", 1, Pace::Flood),
        ("ingest over minutes", 2, Pace::Recorded),
    ] {
        measure(name, place, &|| {
            let ingested = sides::ingest(&canned, &mappers, pace);
            runtime.block_on(ingested).map(drop)
        });
    }
    group.finish();
    criterion.final_summary();

    let [Some(bare), Some(flood), Some(recorded)] = fastest else {
        // Another bench was asked for.
        return Ok(());
    };
    println!("{} changes, {} bytes", canned.changes, canned.bytes);
    let line = |name: &str, each: f64| -> anyhow::Result<String> {
        let rate = canned.changes as f64 / each;
        let each = Duration::try_from_secs_f64(each).context("a measurement is no duration")?;
        Ok(format!(
            "{name:<20}  {rate:>7.0} changes/s  {each:>8.1?}  ratio {:.2}",
            bare / each.as_secs_f64()
        ))
    };
    println!("{}", line("bare watcher", bare)?);
    println!(
        "{}  target {TARGET}  {}",
        line("ingest", flood)?,
        if bare / flood >= TARGET { "yes" } else { "NO" }
    );
    println!("{}", line("ingest over minutes", recorded)?);
    for (name, pace) in [
        ("ingest", Pace::Flood),
        ("ingest over minutes", Pace::Recorded),
    ] {
        let once = runtime.block_on(sides::ingest(&canned, &mappers, pace))?;
        println!(
            "{name}, once: {:.0?}, of which {:.0?} in the watches, {:.0?} in {} mappings; {} spans",
            once.whole, once.watching, once.mapping, once.mappings, once.spans
        );
    }
    Ok(())
}
