//! Input of a size that no cluster should have: each ends in a trace of bounded size that says what was left out.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::sync::LazyLock;

use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_tests::outcome::Outcome;
use lighthouse_telemetry_tests::pure;
use lighthouse_telemetry_tests::scenario::{Step, What};
use serde_json::{Value, json};

static MAPPERS: LazyLock<Mappers> =
    LazyLock::new(|| Mappers::builtin().expect("the built-in mappers"));

const START: &str = "2026-03-06T09:00:00Z";
const END: &str = "2026-03-06T09:10:00Z";

/// Objects as they are, all at once.
fn play(objects: impl IntoIterator<Item = Value>) -> Outcome {
    let at = Time::parse(END).expect("a time");
    let steps: Vec<Step> = objects
        .into_iter()
        .map(|object| Step {
            at,
            what: What::Applied(object),
        })
        .collect();
    pure::play(&MAPPERS, &steps).expect("an outcome")
}

fn metadata(name: &str, owner: Option<&Value>) -> Value {
    let owners = owner.map(|owner| {
        json!([{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": true,
        }])
    });
    json!({
        "name": name, "namespace": "jx", "uid": format!("uid-of-{name}"), "creationTimestamp": START,
        "labels": {"tekton.dev/pipeline": "large"}, "ownerReferences": owners,
    })
}

fn run(kind: &str, name: &str, owner: Option<&Value>) -> Value {
    json!({
        "apiVersion": "tekton.dev/v1", "kind": kind, "metadata": metadata(name, owner),
        "status": {
            "startTime": START, "completionTime": END,
            "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": END}],
        },
    })
}

fn pod(owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata("pod", Some(owner)),
        "spec": {"containers": [{"name": "step", "image": "acme/step:1"}], "restartPolicy": "Never"},
        "status": {"phase": "Succeeded"},
    })
}

fn event(number: usize, about: &Value, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("pod.{number}"), "namespace": "jx", "uid": format!("event-{number}"),
            "creationTimestamp": END},
        "involvedObject": {"apiVersion": about["apiVersion"], "kind": about["kind"], "namespace": "jx",
            "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]},
        "reason": "Unhealthy", "message": message, "type": "Warning", "count": 1,
        "source": {"component": "kubelet", "host": "node-a"},
        "firstTimestamp": END, "lastTimestamp": END,
    })
}

fn count(outcome: &Outcome, text: &str) -> usize {
    outcome.trace().matches(text).count()
}

#[test]
fn of_ten_thousand_events_the_first_are_kept_and_the_others_counted() {
    let task = run("TaskRun", "task", None);
    let pod = pod(&task);
    let events = (0..10_000).map(|number| event(number, &pod, "Readiness probe failed"));
    let outcome = play([task.clone(), pod.clone()].into_iter().chain(events));
    assert_eq!(count(&outcome, "- name: Unhealthy"), 512);
    assert_eq!(count(&outcome, "lighthouse.telemetry.omitted: 9488"), 1);
}

#[test]
fn five_thousand_tasks_are_five_thousand_spans_below_their_run() {
    let mut pipeline = run("PipelineRun", "pipeline", None);
    let skipped: Vec<Value> = (0..1_000)
        .map(|number| json!({"name": format!("task-{number}"), "reason": "None"}))
        .collect();
    pipeline["status"]["skippedTasks"] = skipped.into();
    let tasks = (0..5_000).map(|number| run("TaskRun", &format!("task-{number}"), Some(&pipeline)));
    let outcome = play(std::iter::once(pipeline.clone()).chain(tasks));
    assert_eq!(outcome.spans, 5_001);
    assert_eq!(count(&outcome, "- trace: "), 1);
    assert_eq!(count(&outcome, "depth: 1"), 5_000);
    // The start, the condition and those that are skipped: 512 events stay.
    assert_eq!(count(&outcome, "- name: Task skipped"), 511);
    assert_eq!(count(&outcome, "span_mapper.cut.events: 490"), 1);
}

#[test]
fn texts_of_a_megabyte_are_cut_and_that_is_said() {
    let long = "ü".repeat(1 << 19);
    let mut pipeline = run("PipelineRun", "pipeline", None);
    let labels = &mut pipeline["metadata"]["labels"];
    labels["lighthouse.jenkins-x.io/branch"] = json!(long);
    labels[&long] = json!(long);
    pipeline["spec"]["params"] = json!([{"name": "REPO_NAME", "value": long}]);
    pipeline["status"]["conditions"][0]["status"] = json!("False");
    pipeline["status"]["conditions"][0]["message"] = json!(long);
    let task = run("TaskRun", "task", Some(&pipeline));
    let mut pod = pod(&task);
    pod["metadata"]["labels"][&long] = json!(long);
    pod["status"] = json!({"phase": "Failed", "reason": long, "message": long});
    let event = event(0, &pod, &long);
    let outcome = play([pipeline, task, pod, event]);
    // The Pod has a span of its scheduling, too.
    assert_eq!(outcome.spans, 4);
    assert_eq!(count(&outcome, "span_mapper.cut.texts"), 2);
    // Two spans with some texts of 16 KiB each.
    let size = outcome.trace().len();
    assert!(size < 256 << 10, "{size} bytes");
}
