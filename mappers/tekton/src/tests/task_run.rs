use serde_json::{Value, json};
use span_mapper_sdk::{Parent, SpanKind, SpanStatus, TraceStart};

use super::*;

fn step(name: &str, exit_code: i64, reason: &str, started: u64, finished: u64) -> Value {
    json!({
        "name": name,
        "container": format!("step-{name}"),
        "imageID": "docker.io/library/golang@sha256:0123",
        "terminated": {
            "exitCode": exit_code, "reason": reason, "containerID": "containerd://1",
            "startedAt": at(started), "finishedAt": at(finished),
        },
    })
}

/// A TaskRun of three steps that has succeeded.
fn succeeded() -> Value {
    json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "name": "pr-x7k2p-build", "namespace": "jx", "uid": "tr-uid",
            "creationTimestamp": at(0),
            "labels": {
                "tekton.dev/memberOf": "tasks",
                "tekton.dev/pipeline": "pr-x7k2p",
                "tekton.dev/pipelineRun": "pr-x7k2p",
                "tekton.dev/pipelineTask": "build",
                "tekton.dev/task": "golang-build",
                "lighthouse.jenkins-x.io/id": "job",
            },
            "annotations": {
                "tekton.dev/categories": "Build Tools, Kubernetes",
                // Copied from the PipelineRun.
                "lighthouse.jenkins-x.io/traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
            "ownerReferences": [{
                "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "pr-x7k2p", "uid": "pr",
                "controller": true,
            }],
        },
        "spec": {"taskRef": {"kind": "Task", "name": "golang-build"}},
        "status": {
            "podName": "pr-x7k2p-build-pod",
            "startTime": at(1),
            "completionTime": at(60),
            "conditions": condition("True", "Succeeded", "All Steps have completed executing", 60),
            "steps": [
                step("clone", 0, "Completed", 10, 12),
                step("test", 0, "Completed", 12, 40),
                step("push", 0, "Completed", 40, 58),
            ],
            "taskSpec": {"steps": [{"name": "clone", "image": "git"}, {"name": "test"}, {"name": "push"}]},
        },
    })
}

/// The Pod of it, with the starts of two steps to the millisecond.
fn pod() -> (u32, Value) {
    let container = |name: &str, message: &str| {
        json!({
            "name": name, "image": "x",
            "state": {"terminated": {"exitCode": 0, "startedAt": at(9), "finishedAt": at(58), "message": message}},
        })
    };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pr-x7k2p-build-pod", "namespace": "jx", "uid": "pod"},
        "status": {
            "phase": "Succeeded",
            "containerStatuses": [
                container(
                    "step-clone",
                    r#"[{"key":"StartedAt","value":"2026-03-02T10:00:10.250Z","type":3},{"key":"commit","value":["b"],"type":1}]"#,
                ),
                container("step-push", "no JSON"),
                container("step-test", r#"[{"key":"StartedAt","value":"2026-03-02T10:00:12.750Z","type":3}]"#),
            ],
        },
    });
    (describe::PODS, pod)
}

#[test]
fn a_task_run_is_the_task_run_of_the_conventions() {
    let tree = tree(&succeeded());
    let main = &tree.main;
    assert_eq!(tree.service, "Tekton.TaskRun");
    assert_eq!(main.kind, SpanKind::Internal);
    assert_eq!(main.name, "build");
    assert_eq!((main.start, main.end), (time(0), Some(time(60))));
    assert_eq!(main.status, SpanStatus::Unset);
    for (key, value) in [
        ("cicd.pipeline.task.name", "build"),
        ("cicd.pipeline.task.run.id", "tr-uid"),
        ("cicd.pipeline.task.run.result", "success"),
        ("cicd.pipeline.task.type", "build"),
        ("tekton.task.name", "golang-build"),
        ("tekton.member_of", "tasks"),
        ("k8s.pod.name", "pr-x7k2p-build-pod"),
        ("k8s.object.kind", "TaskRun"),
    ] {
        assert_eq!(text(main, key), Some(value), "{key}");
    }
    let [Parent::Owner(owner)] = tree.parents.as_slice() else {
        panic!("{:?}", tree.parents);
    };
    assert_eq!(owner.group.as_deref(), Some("tekton.dev"));
    assert!(tree.may_annotate);
    assert_eq!(
        keys(&tree),
        ["queue", "step/clone", "step/test", "step/push"]
    );
    let step = child(&tree, "step/test");
    assert_eq!(step.name, "test");
    assert_eq!((step.start, step.end), (time(12), Some(time(40))));
    assert_eq!(integer(step, "process.exit.code"), Some(0));
    assert_eq!(text(step, "k8s.container.name"), Some("step-test"));
    assert_eq!(
        text(step, "container.image.name"),
        Some("docker.io/library/golang")
    );
    assert_eq!(tree.diagnostics, []);
}

