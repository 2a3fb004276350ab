use serde_json::{Value, json};
use span_mapper_sdk::Parent;

use super::*;

fn refused() -> Value {
    json!({
        "apiVersion": "tekton.dev/v1beta1",
        "kind": "CustomRun",
        "metadata": {
            "name": "pr-approve", "namespace": "jx", "uid": "cr-uid", "creationTimestamp": at(0),
            "labels": {"tekton.dev/pipelineTask": "approve"},
            "ownerReferences": [{
                "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "pr", "uid": "pr", "controller": true,
            }],
        },
        "spec": {"customRef": {"apiVersion": "openshift-pipelines.org/v1alpha1", "kind": "ApprovalTask"}},
        "status": {
            "startTime": at(5),
            "completionTime": at(50),
            "conditions": condition("False", "ApprovalRejected", "alice said no", 50),
        },
    })
}

#[test]
fn a_custom_run_is_a_task_run() {
    let tree = tree(&refused());
    assert_eq!(tree.service, "Tekton.CustomRun");
    assert_eq!(tree.main.name, "approve");
    assert_eq!(
        text(&tree.main, "cicd.pipeline.task.run.result"),
        Some("failure")
    );
    assert_eq!(
        text(&tree.main, "tekton.custom_task.kind"),
        Some("ApprovalTask")
    );
    assert_eq!(error(&tree.main), Some("alice said no"));
    assert_eq!(child(&tree, "queue").end, Some(time(5)));
    assert!(matches!(tree.parents.as_slice(), [Parent::Owner(_)]));
    assert!(tree.may_annotate);
}

#[test]
fn its_attempts_have_no_pods() {
    let mut run = refused();
    run["spec"]["retries"] = json!(1);
    run["status"]["retriesStatus"] = json!([{
        "startTime": at(2), "conditions": condition("False", "CustomRunTimedOut", "late", 4),
    }]);
    let tree = tree(&run);
    assert_eq!(keys(&tree), ["queue", "attempt/1", "attempt/2"]);
    let first = child(&tree, "attempt/1");
    assert_eq!((first.start, first.end), (time(2), Some(time(4))));
    assert_eq!(text(first, "tekton.attempt.result"), Some("timeout"));
}
