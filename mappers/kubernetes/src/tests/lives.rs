//! Pods that do well.

use serde_json::{Value, json};
use span_mapper_sdk::SpanStatus;
use span_mapper_sdk::testing::attributes;

use super::fixture::{Case, after, at, child, event, pod, status, times};

#[test]
fn every_moment_of_a_good_life_has_its_span() {
    let tree = Case::new(pod()).tree();
    assert_eq!(tree.main.name, "pod");
    assert_eq!(
        (after(tree.main.start), tree.main.end.map(after)),
        (0.0, Some(30.0))
    );
    assert_eq!(tree.main.status, SpanStatus::Unset);
    assert_eq!(tree.diagnostics, []);
    assert_eq!(
        attributes(&tree.main.attributes),
        json!({
            "k8s.pod.name": "build-pod", "k8s.pod.uid": "u", "k8s.namespace.name": "jx",
            "k8s.node.name": "node-1", "k8s.pod.status.phase": "Succeeded",
        })
    );
    assert_eq!(
        times(&tree),
        [
            ("schedule", 0.0, Some(1.25)),
            ("prepare", 1.25, Some(2.5)),
            ("pull/prepare", 2.5, Some(4.5)),
            ("create/prepare", 4.5, Some(4.75)),
            ("start/prepare", 4.75, Some(5.25)),
            // Ended in the second in which the next one was touched.
            ("run/prepare", 5.25, Some(6.5)),
            ("pull/step-build", 6.5, Some(9.5)),
            ("create/step-build", 9.5, Some(9.75)),
            ("start/step-build", 9.75, Some(10.25)),
            ("run/step-build", 10.25, Some(20.0)),
            // Its image was there.
            ("create/step-test", 10.5, Some(10.75)),
            ("start/step-test", 10.75, Some(11.25)),
            ("run/step-test", 11.25, Some(30.0)),
        ]
    );
}

#[test]
fn a_container_that_ran_within_one_second_leaves_no_gap() {
    let mut object = pod();
    object["status"]["initContainerStatuses"][0]["state"]["terminated"]["finishedAt"] =
        json!(at(5));
    let mut case = Case::new(object);
    // Step-build is touched in the second in which `prepare` started and ended.
    case.events[5] = event(
        5500,
        "Pulling",
        "spec.containers{step-build}",
        "Pulling image",
    );
    let tree = case.tree();
    assert_eq!(
        times(&tree)[4..7],
        [
            ("start/prepare", 4.75, Some(5.25)),
            ("run/prepare", 5.25, Some(5.5)),
            ("pull/step-build", 5.5, Some(9.5)),
        ]
    );
}

#[test]
fn a_pull_says_how_long_it_took_and_waited() {
    let tree = Case::new(pod()).tree();
    let pull = child(&tree, "pull/prepare");
    assert_eq!(pull.name, "pull prepare");
    assert_eq!(
        attributes(&pull.attributes),
        json!({
            "k8s.container.name": "prepare", "pod.container.role": "init",
            "container.image.name": "example/entrypoint", "container.image.tags": ["1"],
            "image.pull.duration": 1.5, "image.pull.waiting": 0.5, "image.size": 2048,
        })
    );
    assert_eq!(
        attributes(&child(&tree, "run/step-test").attributes),
        json!({
            "k8s.container.name": "step-test", "pod.container.role": "app", "container.id": "c0ffee",
            "container.image.name": "example/tool", "container.image.tags": ["1"],
            "k8s.container.restart_count": 0, "exit-code": 0, "process.exit.code": 0, "reason": "Completed",
        })
    );
}