#[test]
fn the_pod_tells_the_starts_to_the_millisecond() {
    let tree = tree_of(&succeeded(), &[pod()], false);
    assert_eq!(
        child(&tree, "step/clone").start,
        precise("2026-03-02T10:00:10.250Z")
    );
    assert_eq!(
        child(&tree, "step/test").start,
        precise("2026-03-02T10:00:12.750Z")
    );
    // The third one wrote something else.
    assert_eq!(child(&tree, "step/push").start, time(40));

    let mut other = pod();
    other.1["metadata"]["name"] = json!("pr-x7k2p-build-pod-retry1");
    let tree = tree_of(&succeeded(), &[other], false);
    assert_eq!(child(&tree, "step/clone").start, time(10));
}

#[test]
fn a_step_that_was_not_reached_has_not_failed() {
    let mut run = succeeded();
    run["status"]["conditions"] = condition(
        "False",
        "Failed",
        "\"step-test\" exited with code 2: Error",
        41,
    );
    run["status"]["completionTime"] = json!(at(41));
    let mut skipped = step("push", 1, "Error", 40, 40);
    run["status"]["steps"] = json!([
        step("clone", 0, "Completed", 10, 12),
        step("test", 2, "Error", 12, 40),
        skipped,
    ]);
    let old = tree(&run);
    assert_eq!(keys(&old), ["queue", "step/clone", "step/test"]);
    assert_eq!(
        error(&old.main),
        Some("\"step-test\" exited with code 2: Error")
    );
    assert_eq!(
        text(&old.main, "cicd.pipeline.task.run.result"),
        Some("failure")
    );
    let failed = child(&old, "step/test");
    assert_eq!(error(failed), Some("Error: exit code 2"));
    assert_eq!(integer(failed, "process.exit.code"), Some(2));
    assert_eq!(events(&old.main, "Step skipped").len(), 1);

    // Newer versions say so themselves.
    skipped["terminationReason"] = json!("Skipped");
    run["status"]["steps"][1]["terminationReason"] = json!("Error");
    run["status"]["steps"][2] = skipped;
    assert_eq!(keys(&tree(&run)), ["queue", "step/clone", "step/test"]);
}

#[test]
fn steps_after_one_that_may_fail_run() {
    let mut run = succeeded();
    run["status"]["conditions"] = condition("False", "Failed", "push failed", 60);
    run["status"]["steps"] = json!([
        step("clone", 0, "Completed", 10, 12),
        step("test", 1, "Completed", 12, 40),
        step("push", 3, "Error", 40, 58),
    ]);
    run["status"]["taskSpec"]["steps"][1]["onError"] = json!("continue");
    let tree = tree(&run);
    assert_eq!(
        error(child(&tree, "step/test")),
        Some("Completed: exit code 1")
    );
    assert_eq!(error(child(&tree, "step/push")), Some("Error: exit code 3"));
    assert_eq!(events(&tree.main, "Step skipped").len(), 0);
}

#[test]
fn cancelling_ends_the_step_that_ran_and_no_other() {
    let mut run = succeeded();
    run["spec"]["status"] = json!("TaskRunCancelled");
    run["status"]["completionTime"] = json!(at(30));
    run["status"]["conditions"] = condition("False", "TaskRunCancelled", "cancelled", 30);
    // Containers start together at 9: what was running is given that time, what waited the creation.
    run["status"]["steps"] = json!([
        step("clone", 0, "Completed", 10, 12),
        step("test", 1, "TaskRunCancelled", 9, 30),
        step("push", 1, "TaskRunCancelled", 9, 30),
    ]);
    let tree = tree(&run);
    assert_eq!(keys(&tree), ["queue", "step/clone", "step/test"]);
    assert_eq!(
        text(&tree.main, "cicd.pipeline.task.run.result"),
        Some("cancellation")
    );
    assert_eq!(tree.main.status, SpanStatus::Unset);
    let step = child(&tree, "step/test");
    assert_eq!((step.start, step.end), (time(12), Some(time(30))));
    assert_eq!(step.status, SpanStatus::Unset);
    assert_eq!(text(step, "tekton.reason"), Some("TaskRunCancelled"));
}

#[test]
fn a_run_cancelled_while_its_pod_waited_ran_no_step() {
    let mut run = succeeded();
    run["status"]["completionTime"] = json!(at(30));
    run["status"]["conditions"] = condition("False", "TaskRunCancelled", "cancelled", 30);
    run["status"]["steps"] = json!([
        step("clone", 1, "TaskRunCancelled", 0, 30),
        step("test", 1, "TaskRunCancelled", 0, 30),
    ]);
    let tree = tree(&run);
    assert_eq!(keys(&tree), ["queue"]);
    assert_eq!(events(&tree.main, "Step skipped").len(), 2);
}

