//! Pods that fail.

use serde_json::{Value, json};
use span_mapper_sdk::testing::attributes;
use span_mapper_sdk::{Span, SpanStatus};

use super::fixture::{Case, after, at, child, event, pod, status, times};

fn error(description: &str) -> SpanStatus<'static> {
    SpanStatus::Error(description.to_owned().into())
}

fn failed(mut object: Value) -> Value {
    object["status"]["phase"] = json!("Failed");
    object
}

#[test]
fn an_exit_code_fails_the_run_and_the_pod() {
    let mut object = failed(pod());
    let state = &mut object["status"]["containerStatuses"][0]["state"]["terminated"];
    state["exitCode"] = json!(2);
    state["reason"] = json!("Error");
    let tree = Case::new(object).tree();
    assert_eq!(
        child(&tree, "run/step-build").status,
        error("Error, exit code 2")
    );
    assert_eq!(tree.main.status, error("step-build: Error, exit code 2"));
    assert_eq!(attributes(&tree.main.attributes)["error.type"], "Error");
    assert!(!child(&tree, "run/step-test").has_failed());
}

#[test]
fn who_ran_out_of_memory_is_the_cause() {
    let mut object = failed(pod());
    let statuses = &mut object["status"]["containerStatuses"];
    statuses[0]["state"]["terminated"]["exitCode"] = json!(1);
    statuses[0]["state"]["terminated"]["reason"] = json!("Error");
    statuses[1]["state"]["terminated"]["exitCode"] = json!(137);
    statuses[1]["state"]["terminated"]["reason"] = json!("OOMKilled");
    let tree = Case::new(object).tree();
    assert_eq!(
        tree.main.status,
        error("step-test: OOMKilled, exit code 137")
    );
    assert_eq!(attributes(&tree.main.attributes)["error.type"], "OOMKilled");
    assert_eq!(
        attributes(&child(&tree, "run/step-test").attributes)["error.type"],
        "OOMKilled"
    );
}

#[test]
fn an_evicted_pod_ends_at_the_latest_time_known() {
    let mut object = failed(pod());
    object["status"] = json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        "startTime": at(1),
        "conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at(15)}],
    });
    let mut case = Case::new(object);
    case.events.push(event(
        14_000,
        "Evicted",
        "",
        "The node was low on resource: memory.",
    ));
    let tree = case.tree();
    assert_eq!(
        tree.main.status,
        error("The node was low on resource: memory.")
    );
    assert_eq!(attributes(&tree.main.attributes)["error.type"], "Evicted");
    assert_eq!(tree.main.end.map(after), Some(15.0));
    assert!(tree.children.iter().all(|child| child.span.end.is_some()));
}

#[test]
fn an_image_that_cannot_be_pulled_fails_its_pull() {
    let mut object = pod();
    object["status"]["phase"] = json!("Pending");
    object["status"]["containerStatuses"] = json!([status(
        "step-build",
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
    )]);
    let mut case = Case::new(object);
    case.events.truncate(6);
    let path = "spec.containers{step-build}";
    case.events.push(event(
        8500,
        "Failed",
        path,
        "Failed to pull image: not found",
    ));
    case.events
        .push(event(8600, "BackOff", path, "Back-off pulling image"));
    let tree = case.tree();
    let pull = child(&tree, "pull/step-build");
    assert_eq!(
        (pull.end, &pull.status),
        (None, &error("Back-off pulling image"))
    );
    assert_eq!(
        tree.main.status,
        error("step-build: Back-off pulling image")
    );
    assert_eq!(tree.main.end, None);
    // Tekton gives up and deletes the Pod.
    let tree = case.deleted().tree();
    assert_eq!(tree.main.end.map(after), Some(8.6));
    assert_eq!(child(&tree, "pull/step-build").end.map(after), Some(8.6));
}

#[test]
fn an_invalid_image_name_is_a_failed_pull_too() {
    let mut object = pod();
    object["status"]["phase"] = json!("Pending");
    object["status"]["containerStatuses"] = json!([status(
        "step-build",
        json!({"waiting": {"reason": "InvalidImageName"}})
    )]);
    let mut case = Case::new(object);
    case.events.truncate(5);
    let message = "Failed to apply default image tag";
    let path = "spec.containers{step-build}";
    case.events
        .push(event(6500, "InspectFailed", path, message));
    let tree = case.tree();
    assert_eq!(child(&tree, "pull/step-build").status, error(message));
}

#[test]
fn a_container_that_cannot_be_created_is_stuck_there() {
    let mut object = pod();
    object["status"]["phase"] = json!("Pending");
    object["status"]["containerStatuses"] = json!([status(
        "step-build",
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret not found"}})
    )]);
    let mut case = Case::new(object);
    case.events.truncate(7);
    let tree = case.tree();
    let create = child(&tree, "create/step-build");
    assert_eq!((after(create.start), create.end), (9.5, None));
    assert_eq!(create.status, error("secret not found"));
}

