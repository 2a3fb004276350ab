//! Every span of every scenario, and of the demo, against the OpenTelemetry semantic conventions.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;

use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::recording::Recording;
use lighthouse_telemetry_tests::conventions::{Tables, check};
use lighthouse_telemetry_tests::outcome::count;
use lighthouse_telemetry_tests::pure;
use lighthouse_telemetry_tests::scenario::{self, Scenario, Step};

/// Fails with all violations at once, if there are any.
fn assert_all_keep_to_the_conventions(plays: Vec<(String, Vec<Step>)>) {
    let mappers = Mappers::builtin().expect("the built-in mappers");
    let tables = Tables::read().expect("the tables");
    let mut violations = BTreeSet::new();
    let mut spans = 0;
    for (name, steps) in plays {
        let exported = pure::exported(&mappers, &steps).expect("spans");
        spans += count(&exported);
        let found = check(&tables, &exported);
        violations.extend(found.iter().map(|violation| format!("{name}: {violation}")));
    }
    assert!(spans > 0, "there are no spans");
    let violations: Vec<_> = violations.into_iter().collect();
    assert!(
        violations.is_empty(),
        "{} violations in {spans} spans:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn every_scenario_keeps_to_the_conventions() {
    let scenarios = Scenario::everywhere().expect("scenarios").into_iter();
    let plays = scenarios.map(|scenario| {
        let steps = scenario.steps().expect("steps");
        (scenario.name, steps)
    });
    assert_all_keep_to_the_conventions(plays.collect());
}

#[test]
fn the_demo_keeps_to_the_conventions() {
    let recording = Recording::pull_request().expect("the recording");
    let steps = scenario::steps(&recording);
    assert_all_keep_to_the_conventions(vec![("demo".to_owned(), steps)]);
}