#[test]
fn every_event_termination_and_condition_is_an_event_of_the_main_span() {
    let tree = Case::new(pod()).tree();
    let names: Vec<(f64, &str)> = tree
        .main
        .events
        .iter()
        .map(|event| (after(event.time), &*event.name))
        .collect();
    assert_eq!(
        names,
        [
            (1.0, "Condition PodScheduled"),
            (1.25, "Scheduled"),
            (2.5, "Pulling"),
            (4.5, "Pulled"),
            (4.75, "Created"),
            (5.25, "Started"),
            (6.0, "Condition Initialized"),
            (6.0, "Terminated"),
            (6.5, "Pulling"),
            (9.5, "Pulled"),
            (9.75, "Created"),
            (10.25, "Started"),
            (10.5, "Pulled"),
            (10.75, "Created"),
            (11.25, "Started"),
            (20.0, "Terminated"),
            (30.0, "Terminated"),
        ]
    );
    assert_eq!(
        attributes(&tree.main.events[2].attributes),
        json!({
            "reason": "Pulling", "message": "Pulling image \"example/entrypoint:1\"", "type": "Normal",
            "fieldPath": "spec.initContainers{prepare}", "component": "kubelet", "host": "node-1", "count": 1,
            "k8s.container.name": "prepare",
        })
    );
    assert_eq!(
        attributes(&tree.main.events[1].attributes)["component"],
        "default-scheduler"
    );
    assert_eq!(
        attributes(&tree.main.events[7].attributes),
        json!({
            "reason": "Completed", "exit-code": 0, "process.exit.code": 0, "k8s.container.name": "prepare",
            "k8s.container.restart_count": 0,
        })
    );
}

#[test]
fn events_of_the_same_time_keep_the_order_of_life() {
    let mut case = Case::new(pod());
    case.events = ["Started", "Created", "Pulled", "Pulling"]
        .map(|reason| event(6500, reason, "spec.containers{step-build}", ""))
        .into();
    let mut scheduled = event(6500, "Scheduled", "", "");
    scheduled["source"] = json!({});
    case.events.push(scheduled);
    let tree = case.tree();
    let names: Vec<&str> = tree
        .main
        .events
        .iter()
        .map(|event| &*event.name)
        .filter(|name| !name.contains(' ') && *name != "Terminated")
        .collect();
    assert_eq!(
        names,
        ["Scheduled", "Pulling", "Pulled", "Created", "Started"]
    );
}

#[test]
fn the_statuses_suffice_where_events_are_lost() {
    let tree = Case::new(pod()).without_events().tree();
    assert_eq!(
        times(&tree),
        [
            ("schedule", 0.0, Some(1.0)),
            ("prepare", 1.0, Some(5.0)),
            ("run/prepare", 5.0, Some(6.0)),
            ("run/step-build", 10.0, Some(20.0)),
            ("run/step-test", 11.0, Some(30.0)),
        ]
    );
    // A lost beginning of the pull is told by its end.
    let tree = Case::new(pod()).without_event("Pulling", "prepare").tree();
    assert_eq!(after(child(&tree, "pull/prepare").start), 2.5);
    // A lost phase is part of the next one.
    let tree = Case::new(pod())
        .without_event("Created", "step-build")
        .tree();
    assert_eq!(after(child(&tree, "start/step-build").start), 9.5);
    let tree = Case::new(pod())
        .without_event("Pulled", "step-build")
        .tree();
    assert_eq!(child(&tree, "pull/step-build").end.map(after), Some(9.75));
}

#[test]
fn a_pod_that_runs_has_no_end() {
    let mut object = pod();
    object["status"]["phase"] = json!("Running");
    object["status"]["containerStatuses"][1] =
        status("step-test", json!({"running": {"startedAt": at(11)}}));
    let tree = Case::new(object).tree();
    assert_eq!(tree.main.end, None);
    assert_eq!(tree.main.status, SpanStatus::Unset);
    let run = child(&tree, "run/step-test");
    assert_eq!((after(run.start), run.end), (11.25, None));
    assert_eq!(child(&tree, "run/step-build").end.map(after), Some(20.0));
}

#[test]
fn a_pod_has_ended_when_all_its_containers_have() {
    let mut object = pod();
    object["status"]["phase"] = json!("Running");
    assert_eq!(
        Case::new(object.clone()).tree().main.end.map(after),
        Some(30.0)
    );
    object["spec"]["restartPolicy"] = json!("OnFailure");
    assert_eq!(Case::new(object).tree().main.end, None);
}

