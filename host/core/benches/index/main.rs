//! What one more fact costs when there is much already: with 100,000 live spans at most twice of what it does with 1,000.
//!
//! The index is filled with pipelines under way; then facts of one sort are measured, each about another pipeline. What has
//! to happen before such a fact, and what comes of it, is not measured.
//!
//! Like is compared with like: before each fact the processor's caches are filled with something else, with few spans as with
//! many. So they are in a host, which decodes objects and runs mappers between two facts. Without that an index of 1,000 spans,
//! half a megabyte, stays in the nearest caches from one fact to the next, one of 100,000, 40 megabytes, fits in none, and what is
//! compared is the processor's memory and not what the index does. That ratio is given, too, as `warm`.

#[path = "../pipeline/mod.rs"]
mod pipeline;
mod sorts;

use std::time::{Duration, Instant};

use anyhow::Context;
use criterion::{Criterion, SamplingMode};

use lighthouse_telemetry_core::index::{Effect, Fact};
use pipeline::World;
use pipeline::objects::{OBJECTS, Pipeline, TASKS};
use sorts::{SORTS, Sort, Target};

/// Pipelines under way, of 170 spans each: about 1,000, 10,000 and 100,000 spans.
const PIPELINES: [usize; 3] = [6, 59, 588];
/// A fact with the most pipelines may take so many times what it does with the fewest.
const TARGET: f64 = 2.0;
/// So many facts are measured together.
const TOGETHER: usize = 24;
/// So many times each, of which the fastest counts: what else the machine does only makes it slower.
const SAMPLES: usize = 40;
/// The index is made anew when it has grown by more than one in so many objects.
const GROWTH: usize = 6;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .warm_up_time(Duration::from_millis(20));
    let mut rows: Vec<Row> = SORTS.iter().map(|sort| (sort.name, [None; 3])).collect();
    let caches = Caches::new();
    for (size, pipelines) in PIPELINES.into_iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("index/{} spans", pipelines * 170));
        group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat);
        for (sort, (_, times)) in SORTS.iter().zip(&mut rows) {
            let mut bed = None;
            let mut fastest: Option<Times> = None;
            group.bench_function(sort.name, |bencher| {
                bencher.iter_custom(|times| {
                    let each = match measure(&mut bed, pipelines, sort, &caches) {
                        Ok(each) => each,
                        Err(error) => {
                            eprintln!("{}: {error:#}", sort.name);
                            std::process::exit(1);
                        }
                    };
                    fastest = Some(fastest.map_or(each, |other| Times {
                        cold: other.cold.min(each.cold),
                        warm: other.warm.min(each.warm),
                    }));
                    Duration::from_secs_f64(each.cold * times as f64)
                });
            });
            if let Some(time) = times.get_mut(size) {
                *time = fastest;
            }
        }
        group.finish();
    }
    criterion.final_summary();
    print(&rows);
    Ok(())
}

fn print(rows: &[Row]) {
    println!(
        "{:<36} | {:>9} | {:>9} | {:>9} | {:>5} | {:<3} | {:>9} | {:>9} | {:>5}",
        "one more", "1,000", "10,000", "100,000", "ratio", "ok", "warm", "100,000", "ratio"
    );
    for (name, times) in rows {
        let [Some(few), Some(some), Some(many)] = times else {
            // Another bench was asked for.
            continue;
        };
        let ratio = many.cold / few.cold;
        let holds = ratio <= TARGET;
        println!(
            "{name:<36} | {:>6.2} µs | {:>6.2} µs | {:>6.2} µs | {ratio:>5.2} | {:<3} | {:>6.2} µs | {:>6.2} µs | {:>5.2}",
            few.cold * 1e6,
            some.cold * 1e6,
            many.cold * 1e6,
            if holds { "yes" } else { "NO" },
            few.warm * 1e6,
            many.warm * 1e6,
            many.warm / few.warm,
        );
    }
    println!("target: with 100,000 live spans at most {TARGET} times the time with 1,000");
}

/// A sort of facts and what one took with each number of pipelines.
type Row = (&'static str, [Option<Times>; 3]);

/// What a fact took, in seconds.
#[derive(Clone, Copy)]
struct Times {
    /// With caches that hold something else.
    cold: f64,
    /// As fast as one can come after the other.
    warm: f64,
}

/// More memory than the processor has caches.
struct Caches(Vec<u64>);

impl Caches {
    fn new() -> Self {
        Self(vec![1; 48 << 17])
    }

    /// Fills them with something else.
    fn fill(&self) {
        let lines = self.0.iter().step_by(8);
        std::hint::black_box(lines.fold(0u64, |sum, word| sum.wrapping_add(*word)));
    }
}

/// Times of a fact; the index is made when it is measured first.
fn measure<'s>(
    bed: &mut Option<Bed<'s>>,
    pipelines: usize,
    sort: &'s Sort,
    caches: &Caches,
) -> anyhow::Result<Times> {
    let bed = match bed {
        Some(bed) => bed,
        None => bed.insert(Bed::new(pipelines, sort)?),
    };
    Ok(Times {
        cold: bed.measure(Some(caches))?.as_secs_f64(),
        warm: bed.measure(None)?.as_secs_f64(),
    })
}

/// What is measured; by itself, so that it can be found in a profile.
#[inline(never)]
fn observe(world: &mut World, fact: Fact) -> Vec<Effect> {
    world.index.observe(world.now, fact)
}

/// An index to be measured.
struct Bed<'s> {
    pipelines: usize,
    sort: &'s Sort,
    world: World,
    /// Facts since the index was made.
    grown: usize,
    /// Facts so far; each is of its own.
    facts: usize,
}

impl<'s> Bed<'s> {
    fn new(pipelines: usize, sort: &'s Sort) -> anyhow::Result<Self> {
        Ok(Self {
            pipelines,
            sort,
            world: sorts::world(pipelines)?,
            grown: 0,
            facts: 0,
        })
    }

    /// Time of a fact: the median of [`TOGETHER`], since others may want the processor at the same time.
    fn measure(&mut self, caches: Option<&Caches>) -> anyhow::Result<Duration> {
        if self.grown > self.pipelines * OBJECTS / GROWTH {
            self.world = sorts::world(self.pipelines)?;
            self.grown = 0;
        }
        self.grown += TOGETHER;
        // Each task once before any comes again, by a stride that has no divisor in common with any number of pipelines.
        let targets: Vec<Target> = (self.facts..self.facts + TOGETHER)
            .map(|number| Target {
                number,
                pipeline: Pipeline(number * 101 % self.pipelines),
                task: number / self.pipelines % TASKS,
            })
            .collect();
        self.facts += TOGETHER;
        let facts = (self.sort.prepare)(&mut self.world, &targets)?;
        anyhow::ensure!(facts.len() == TOGETHER, "a fact is missing");
        let mut effects = Vec::with_capacity(facts.len());
        let mut times = Vec::with_capacity(facts.len());
        for fact in facts {
            if let Some(caches) = caches {
                caches.fill();
            }
            let start = Instant::now();
            effects.push(observe(&mut self.world, fact));
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let taken = times.get(TOGETHER / 2).copied().unwrap_or_default();
        for effects in effects {
            self.world.carry_out(effects);
        }
        (self.sort.check)(&self.world)
            .then_some(taken)
            .context("the facts had no effect")
    }
}
