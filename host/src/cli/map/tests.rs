use serde_json::{Value, json};

use super::*;
use crate::mappers::Compiler;
use crate::view::Terminal;

const PLAIN: Terminal = Terminal {
    width: 100,
    colour: false,
};

fn mapped(text: &str) -> mapping::Mapped {
    let mappers = Mappers::builtin().unwrap();
    let objects = input::parse("run.yaml", text).unwrap();
    mapping::map(&mappers.catalog, objects, |request| mappers.map(request))
}

const RUN: &str = r#"
apiVersion: tekton.dev/v1
kind: TaskRun
metadata:
  name: build-1
  namespace: jx
  uid: 11111111-0000-0000-0000-000000000001
  creationTimestamp: "2026-01-01T10:00:00Z"
  labels: {tekton.dev/pipelineTask: build}
status:
  podName: build-1-pod
  startTime: "2026-01-01T10:00:01Z"
  completionTime: "2026-01-01T10:01:00Z"
  conditions:
  - {type: Succeeded, status: "False", reason: Failed, message: step test failed, lastTransitionTime: "2026-01-01T10:01:00Z"}
  steps:
  - name: test
    container: step-test
    terminated: {exitCode: 1, reason: Error, startedAt: "2026-01-01T10:00:20Z", finishedAt: "2026-01-01T10:00:58Z"}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: build-1-pod
    namespace: jx
    uid: 11111111-0000-0000-0000-000000000002
    creationTimestamp: "2026-01-01T10:00:01Z"
    ownerReferences:
    - {apiVersion: tekton.dev/v1, kind: TaskRun, name: build-1, uid: 11111111-0000-0000-0000-000000000001, controller: true}
  spec: {nodeName: node-1, containers: [{name: step-test, image: golang}]}
  status:
    phase: Running
    containerStatuses:
    - {name: step-test, state: {running: {startedAt: "2026-01-01T10:00:18Z"}}}
- apiVersion: v1
  kind: Event
  metadata: {name: build-1-pod.1, namespace: jx, uid: 11111111-0000-0000-0000-000000000003}
  involvedObject: {kind: Pod, namespace: jx, name: build-1-pod, uid: 11111111-0000-0000-0000-000000000002}
  reason: Scheduled
  eventTime: "2026-01-01T10:00:03.000000Z"
- apiVersion: v1
  kind: Event
  metadata: {name: other.1, namespace: jx, uid: 11111111-0000-0000-0000-000000000004}
  involvedObject: {kind: Pod, namespace: jx, name: other, uid: 11111111-0000-0000-0000-000000000009}
  reason: Scheduled
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: config, namespace: jx, uid: u}}
---
{apiVersion: v1, kind: Pod, metadata: {name: without-uid}}
"#;

#[test]
fn every_object_is_told_of_and_the_spans_hang_together() {
    let mapped = mapped(RUN);
    assert!(!mapped.is_clean());
    let text = report::to_text(&mapped, PLAIN);
    let has = |wanted: &str| assert!(text.contains(wanted), "{wanted}\n{text}");
    has("TaskRun jx/build-1 (run.yaml, document 1)\n  tekton ");
    has("as Tekton.TaskRun 'build', ended");
    has("Pod jx/build-1-pod (run.yaml, document 2, item 1)\n  kubernetes ");
    has("goes on, shown as if it ended now, from it and 1 object that came along");
    has("ConfigMap jx/config (run.yaml, document 3)\n  no mapper wants this kind");
    has("cannot be used: the object without-uid has no /metadata/uid");
    has("1 objects came along with these");
    has("1 Event objects, such as Event jx/other.1, belong to objects that are not here");
    has("Where the time went");
    let json = report::to_json(&mapped);
    let spans = json["traces"][0]["spans"].as_array().unwrap();
    let find = |name: &str| {
        let span = spans.iter().find(|span| span["name"] == name);
        span.unwrap_or_else(|| panic!("{name} {spans:#?}"))
    };
    assert_eq!(find("pod")["parent_span_id"], find("build")["span_id"]);
    assert_eq!(find("test")["failed"], true);
    assert_eq!(json["traces"].as_array().unwrap().len(), 1);
    let roles: Vec<_> = json["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| &object["role"])
        .collect();
    assert_eq!(
        roles,
        [
            "subject",
            "subject",
            "attached",
            "unclaimed",
            "unwanted",
            "unusable"
        ]
    );
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let parts: Vec<_> = RUN.split("\n---\n").collect();
    let reversed: Vec<_> = parts.iter().rev().copied().collect();
    let traces = |text: &str| report::to_json(&mapped(text))["traces"].clone();
    let traces = [traces(RUN), traces(&reversed.join("\n---\n"))];
    assert_ne!(traces[0], json!([]));
    assert_eq!(traces[0], traces[1]);
}

#[test]
fn a_mapping_that_fails_is_said_and_cannot_steer_the_terminal() {
    let mappers = Mappers::builtin().unwrap();
    let objects = input::parse("f", RUN).unwrap();
    let mapped = mapping::map(&mappers.catalog, objects, |request| {
        Err(lighthouse_telemetry_core::index::MappingFailure {
            message: format!("no \u{1b}[31m luck with {}", request.ticket.watch.mapper),
        })
    });
    assert!(!mapped.is_clean());
    let text = report::to_text(&mapped, PLAIN);
    assert!(text.contains("failed: no \u{fffd}[31m luck"), "{text}");
    assert!(!text.contains('\u{1b}'));
    let json = report::to_json(&mapped);
    let answers = &json["objects"][0]["answers"];
    assert_eq!(answers[0]["outcome"], Value::from("failed"));
}

#[test]
fn nothing_is_nothing() {
    let text = report::to_text(&mapped(""), PLAIN);
    assert_eq!(text, "No objects.\n\nNo spans.\n");
}

#[test]
fn the_examples_in_yaml_map_what_was_recorded() {
    for example in ["flux-kustomization", "cert-manager"] {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../mappers/examples/");
        let directory = std::path::Path::new(directory).join(example);
        let mappers = Mappers::strictly(vec![directory.clone()], Compiler::default()).unwrap();
        let text = std::fs::read_to_string(directory.join("objects.yaml")).unwrap();
        let objects = input::parse("objects.yaml", &text).unwrap();
        let mapped = mapping::map(&mappers.catalog, objects, |request| mappers.map(request));
        assert!(mapped.is_clean());
        let spans = report::to_json(&mapped)["traces"].clone();
        let spans = serde_json::to_string_pretty(&spans).unwrap();
        let text = report::to_text(&mapped, PLAIN);
        insta::assert_snapshot!(example, format!("{text}\n{spans}"));
    }
}
