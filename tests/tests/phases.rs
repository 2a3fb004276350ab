//! The phases of a Pod account for its time, in every scenario: no gap and no overlap that did not happen.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_tests::pure;
use lighthouse_telemetry_tests::scenario::Scenario;
use serde_json::Value;

/// Most times are known to the second only.
const SECOND: Duration = Duration::from_secs(1);

/// Start and end.
type Range = (Time, Time);

fn range(span: &Value) -> Range {
    let time = |key: &str| Time::parse(text(span, key)).expect("a time");
    (time("start"), time("end"))
}

fn text<'span>(span: &'span Value, key: &str) -> &'span str {
    span.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The ranges between those of the spans in which there is none.
fn gaps(whole: Range, mut spans: Vec<Range>) -> Vec<Range> {
    spans.sort();
    let mut reached = whole.0;
    let mut gaps = Vec::new();
    for (start, end) in spans {
        if start > reached {
            gaps.push((reached, start));
        }
        reached = reached.max(end);
    }
    if whole.1 > reached {
        gaps.push((reached, whole.1));
    }
    gaps
}

/// What is wrong with the Pods of a trace, and how many there are that tell all of their life.
fn look_at(spans: &[Value]) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut pods = 0;
    let is_event =
        |event: &Value, names: &[&str]| names.iter().any(|name| text(event, "name") == *name);
    for pod in spans.iter().filter(|span| text(span, "name") == "pod") {
        let events = pod.get("events").and_then(Value::as_array);
        let told = events.into_iter().flatten();
        // Where nobody says when it was scheduled, its first phases are left out.
        if !told.clone().any(|event| is_event(event, &["Scheduled"])) {
            continue;
        }
        pods += 1;
        let id = text(pod, "span");
        let phases = spans.iter().filter(|span| text(span, "parent") == id);
        let mut of_containers: BTreeMap<&str, Vec<Range>> = BTreeMap::new();
        for phase in phases.clone() {
            let container = phase.pointer("/attributes/k8s.container.name");
            if let Some(container) = container.and_then(Value::as_str) {
                of_containers
                    .entry(container)
                    .or_default()
                    .push(range(phase));
            }
        }
        for (start, end) in gaps(range(pod), phases.map(range).collect()) {
            if end.since(start) >= SECOND {
                wrong.push(format!("nothing from {start} to {end}"));
            }
        }
        for (container, mut ranges) in of_containers {
            ranges.sort();
            for pair in ranges.windows(2) {
                if let [(_, end), (start, _)] = pair
                    && start < end
                {
                    wrong.push(format!(
                        "{container}: one until {end}, the next from {start}"
                    ));
                }
            }
        }
    }
    (wrong, pods)
}

#[test]
fn no_span_is_negative_and_the_phases_of_a_pod_follow_each_other_without_a_gap() {
    let mappers = Mappers::builtin().expect("the built-in mappers");
    let mut wrong = Vec::new();
    let mut pods = 0;
    for scenario in Scenario::everywhere().expect("scenarios") {
        let outcome = pure::play(&mappers, &scenario.steps().expect("steps")).expect("an outcome");
        let traces: Vec<Value> = serde_saphyr::from_str(outcome.trace()).expect("YAML");
        for trace in &traces {
            let spans = trace.get("spans").and_then(Value::as_array);
            for (start, end) in spans.into_iter().flatten().map(range) {
                assert!(start <= end, "{}: {start} to {end}", scenario.name);
            }
            let (found, looked_at) = look_at(spans.map_or(&[], Vec::as_slice));
            pods += looked_at;
            let found = found
                .iter()
                .map(|what| format!("{}: {what}", scenario.name));
            wrong.extend(found);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(pods > 10, "only {pods} Pods");
}