#[test]
fn a_timeout_fails_the_step_that_ran() {
    let mut run = succeeded();
    run["status"]["conditions"] = condition(
        "False",
        "TaskRunTimeout",
        "TaskRun \"x\" failed to finish within \"1m0s\"",
        60,
    );
    run["status"]["steps"] = json!([
        step("clone", 0, "Completed", 10, 12),
        step("test", 1, "TaskRunTimeout", 9, 60),
        step("push", 1, "TaskRunTimeout", 9, 60),
    ]);
    let tree = tree(&run);
    assert_eq!(
        text(&tree.main, "cicd.pipeline.task.run.result"),
        Some("timeout")
    );
    assert_eq!(text(&tree.main, "error.type"), Some("TaskRunTimeout"));
    assert_eq!(
        error(child(&tree, "step/test")),
        Some("TaskRunTimeout: exit code 1")
    );
    assert_eq!(keys(&tree), ["queue", "step/clone", "step/test"]);
}

#[test]
fn older_versions_are_asked_why_they_failed() {
    let mut run = succeeded();
    run["status"]["conditions"] = condition("False", "Failed", "OOMKilled", 60);
    run["status"]["steps"] = json!([step("clone", 137, "OOMKilled", 10, 12)]);
    let killed = tree(&run);
    assert_eq!(
        text(&killed.main, "cicd.pipeline.task.run.result"),
        Some("error")
    );
    assert_eq!(text(&killed.main, "error.type"), Some("StepOOM"));
    assert_eq!(
        error(child(&killed, "step/clone")),
        Some("OOMKilled: exit code 137")
    );

    let mut evicted = pod();
    evicted.1["status"] = json!({"phase": "Failed", "reason": "Evicted"});
    run["status"]["steps"] = json!([]);
    let tree = tree_of(&run, &[evicted], false);
    assert_eq!(text(&tree.main, "error.type"), Some("PodEvicted"));
}

#[test]
fn each_attempt_has_a_span_that_its_pod_finds() {
    let mut run = succeeded();
    run["spec"]["retries"] = json!(2);
    run["status"]["podName"] = json!("pr-x7k2p-build-pod-retry1");
    run["status"]["startTime"] = json!(at(30));
    run["status"]["steps"] = json!([step("clone", 0, "Completed", 35, 40)]);
    run["status"]["retriesStatus"] = json!([{
        "podName": "pr-x7k2p-build-pod",
        "startTime": at(1),
        "completionTime": at(29),
        "conditions": condition("False", "Failed", "\"step-clone\" exited with code 128", 29),
        "steps": [step("clone", 128, "Error", 10, 28)],
    }]);
    let retried = tree(&run);
    assert_eq!(
        keys(&retried),
        [
            "queue",
            "pod/pr-x7k2p-build-pod",
            "attempt/1/step/clone",
            "pod/pr-x7k2p-build-pod-retry1",
            "attempt/2/step/clone",
        ]
    );
    assert_eq!(child(&retried, "queue").end, Some(time(1)));
    assert_eq!(retried.main.status, SpanStatus::Unset);
    let first = child(&retried, "pod/pr-x7k2p-build-pod");
    assert_eq!((first.start, first.end), (time(1), Some(time(29))));
    assert_eq!(error(first), Some("\"step-clone\" exited with code 128"));
    assert_eq!(integer(first, "tekton.attempt"), Some(1));
    let second = child(&retried, "pod/pr-x7k2p-build-pod-retry1");
    assert_eq!((second.start, second.end), (time(30), Some(time(60))));
    assert_eq!(second.status, SpanStatus::Unset);
    assert_eq!(text(second, "tekton.attempt.result"), Some("success"));
    assert_eq!(retried.children[2].under, Some(1));
    assert_eq!(retried.children[4].under, Some(3));

    // Between two attempts there is neither a start nor a Pod.
    run["status"]["podName"] = json!("");
    for gone in ["startTime", "completionTime", "steps"] {
        run["status"][gone] = json!(null);
    }
    run["status"]["conditions"] = condition("Unknown", "ToBeRetried", "again", 29);
    let between = tree(&run);
    assert_eq!(between.main.end, None);
    assert_eq!(
        keys(&between),
        ["queue", "pod/pr-x7k2p-build-pod", "attempt/1/step/clone"]
    );

    // Before the first has failed its span is there, so that a Pod is never put elsewhere.
    let mut run = succeeded();
    run["spec"]["retries"] = json!(2);
    assert_eq!(keys(&tree(&run))[1], "pod/pr-x7k2p-build-pod");
}

#[test]
fn matrix_runs_share_a_name_and_nothing_else() {
    let mut run = succeeded();
    run["metadata"]["name"] = json!("pr-x7k2p-build-1");
    run["metadata"]["uid"] = json!("tr-uid-1");
    let (first, second) = (tree(&succeeded()), tree(&run));
    assert_eq!(first.main.name, second.main.name);
    assert_ne!(
        text(&first.main, "k8s.object.name"),
        text(&second.main, "k8s.object.name")
    );
}