#[test]
fn a_container_that_never_started_has_no_run() {
    let mut object = failed(pod());
    object["status"]["containerStatuses"][0]["state"] = json!({"terminated": {
        "exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": at(10),
    }});
    let tree = Case::new(object)
        .without_event("Started", "step-build")
        .tree();
    let keys: Vec<&str> = times(&tree).into_iter().map(|(key, ..)| key).collect();
    assert!(!keys.contains(&"run/step-build"));
    let start = child(&tree, "start/step-build");
    assert_eq!(
        (after(start.start), start.end.map(after)),
        (9.75, Some(10.0))
    );
    assert_eq!(start.status, error("StartError"));
    assert_eq!(after(tree.main.start), 0.0);
}

#[test]
fn a_container_that_never_terminated_breaks_nothing() {
    let mut object = failed(pod());
    object["status"]["containerStatuses"][0] = status("step-build", json!({}));
    object["status"]["containerStatuses"][1] = status(
        "step-test",
        json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}}),
    );
    let tree = Case::new(object).tree();
    assert_eq!(
        tree.main.status,
        error("step-test: ContainerStatusUnknown, exit code 137")
    );
    let end = tree.main.end;
    assert_eq!(end.map(after), Some(11.25));
    assert_eq!(child(&tree, "run/step-test").end, end);
}

#[test]
fn a_pod_deleted_in_the_middle_ends_when_that_was_asked_for() {
    let mut object = pod();
    object["status"]["phase"] = json!("Running");
    for place in 0..2 {
        let state = json!({"running": {"startedAt": at(10 + place)}});
        object["status"]["containerStatuses"][usize::try_from(place).unwrap()]["state"] = state;
    }
    object["metadata"]["deletionTimestamp"] = json!(at(39));
    object["metadata"]["deletionGracePeriodSeconds"] = json!(14);
    let case = Case::new(object);
    assert_eq!(case.tree().main.end, None);
    let tree = case.deleted().tree();
    assert_eq!(tree.main.end.map(after), Some(25.0));
    assert_eq!(child(&tree, "run/step-test").end.map(after), Some(25.0));
    let end = |span: &Span| attributes(&span.attributes)["lighthouse.telemetry.end"].clone();
    assert_eq!(end(&tree.main), "deleted");
    assert_eq!(end(child(&tree, "run/step-test")), "parent");
    assert_eq!(end(child(&tree, "start/step-test")), Value::Null);
    assert_eq!(tree.main.status, SpanStatus::Unset);
    let last = tree.main.events.last().unwrap();
    assert_eq!(
        (&*last.name, after(last.time)),
        ("Deletion requested", 25.0)
    );
}

#[test]
fn a_pod_that_fits_nowhere_fails_its_scheduling() {
    let mut object = pod();
    object["spec"]["nodeName"] = json!("");
    object["status"] = json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available", "lastTransitionTime": at(1)}],
    });
    let mut case = Case::new(object);
    let mut warning = event(1000, "FailedScheduling", "", "0/3 nodes are available");
    warning["count"] = json!(4);
    warning["lastTimestamp"] = json!(at(30));
    case.events = vec![warning];
    let tree = case.tree();
    assert_eq!(times(&tree), [("schedule", 0.0, None)]);
    assert_eq!(
        child(&tree, "schedule").status,
        error("0/3 nodes are available")
    );
    assert_eq!(tree.main.status, SpanStatus::Unset);
    let tree = case.deleted().tree();
    assert_eq!(tree.main.end.map(after), Some(30.0));
    assert_eq!(tree.main.status, error("0/3 nodes are available"));
    assert_eq!(
        attributes(&tree.main.attributes)["error.type"],
        "Unschedulable"
    );
}

#[test]
fn a_failure_to_schedule_that_was_overcome_is_none() {
    let mut case = Case::new(pod());
    case.events.push(event(
        500,
        "FailedScheduling",
        "",
        "0/3 nodes are available",
    ));
    let tree = case.tree();
    assert_eq!(child(&tree, "schedule").status, SpanStatus::Unset);
    assert_eq!(tree.main.events[0].name, "FailedScheduling");
}

#[test]
fn a_sandbox_that_cannot_be_made_fails_the_preparation() {
    let mut object = pod();
    object["status"] = json!({"phase": "Pending", "startTime": at(1)});
    let mut case = Case::new(object);
    case.events.truncate(1);
    case.events.push(event(
        3000,
        "FailedCreatePodSandBox",
        "",
        "network not ready",
    ));
    let tree = case.tree();
    assert_eq!(child(&tree, "prepare").status, error("network not ready"));
}

#[test]
fn clocks_that_differ_make_no_negative_span() {
    let mut case = Case::new(pod());
    // The kubelet's clock is 4 seconds behind the scheduler's.
    case.events[0]["eventTime"] = json!("2023-11-14T22:13:26.000000Z");
    let tree = case.tree();
    let schedule = child(&tree, "schedule");
    assert_eq!(schedule.end.map(after), Some(2.5));
    let prepare = child(&tree, "prepare");
    assert_eq!(
        (after(prepare.start), prepare.end.map(after)),
        (2.5, Some(2.5))
    );
}