#[test]
fn a_pod_that_pulls_is_open_there() {
    let mut object = pod();
    object["status"] = json!({
        "phase": "Pending", "startTime": at(1),
        "initContainerStatuses": [status("prepare", json!({"waiting": {"reason": "PodInitializing"}}))],
    });
    let mut case = Case::new(object);
    case.events.truncate(2);
    assert_eq!(
        times(&case.tree()),
        [
            ("schedule", 0.0, Some(1.25)),
            ("prepare", 1.25, Some(2.5)),
            ("pull/prepare", 2.5, None),
        ]
    );
}

#[test]
fn volumes_are_attached_before_anything_is_pulled() {
    let mut case = Case::new(pod());
    let mut failed = event(1300, "FailedMount", "", "not attached yet");
    failed["type"] = json!("Warning");
    case.events.push(failed);
    case.events.push(event(
        2250,
        "SuccessfulAttachVolume",
        "",
        "AttachVolume.Attach succeeded",
    ));
    let tree = case.tree();
    assert_eq!(
        times(&tree)[..4],
        [
            ("schedule", 0.0, Some(1.25)),
            ("attach-volumes", 1.25, Some(2.25)),
            ("prepare", 2.25, Some(2.5)),
            ("pull/prepare", 2.5, Some(4.5)),
        ]
    );
    assert_eq!(child(&tree, "attach-volumes").status, SpanStatus::Unset);
}

#[test]
fn a_restarted_container_runs_twice() {
    let mut object = pod();
    object["spec"]["restartPolicy"] = json!("OnFailure");
    object["status"]["containerStatuses"][1] = json!({
        "name": "step-test", "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(11), "finishedAt": at(14)}},
        "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": at(15), "finishedAt": at(30)}},
    });
    let tree = Case::new(object).tree();
    let first = child(&tree, "run/step-test");
    assert_eq!(
        (after(first.start), first.end.map(after)),
        (11.25, Some(14.0))
    );
    assert!(first.has_failed());
    let wait = child(&tree, "restart/step-test/1");
    assert_eq!((after(wait.start), wait.end.map(after)), (14.0, Some(15.0)));
    let second = child(&tree, "run/step-test/1");
    assert_eq!(
        (after(second.start), second.end.map(after)),
        (15.0, Some(30.0))
    );
    assert!(!second.has_failed());
    assert_eq!(tree.main.status, SpanStatus::Unset);
}

#[test]
fn a_container_that_ends_again_and_again_waits_to_be_started() {
    let mut object = pod();
    object["status"]["phase"] = json!("Running");
    object["status"]["containerStatuses"][1] = json!({
        "name": "step-test", "restartCount": 3,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(11), "finishedAt": at(14)}},
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
    });
    let tree = Case::new(object).tree();
    let wait = child(&tree, "restart/step-test/4");
    assert_eq!((after(wait.start), wait.end), (14.0, None));
    assert_eq!(wait.status, SpanStatus::Error("back-off 40s".into()));
}

#[test]
fn a_sidecar_is_killed_in_the_end_and_that_is_no_failure() {
    let mut object = pod();
    object["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    object["status"]["phase"] = json!("Running");
    let state = &mut object["status"]["initContainerStatuses"][0]["state"]["terminated"];
    state["exitCode"] = json!(143);
    state["reason"] = json!("Error");
    state["finishedAt"] = json!(at(31));
    let tree = Case::new(object).tree();
    let run = child(&tree, "run/prepare");
    assert_eq!(attributes(&run.attributes)["pod.container.role"], "sidecar");
    assert!(!run.has_failed());
    assert_eq!(tree.main.status, SpanStatus::Unset);
    assert_eq!(tree.main.end.map(after), Some(31.0));
}

#[test]
fn an_end_known_to_the_second_covers_what_happened_in_it() {
    let mut object = pod();
    for container in ["containerStatuses", "initContainerStatuses"] {
        for status in object["status"][container].as_array_mut().unwrap() {
            let state: &mut Value = &mut status["state"]["terminated"];
            state["finishedAt"] = json!(at(11));
        }
    }
    let tree = Case::new(object).tree();
    assert_eq!(tree.main.end.map(after), Some(11.25));
}
