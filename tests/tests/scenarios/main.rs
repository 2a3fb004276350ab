//! Every scenario on the pure ground against its snapshot, and on the embedded API against the same one.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used)]

mod context;

use std::sync::LazyLock;

use lighthouse_telemetry::embedded::Resource;
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry_tests::embedded;
use lighthouse_telemetry_tests::outcome::Outcome;
use lighthouse_telemetry_tests::pure::{self, Pure};
use lighthouse_telemetry_tests::scenario::{ALREADY_THERE, LATE, OLD_CLUSTER, Scenario, Step};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

static MAPPERS: LazyLock<Mappers> =
    LazyLock::new(|| Mappers::builtin().expect("the built-in mappers"));

fn all() -> Vec<Scenario> {
    Scenario::everywhere().expect("scenarios")
}

fn each_against_its_snapshot(play: impl Fn(&Scenario) -> Outcome) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for scenario in all() {
        let outcome = play(&scenario);
        settings.bind(|| insta::assert_snapshot!(scenario.name.as_str(), outcome.to_string()));
    }
}

/// What the cluster of a scenario serves.
fn resources(scenario: &Scenario) -> Vec<Resource> {
    if scenario.folder != OLD_CLUSTER {
        return Resource::of_jenkins_x();
    }
    vec![
        Resource::namespaced("lighthouse.jenkins.io", &["v1alpha1"], "LighthouseJob"),
        Resource::namespaced("tekton.dev", &["v1beta1"], "PipelineRun"),
        Resource::namespaced("tekton.dev", &["v1beta1"], "TaskRun"),
        Resource::namespaced("", &["v1"], "Pod"),
        Resource::namespaced("", &["v1"], "Event"),
    ]
}

#[test]
fn on_the_pure_ground() {
    each_against_its_snapshot(|scenario| {
        let steps = scenario.steps().expect("steps");
        pure::play(&MAPPERS, &steps).expect("an outcome")
    });
}

#[test]
fn on_the_embedded_api() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    each_against_its_snapshot(|scenario| {
        let play = embedded::play(&MAPPERS, resources(scenario), scenario);
        let outcome = runtime.block_on(play);
        outcome.unwrap_or_else(|error| panic!("{}: {error:?}", scenario.name))
    });
}

/// One scenario, and an order in which its steps arrive, some of them several times.
fn shuffled() -> impl Strategy<Value = (Scenario, Vec<(u64, Step)>)> {
    // What a deadline has passed by makes a difference, which is what those are about.
    let timed = [LATE, ALREADY_THERE];
    let scenarios: Vec<Scenario> = all()
        .into_iter()
        .filter(|scenario| !timed.contains(&scenario.folder.as_str()))
        .collect();
    (any::<Index>(), prop::collection::vec(any::<Index>(), 0..8)).prop_flat_map(
        move |(scenario, again)| {
            let scenario = scenario.get(&scenarios).clone();
            let mut steps: Vec<_> = (1..).zip(scenario.steps().expect("steps")).collect();
            let twice: Vec<_> = again
                .iter()
                .map(|index| index.get(&steps).clone())
                .collect();
            steps.extend(twice);
            (Just(scenario), Just(steps).prop_shuffle())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The spans are a function of what was told, not of the order in which it was.
    #[test]
    fn any_order_and_repetition_gives_the_same_trace((scenario, steps) in shuffled()) {
        let in_order = scenario.steps().expect("steps");
        let expected = pure::play(&MAPPERS, &in_order).expect("an outcome");
        let last = in_order.last().expect("a step").at;
        let mut ground = Pure::new(&MAPPERS);
        ground.step_to(last).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (place, step) in &steps {
            ground.take(&step.what, *place).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        let outcome = ground.finish().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(outcome.trace(), expected.trace(), "scenario {}", scenario.name);
    }
}
