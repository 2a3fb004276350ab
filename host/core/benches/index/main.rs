//! What one more fact costs when there is much already: with 100,000 live spans at most twice of what it does with 1,000.
//!
//! The index is filled with pipelines under way; then facts of one sort are measured, each about another pipeline. What has
//! to happen before such a fact, and what comes of it, is not measured.

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
/// The index is made anew when it has grown by more than one in so many objects.
const GROWTH: usize = 6;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .warm_up_time(Duration::from_millis(20));
    let mut rows: Vec<(&str, [Option<f64>; 3])> =
        SORTS.iter().map(|sort| (sort.name, [None; 3])).collect();
    for (size, pipelines) in PIPELINES.into_iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("index/{} spans", pipelines * 170));
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        for (sort, (_, times)) in SORTS.iter().zip(&mut rows) {
            let mut bed = Bed::new(pipelines, sort)?;
            let mut fastest: Option<f64> = None;
            group.bench_function(sort.name, |bencher| {
                bencher.iter_custom(|times| {
                    let each = match bed.measure() {
                        Ok(taken) => taken.as_secs_f64(),
                        Err(error) => {
                            eprintln!("{}: {error:#}", sort.name);
                            std::process::exit(1);
                        }
                    };
                    fastest = Some(fastest.map_or(each, |other| other.min(each)));
                    Duration::from_secs_f64(each * times as f64)
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

fn print(rows: &[(&str, [Option<f64>; 3])]) {
    println!(
        "{:<36} | {:>9} | {:>9} | {:>9} | {:>5} | ok",
        "one more", "1,000", "10,000", "100,000", "ratio"
    );
    for (name, times) in rows {
        let [Some(few), Some(some), Some(many)] = times else {
            // Another bench was asked for.
            continue;
        };
        let ratio = many / few;
        let holds = ratio <= TARGET;
        println!(
            "{name:<36} | {:>6.2} µs | {:>6.2} µs | {:>6.2} µs | {ratio:>5.2} | {}",
            few * 1e6,
            some * 1e6,
            many * 1e6,
            if holds { "yes" } else { "NO" }
        );
    }
    println!("target: with 100,000 live spans at most {TARGET} times the time with 1,000");
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
    fn measure(&mut self) -> anyhow::Result<Duration> {
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
