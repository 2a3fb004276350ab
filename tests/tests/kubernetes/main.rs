//! Every scenario played by the unmodified binary against a real kube-apiserver, and what else needs either of them.
//!
//! One API server serves all tests, so this is a program of its own: it starts the server, runs the tests side by side,
//! and ends the server whatever becomes of them.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry_tests::cluster::{self, ApiServer};
use lighthouse_telemetry_tests::process;
use lighthouse_telemetry_tests::real::{self, Comparison};
use lighthouse_telemetry_tests::scenario::{
    ALREADY_THERE, ANYWHERE, LATE, OLD_CLUSTER, ORPHANS, Scenario,
};
use tokio::runtime::Runtime;

mod chart;
mod comebacks;
mod faults;
mod foreign;
mod guide;
mod kills;
mod mappers;
mod outage;
mod processes;
mod replicas;
mod texts;
mod webhooks;

/// A test that is no scenario.
type Test =
    for<'ground> fn(&'ground Ground) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'ground>>;

/// What the tests share.
struct Ground {
    runtime: Runtime,
    binary: PathBuf,
    /// Where the components are that are in no executable.
    components: PathBuf,
    mappers: Mappers,
    new: ApiServer,
    old: ApiServer,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::from_args();
    // Each test waits more than it computes.
    arguments.test_threads.get_or_insert(4);
    if arguments.list {
        // Listing needs no server.
        libtest_mimic::run(&arguments, trials(None)?).exit();
    }
    let (binary, components) = process::build_with_mappers("dev")?;
    let runtime = Runtime::new()?;
    let (new, old) =
        runtime.block_on(async { tokio::try_join!(ApiServer::start(), ApiServer::start()) })?;
    runtime.block_on(async {
        tokio::try_join!(new.define(cluster::everything), old.define(cluster::old))
    })?;
    let ground = Arc::new(Ground {
        runtime,
        binary,
        components,
        mappers: Mappers::builtin()?,
        new,
        old,
    });
    let conclusion: Conclusion = libtest_mimic::run(&arguments, trials(Some(&ground))?);
    // Ends the servers, which leaving the process at once would leave to their script.
    drop(ground);
    conclusion.exit()
}

fn trials(ground: Option<&Arc<Ground>>) -> anyhow::Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for folder in [ANYWHERE, OLD_CLUSTER, ORPHANS, LATE, ALREADY_THERE] {
        for scenario in Scenario::all(folder)? {
            let name = format!("scenario_{}", scenario.name.replace('-', "_"));
            let old = folder == OLD_CLUSTER;
            let ground = ground.cloned();
            trials.push(Trial::test(name, move || {
                play(&*ground.ok_or("only listed")?, &scenario, old)
            }));
        }
    }
    for (number, shape) in kills::plan()?.into_iter().enumerate() {
        let ground = ground.cloned();
        let name = format!("killed_{number}_{}", shape.scenario.name.replace('-', "_"));
        trials.push(Trial::test(name, move || {
            shape.play(&*ground.ok_or("only listed")?)
        }));
    }
    let tests = chart::ALL
        .iter()
        .chain(comebacks::ALL)
        .chain(faults::ALL)
        .chain(guide::ALL)
        .chain(mappers::ALL)
        .chain(outage::ALL)
        .chain(processes::ALL)
        .chain(replicas::ALL)
        .chain(texts::ALL)
        .chain(webhooks::ALL);
    for (name, test) in tests {
        let ground = ground.cloned();
        trials.push(Trial::test(*name, move || {
            let ground = ground.ok_or("only listed")?;
            let outcome = ground.runtime.block_on(test(&ground));
            outcome.map_err(|error| Failed::from(format!("{error:?}")))
        }));
    }
    Ok(trials)
}

fn play(ground: &Ground, scenario: &Scenario, old: bool) -> Result<(), Failed> {
    let cluster = if old { &ground.old } else { &ground.new };
    let play = real::play(scenario, cluster, &ground.binary, &ground.mappers);
    let comparison = ground
        .runtime
        .block_on(play)
        .map_err(|error| format!("{error:?}"))?;
    Ok(compare(&comparison)?)
}

/// Whether the process made of a scenario what it should have; says what differs.
fn compare(comparison: &Comparison) -> Result<(), String> {
    let (expected, actual) = (&comparison.expected, &comparison.actual);
    difference(&expected.to_string(), &actual.to_string())
}

/// What differs in what the process made of something, if anything does.
fn difference(expected: &str, actual: &str) -> Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    let difference = similar::TextDiff::from_lines(expected, actual);
    let difference = difference
        .unified_diff()
        .context_radius(4)
        .header("pure", "real")
        .to_string();
    Err(difference)
}
