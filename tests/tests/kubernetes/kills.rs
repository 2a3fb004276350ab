//! The process killed at random points of a running load, again and again: what arrives is what would have arrived.
//!
//! Ten kills in an ordinary run; `make chaos` sets `CHAOS_KILLS` to more. `CHAOS_SEED` decides when they happen.

use anyhow::Context;
use libtest_mimic::Failed;
use lighthouse_telemetry_tests::host::Kills;
use lighthouse_telemetry_tests::real;
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario, What};

use super::{Ground, compare};

/// Of one play of a scenario.
const KILLS: u32 = 5;

/// Those that an ordinary run plays: big ones, with several traces, retries and pulls.
const FIRST: [&str; 2] = ["pull-request", "retries"];

/// A scenario and how often the process is killed during it.
pub struct Shape {
    pub scenario: Scenario,
    kills: Kills,
}

/// A number in the environment.
pub fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is no number: {text}")),
        Err(_) => Ok(default),
    }
}

/// Scenarios of which nothing is lost while nobody looks, the big ones first.
pub fn scenarios() -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for scenario in Scenario::all(ANYWHERE)? {
        // What happens to an object while nobody looks, and is gone when somebody does, nobody can tell.
        let mut steps = scenario.steps()?.into_iter();
        if steps.all(|step| !matches!(step.what, What::Deleted(_))) {
            scenarios.push(scenario);
        }
    }
    scenarios.sort_by_key(|scenario| !FIRST.contains(&scenario.name.as_str()));
    Ok(scenarios)
}

/// What to play.
pub fn plan() -> anyhow::Result<Vec<Shape>> {
    let kills = u32::try_from(number("CHAOS_KILLS", 10)?)?;
    let seed = number("CHAOS_SEED", 1)?;
    let scenarios = scenarios()?;
    let plays = kills.div_ceil(KILLS);
    let shapes = (0..plays)
        .zip(scenarios.iter().cycle())
        .map(|(play, scenario)| Shape {
            scenario: scenario.clone(),
            kills: Kills {
                count: KILLS.min(kills - play * KILLS),
                steps: 0,
                seed: seed + u64::from(play),
                leader: false,
            },
        });
    Ok(shapes.collect())
}

impl Shape {
    pub fn play(&self, ground: &Ground) -> Result<(), Failed> {
        let play = real::play_disturbed(
            &self.scenario,
            &ground.new,
            &ground.binary,
            &ground.mappers,
            self.kills,
        );
        let seed = self.kills.seed;
        let comparison = ground
            .runtime
            .block_on(play)
            .map_err(|error| format!("with CHAOS_SEED={seed}: {error:?}"))?;
        Ok(compare(&comparison)?)
    }
}
