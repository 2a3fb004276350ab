//! What a pipeline in flight costs in memory, and what is left of it when it is over.
//!
//! Bytes are those that the index has asked the allocator for. The allocator's own share comes on top: about a sixth with
//! glibc.

#[path = "../pipeline/mod.rs"]
mod pipeline;

use std::time::Duration;

use peak_alloc::PeakAlloc;

use pipeline::World;
use pipeline::objects::{OBJECTS, Pipeline};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// So many pipelines are in flight at once.
const PIPELINES: [usize; 2] = [100, 1000];
/// Bytes of one: ten times what a busy cluster has in flight, 2,000 pipelines, fit a Pod of 256 MiB.
const TARGET: usize = 80_000;
/// Share of what was in flight that may be left when all is over.
const LEFT: f64 = 0.05;

fn main() -> anyhow::Result<()> {
    println!(
        "{:>9} | {:>12} | {:>14} | ok  | {:>12} | {:>5} | ok",
        "in flight", "bytes", "a pipeline", "when over", "share"
    );
    let mut missed = 0;
    for pipelines in PIPELINES {
        let before = ALLOCATOR.current_usage();
        let mut world = World::with(pipelines)?;
        let used = ALLOCATOR.current_usage() - before;
        let each = used / pipelines;
        end(&mut world, pipelines)?;
        let finished = (ALLOCATOR.current_usage() - before) / (pipelines * OBJECTS);
        delete(&mut world, pipelines)?;
        let remembered = (ALLOCATOR.current_usage() - before) / pipelines;
        // An exported event is remembered for a day.
        world.pass(Duration::from_secs(25 * 3600));
        let left = ALLOCATOR.current_usage() - before;
        let share = left as f64 / used as f64;
        println!(
            "{pipelines:>9} | {used:>12} | {each:>14} | {:<3} | {left:>12} | {share:>5.3} | {}",
            answer(each <= TARGET),
            answer(share <= LEFT),
        );
        missed += usize::from(each > TARGET) + usize::from(share > LEFT);
        println!(
            "          {finished} bytes an object that has ended, {remembered} an event that is over; {} spans exported, {:?}",
            world.exported,
            world.index.counts()
        );
    }
    println!(
        "target: at most {TARGET} bytes a pipeline in flight, and {LEFT} of them when all is over"
    );
    anyhow::ensure!(missed == 0, "memory is not kept");
    Ok(())
}

fn answer(holds: bool) -> &'static str {
    if holds { "yes" } else { "NO" }
}

/// All pipelines end and are exported.
fn end(world: &mut World, pipelines: usize) -> anyhow::Result<()> {
    for number in 0..pipelines {
        for object in Pipeline(number).objects(true) {
            let fact = world.applied(&object)?;
            world.observe(fact);
        }
    }
    world.pass(Duration::from_secs(60));
    Ok(())
}

/// All pipelines are deleted and, but for their events, forgotten.
fn delete(world: &mut World, pipelines: usize) -> anyhow::Result<()> {
    for number in 0..pipelines {
        for object in Pipeline(number).objects(true) {
            let fact = world.deleted(&object)?;
            world.observe(fact);
        }
    }
    world.pass(Duration::from_secs(3600));
    Ok(())
}
