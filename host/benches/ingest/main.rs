//! How fast a watch stream is taken in, as a share of what `kube::runtime::watcher` does alone with the same bytes.
//!
//! Both sides run on one thread and read the same recorded stream from memory, as fast as they can. The bare side
//! decodes it to `DynamicObject` and counts. Ours is all that the host does with it until spans are finished: decode and
//! project in the watches, index, map in a sandbox, annotate, export (to nowhere). So the ratio says what the host adds.
//!
//! A second line says what the same changes cost when they come over minutes, as they were recorded. Then most of them are
//! mapped; in a flood what changes again within a second is mapped once.
//!
//! Then the same once more, with what is exported encoded, without and with a journal on disk: all that has to be written
//! is, when the stream is at its end.

mod canned;
mod sides;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use criterion::{Criterion, SamplingMode};
use lighthouse_telemetry::journal::{self, Journal, Store};
use lighthouse_telemetry::mappers::Mappers;

use canned::Canned;
use sides::{Keeper, Pace};

/// So many pull requests at once, two pipelines each.
const PULL_REQUESTS: u16 = 20;
/// Share of the bare watcher's rate that must be reached.
const TARGET: f64 = 0.5;
/// Share of the rate without a journal that must be reached with it.
const JOURNAL_TARGET: f64 = 0.8;

fn journal(directory: &Path) -> anyhow::Result<Journal> {
    let settings = journal::Settings {
        directory: directory.to_owned(),
        max_size: 1 << 30,
    };
    let store = Store::open(&settings.directory, settings.max_size);
    Ok(Journal::start(settings, store)?)
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mappers = Mappers::builtin()?;
    let canned = runtime.block_on(Canned::record(&mappers.catalog, PULL_REQUESTS))?;
    let canned = Arc::new(canned);
    // The first time pays for what is set up once.
    runtime.block_on(sides::ingest(&canned, &mappers, Pace::Flood, None))?;

    let mut criterion = Criterion::default().configure_from_args();
    let mut fastest = [None; 7];
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let mut measure = |name: &str, place: usize, once: &dyn Fn() -> anyhow::Result<()>| {
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
            let ingested = sides::ingest(&canned, &mappers, pace, None);
            runtime.block_on(ingested).map(drop)
        });
    }
    let mut place = 3;
    for pace in [Pace::Flood, Pace::Recorded] {
        for keeps in [false, true] {
            let name = format!(
                "ingest, {pace:?}, {}",
                if keeps { "journal" } else { "encoded" }
            );
            measure(&name, place, &|| {
                let directory = tempfile::tempdir()?;
                let journal = if keeps {
                    journal(directory.path())?
                } else {
                    Journal::off()
                };
                let keeper = Some(Keeper::of(journal));
                let ingested = sides::ingest(&canned, &mappers, pace, keeper);
                runtime.block_on(ingested).map(drop)
            });
            place += 1;
        }
    }
    group.finish();
    criterion.final_summary();

    let [
        Some(bare),
        Some(flood),
        Some(recorded),
        Some(flood_unkept),
        Some(flood_kept),
        Some(recorded_unkept),
        Some(recorded_kept),
    ] = fastest
    else {
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
    for (name, unkept, kept) in [
        ("in a flood", flood_unkept, flood_kept),
        ("over minutes", recorded_unkept, recorded_kept),
    ] {
        let ratio = unkept / kept;
        println!(
            "with the journal, {name}: {:.0} changes/s, {ratio:.2} of the rate without it  target {JOURNAL_TARGET}  {}",
            canned.changes as f64 / kept,
            if ratio >= JOURNAL_TARGET { "yes" } else { "NO" }
        );
    }
    for (name, pace) in [
        ("ingest", Pace::Flood),
        ("ingest over minutes", Pace::Recorded),
    ] {
        let once = runtime.block_on(sides::ingest(&canned, &mappers, pace, None))?;
        println!(
            "{name}, once: {:.0?}, of which {:.0?} in the watches, {:.0?} in {} mappings; {} spans",
            once.whole, once.watching, once.mapping, once.mappings, once.spans
        );
    }
    Ok(())
}