#[test]
fn waiting_for_the_definition_and_for_the_pod_are_spans() {
    let events = [
        event("Started", 1),
        event("ResolvingTaskRef", 1),
        event("Pending", 4),
        event("Pending", 6),
        event("Running", 9),
        event("Succeeded", 60),
    ];
    let tree = tree_of(&succeeded(), &events, false);
    assert_eq!(
        keys(&tree),
        [
            "queue",
            "resolve",
            "pending",
            "step/clone",
            "step/test",
            "step/push"
        ]
    );
    let pending = child(&tree, "pending");
    assert_eq!((pending.start, pending.end), (time(4), Some(time(9))));

    let mut run = succeeded();
    run["status"] = json!({
        "startTime": at(1),
        "conditions": condition("Unknown", "ExceededResourceQuota", "too much", 2),
    });
    let tree = super::tree(&run);
    assert_eq!(child(&tree, "pending").start, time(2));
    assert_eq!(child(&tree, "pending").end, None);
    assert_eq!(
        text(child(&tree, "pending"), "tekton.reason"),
        Some("ExceededResourceQuota")
    );
}

#[test]
fn a_running_step_is_the_first_that_has_not_ended() {
    let mut run = succeeded();
    let running = |name: &str| json!({"name": name, "container": format!("step-{name}"), "running": {"startedAt": at(9)}});
    run["status"]["completionTime"] = json!(null);
    run["status"]["conditions"] = condition("Unknown", "Running", "Not all Steps", 9);
    run["status"]["steps"] = json!([
        step("clone", 0, "Completed", 10, 12),
        running("test"),
        running("push"),
    ]);
    let tree = tree(&run);
    assert_eq!(keys(&tree), ["queue", "step/clone", "step/test"]);
    assert_eq!(child(&tree, "step/test").start, time(12));
    assert_eq!(child(&tree, "step/test").end, None);

    let deleted = tree_of(&run, &[], true);
    assert_eq!(deleted.main.end, Some(time(12)));
    assert_eq!(
        text(&deleted.main, "lighthouse.telemetry.end"),
        Some("deleted")
    );
    assert_eq!(
        text(child(&deleted, "step/test"), "lighthouse.telemetry.end"),
        Some("parent")
    );
    assert_eq!(child(&deleted, "step/test").end, Some(time(12)));
}

#[test]
fn sidecars_end_with_the_task() {
    let mut run = succeeded();
    let mut database = step("database", 137, "Error", 9, 70);
    database["container"] = json!("sidecar-database");
    run["status"]["sidecars"] = json!([
        database,
        {"name": "proxy", "container": "sidecar-proxy", "running": {"startedAt": at(9)}},
        {"name": "late", "container": "sidecar-late", "waiting": {"reason": "ImagePullBackOff"}},
    ]);
    let tree = tree(&run);
    let database = child(&tree, "sidecar/database");
    assert_eq!((database.start, database.end), (time(9), Some(time(60))));
    // It is Tekton that stops them.
    assert_eq!(database.status, SpanStatus::Unset);
    assert_eq!(child(&tree, "sidecar/proxy").end, Some(time(60)));
    assert!(!keys(&tree).contains(&"sidecar/late"));
}

#[test]
fn a_task_run_by_hand_is_a_trace_of_its_own() {
    let mut run = succeeded();
    run["metadata"]["ownerReferences"] = json!(null);
    run["metadata"]["labels"] = json!({});
    let tree = tree(&run);
    assert_eq!(tree.parents, [Parent::Root(TraceStart::Subject)]);
    assert_eq!(tree.main.name, "golang-build");
}

#[test]
fn steps_of_one_name_stay_apart() {
    let mut run = succeeded();
    run["status"]["steps"] = json!([
        step("x", 0, "Completed", 10, 12),
        step("x", 0, "Completed", 12, 14),
        {"terminated": {"exitCode": 0}},
        "no step",
    ]);
    let tree = tree(&run);
    assert_eq!(keys(&tree), ["queue", "step/x", "step/x/2", "step/"]);
}

#[test]
fn an_image_that_has_only_a_digest_has_no_name() {
    let mut run = succeeded();
    run["status"]["steps"][0]["imageID"] = json!("sha256:0123");
    let tree = tree(&run);
    assert_eq!(
        text(child(&tree, "step/clone"), "container.image.name"),
        None
    );
}

#[test]
fn a_bare_task_run_is_a_span() {
    let tree = super::tree(&json!({"kind": "TaskRun"}));
    assert_eq!(tree.main.name, "TaskRun");
    assert!(!tree.may_annotate);
}
