use serde_json::{Value, json};
use span_mapper_sdk::testing;

use super::*;

fn node(kind: &str, boundary: &str, started: u32, finished: Option<u32>) -> Value {
    let time = |second: u32| format!("2026-01-01T00:00:{second:02}Z");
    json!({
        "displayName": format!("a {kind}"),
        "templateName": kind.to_lowercase(),
        "type": kind,
        "phase": if finished.is_some() { "Succeeded" } else { "Running" },
        "boundaryID": boundary,
        "startedAt": time(started),
        "finishedAt": finished.map(time),
    })
}

fn workflow() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": "build-x7d", "generateName": "build-", "namespace": "jx", "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "status": {
            "phase": "Succeeded",
            "startedAt": "2026-01-01T00:00:01Z",
            "finishedAt": "2026-01-01T00:00:30Z",
            "nodes": {
                "build-x7d": node("Steps", "", 1, Some(30)),
                "build-x7d-1": node("StepGroup", "build-x7d", 1, Some(29)),
                "build-x7d-9": node("DAG", "build-x7d", 2, Some(20)),
                "build-x7d-2": node("Pod", "build-x7d-9", 2, Some(9)),
                "build-x7d-3": node("Pod", "build-x7d", 20, Some(29)),
            },
        },
    })
}

fn mapped(workflow: &Value, deleted: bool, check: impl FnOnce(&SpanTree<'_>)) {
    let description = ArgoWorkflow::configure(&testing::configuration()).unwrap();
    let mut object = testing::subject(&description, 0, workflow, &[]);
    object.deleted = deleted;
    let subject = object.into();
    let Ok(Outcome::Spans(trees)) = ArgoWorkflow::map(&subject) else {
        panic!("no spans");
    };
    assert_eq!(testing::fault(&trees[0]), None);
    check(&trees[0]);
}

#[test]
fn nodes_are_below_the_node_whose_template_they_are_a_part_of() {
    mapped(&workflow(), false, |tree| {
        assert_eq!(tree.main.name, "build");
        assert!(tree.main.end.is_some() && !tree.main.has_failed());
        let children: Vec<_> = tree
            .children
            .iter()
            .map(|child| (&*child.span.key, child.under))
            .collect();
        let expected = [
            ("build-x7d-9", None),
            ("build-x7d-2", Some(0)),
            ("build-x7d-3", None),
        ];
        for child in expected {
            assert!(children.contains(&child), "{children:?}");
        }
        assert_eq!(children.len(), expected.len());
    });
}

#[test]
fn a_node_that_failed_says_why_and_boundaries_may_be_nonsense() {
    let mut workflow = workflow();
    workflow["status"]["phase"] = "Failed".into();
    workflow["status"]["message"] = "child 'build-x7d-2' failed".into();
    let nodes = &mut workflow["status"]["nodes"];
    nodes["build-x7d-2"]["phase"] = "Error".into();
    nodes["build-x7d-2"]["message"] = "pod deleted".into();
    nodes["build-x7d-9"]["boundaryID"] = "build-x7d-2".into();
    nodes["build-x7d-3"]["boundaryID"] = "build-x7d-3".into();
    mapped(&workflow, false, |tree| {
        assert!(tree.main.has_failed());
        let mut failed = tree.children.iter().filter(|child| child.span.has_failed());
        assert_eq!(failed.next().unwrap().span.key, "build-x7d-2");
        assert_eq!(tree.children.len(), 3);
    });
}

#[test]
fn one_that_is_deleted_has_ended() {
    let mut workflow = workflow();
    workflow["status"]["phase"] = "Running".into();
    workflow["status"]["finishedAt"] = Value::Null;
    mapped(&workflow, false, |tree| assert_eq!(tree.main.end, None));
    mapped(&workflow, true, |tree| {
        let latest = Timestamp::parse("2026-01-01T00:00:30Z");
        assert_eq!(tree.main.end, latest);
    });
}

#[test]
fn whatever_is_in_it_the_tree_is_well_formed() {
    let workflow = workflow();
    let description = ArgoWorkflow::configure(&testing::configuration()).unwrap();
    for place in 0..400 {
        for odd in 0..12 {
            let mangled = testing::mangle(&workflow, &[(place, odd)]);
            let subject = testing::subject(&description, 0, &mangled, &[]).into();
            if let Ok(Outcome::Spans(trees)) = ArgoWorkflow::map(&subject) {
                assert_eq!(testing::fault(&trees[0]), None, "{mangled}");
            }
        }
    }
}
