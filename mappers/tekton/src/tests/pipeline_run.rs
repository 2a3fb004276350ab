use serde_json::{Value, json};
use span_mapper_sdk::{LinkTarget, Parent, SpanKind, SpanStatus, TraceStart};

use super::*;

/// A PipelineRun that Lighthouse has made for a pull request and that has succeeded.
fn succeeded() -> Value {
    json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": "acme-shop-pr-12-pr-x7k2p",
            "generateName": "acme-shop-pr-12-pr-",
            "namespace": "jx",
            "uid": "5f0c7f3e-0b7e-4b63-9a61-5b7f0e7f3a10",
            "creationTimestamp": at(0),
            "labels": {
                "created-by-lighthouse": "true",
                "event-GUID": "f3a1b2c0-1607-11f1-8f0e-6d5c4b3a2910",
                "lighthouse.jenkins-x.io/baseSHA": "aaaa",
                "lighthouse.jenkins-x.io/branch": "PR-12",
                "lighthouse.jenkins-x.io/buildNum": "1772445600123",
                "lighthouse.jenkins-x.io/context": "pr",
                "lighthouse.jenkins-x.io/id": "acme-shop-pr-12-pr-job",
                "lighthouse.jenkins-x.io/job": "pr",
                "lighthouse.jenkins-x.io/lastCommitSHA": "bbbb",
                "lighthouse.jenkins-x.io/refs.org": "acme",
                "lighthouse.jenkins-x.io/refs.pull": "12",
                "lighthouse.jenkins-x.io/refs.repo": "shop",
                "lighthouse.jenkins-x.io/type": "presubmit",
                "tekton.dev/pipeline": "acme-shop-pr-12-pr-x7k2p",
            },
            "annotations": {
                "lighthouse.jenkins-x.io/cloneURI": "https://bot:s3cret@github.com/acme/shop.git",
                "lighthouse.jenkins-x.io/job": "pull-request",
                // Copied from the LighthouseJob: never a context of its own.
                "lighthouse.jenkins-x.io/traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
            "ownerReferences": [{
                "apiVersion": "lighthouse.jenkins.io/v1alpha1", "kind": "LighthouseJob",
                "name": "acme-shop-pr-12-pr-job", "uid": "job", "controller": true,
            }],
        },
        "spec": {
            "params": [
                {"name": "JOB_SPEC", "value": "{\"type\":\"presubmit\"}"},
                {"name": "PULL_BASE_REF", "value": "main"},
                {"name": "PULL_BASE_SHA", "value": "aaaa"},
                {"name": "PULL_NUMBER", "value": "12"},
                {"name": "PULL_PULL_REF", "value": "refs/pull/12/head"},
                {"name": "PULL_PULL_SHA", "value": "bbbb"},
                {"name": "platforms", "value": ["linux", "darwin"]},
            ],
            "pipelineSpec": {"tasks": [{"name": "build"}]},
        },
        "status": {
            "startTime": at(2),
            "completionTime": at(90),
            "conditions": condition("True", "Completed", "Tasks Completed: 2, Skipped: 1", 90),
            "finallyStartTime": at(80),
            "skippedTasks": [{"name": "promote", "reason": "When Expressions evaluated to false"}],
            "childReferences": [
                {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "x-build", "pipelineTaskName": "build"},
            ],
        },
    })
}

#[test]
fn a_pipeline_run_is_the_pipeline_run_of_the_conventions() {
    let tree = tree(&succeeded());
    let main = &tree.main;
    assert_eq!(tree.service, "Tekton.PipelineRun");
    assert_eq!(main.kind, SpanKind::Server);
    assert_eq!(main.name, "pull-request");
    assert_eq!((main.start, main.end), (time(0), Some(time(90))));
    assert_eq!(main.status, SpanStatus::Unset);
    for (key, value) in [
        ("cicd.pipeline.name", "pull-request"),
        (
            "cicd.pipeline.run.id",
            "5f0c7f3e-0b7e-4b63-9a61-5b7f0e7f3a10",
        ),
        ("cicd.pipeline.result", "success"),
        ("tekton.reason", "Completed"),
        ("k8s.object.name", "acme-shop-pr-12-pr-x7k2p"),
        ("k8s.namespace.name", "jx"),
        ("pipeline.owner", "acme"),
        ("pipeline.repository", "shop"),
        ("pipeline.branch", "PR-12"),
        ("pipeline.build", "1772445600123"),
        ("pipeline.context", "pr"),
        ("event.guid", "f3a1b2c0-1607-11f1-8f0e-6d5c4b3a2910"),
        ("vcs.owner.name", "acme"),
        ("vcs.repository.name", "shop"),
        ("vcs.repository.url.full", "https://github.com/acme/shop"),
        ("vcs.change.id", "12"),
        ("vcs.ref.head.name", "refs/pull/12/head"),
        ("vcs.ref.head.revision", "bbbb"),
        ("vcs.ref.base.name", "main"),
        ("vcs.ref.base.type", "branch"),
        ("vcs.ref.base.revision", "aaaa"),
    ] {
        assert_eq!(text(main, key), Some(value), "{key}");
    }
    assert_eq!(text(main, "error.type"), None);
    assert_eq!(text(main, "cicd.pipeline.run.state"), None);
    assert!(tree.may_annotate);
    assert_eq!(tree.diagnostics, []);

    let queue = child(&tree, "queue");
    assert_eq!((queue.start, queue.end), (time(0), Some(time(2))));
    let skipped = events(main, "Task skipped");
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].time, time(90));
    assert_eq!(events(main, "Finally")[0].time, time(80));
    assert_eq!(events(main, "Condition Succeeded")[0].time, time(90));
}

#[test]
fn a_run_of_lighthouse_belongs_to_its_job() {
    let mut run = succeeded();
    let parents = tree(&run).parents;
    let [Parent::Owner(owner), Parent::Target(target)] = parents.as_slice() else {
        panic!("{parents:?}");
    };
    assert_eq!(owner.kind.as_deref(), Some("LighthouseJob"));
    assert_eq!(target.name, "acme-shop-pr-12-pr-job");

    // The owner reference comes later, or never.
    run["metadata"]["ownerReferences"] = json!([]);
    let parents = tree(&run).parents;
    let [Parent::Target(target)] = parents.as_slice() else {
        panic!("{parents:?}");
    };
    assert_eq!(target.group, "lighthouse.jenkins.io");
    assert_eq!(target.kind, "LighthouseJob");
}

#[test]
fn a_nested_run_belongs_to_what_made_it() {
    let mut run = succeeded();
    // Labels and annotations are copied downwards.
    run["metadata"]["labels"]["dashboard.tekton.dev/rerunOf"] = json!("first");
    run["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "tekton.dev/v1beta1", "kind": "CustomRun", "name": "c", "uid": "c", "controller": true,
    }]);
    let tree = tree(&run);
    let [Parent::Owner(owner), Parent::Target(_)] = tree.parents.as_slice() else {
        panic!("{:?}", tree.parents);
    };
    assert_eq!(owner.group.as_deref(), Some("tekton.dev"));
    assert_eq!(owner.kind, None);
    assert_eq!(tree.main.links, []);
}

#[test]
fn a_run_by_hand_and_a_rerun_are_traces_of_their_own() {
    let mut run = succeeded();
    run["metadata"]["ownerReferences"] = json!([]);
    run["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("lighthouse.jenkins-x.io/id");
    let by_hand = tree(&run);
    assert_eq!(by_hand.parents, [Parent::Root(TraceStart::Subject)]);
    assert_eq!(by_hand.main.links, []);

    run["metadata"]["labels"]["dashboard.tekton.dev/rerunOf"] = json!("first");
    let rerun = tree(&run);
    assert_eq!(rerun.parents, [Parent::Root(TraceStart::Subject)]);
    let [link] = rerun.main.links.as_slice() else {
        panic!("{:?}", rerun.main.links);
    };
    let LinkTarget::Target(target) = &link.to else {
        panic!("{link:?}");
    };
    assert_eq!(
        (target.kind.as_str(), target.name.as_str()),
        ("PipelineRun", "first")
    );
}

#[test]
fn a_rerun_of_a_job_belongs_to_the_job_that_lighthouse_makes_for_it() {
    let mut run = succeeded();
    run["metadata"]["name"] = json!("first-r-1");
    run["metadata"]["labels"]["dashboard.tekton.dev/rerunOf"] = json!("first");
    run["metadata"]["ownerReferences"] = json!([]);
    let waiting = tree(&run);
    // The label still names the first job; the one to come is called as the run is.
    let [Parent::Target(job), Parent::Root(TraceStart::Subject)] = waiting.parents.as_slice()
    else {
        panic!("{:?}", waiting.parents);
    };
    assert_eq!(
        (job.kind.as_str(), job.name.as_str()),
        ("LighthouseJob", "first-r-1")
    );
    run["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "lighthouse.jenkins.io/v1alpha1", "kind": "LighthouseJob", "name": "first-r-1", "uid": "j",
        "controller": true,
    }]);
    let owned = tree(&run);
    let [Parent::Owner(owner)] = owned.parents.as_slice() else {
        panic!("{:?}", owned.parents);
    };
    assert_eq!(owner.kind.as_deref(), Some("LighthouseJob"));
    assert_eq!(text(&owned.main, "tekton.rerun_of"), Some("first"));
    assert_eq!(owned.main.links.len(), 1);
}

#[test]
fn a_run_of_something_foreign_may_still_belong_to_ours() {
    let mut run = succeeded();
    run["metadata"]["labels"] = json!({});
    run["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "w", "controller": true,
    }]);
    let parents = tree(&run).parents;
    let [Parent::Owner(owner), Parent::Root(TraceStart::Subject)] = parents.as_slice() else {
        panic!("{parents:?}");
    };
    assert_eq!((&owner.group, &owner.kind), (&None, &None));
}

#[test]
fn failures_say_why() {
    for (reason, result, failed) in [
        ("Failed", "failure", true),
        ("PipelineRunTimeout", "timeout", true),
        ("CouldntGetTask", "error", true),
        ("Cancelled", "cancellation", false),
    ] {
        let mut run = succeeded();
        run["status"]["conditions"] = condition("False", reason, "it went wrong", 90);
        let tree = tree(&run);
        assert_eq!(text(&tree.main, "cicd.pipeline.result"), Some(result));
        assert_eq!(text(&tree.main, "error.type"), failed.then_some(reason));
        assert_eq!(error(&tree.main), failed.then_some("it went wrong"));
    }
}

#[test]
fn a_run_goes_through_its_states() {
    let mut run = succeeded();
    run["metadata"]["labels"]
        .as_object_mut()
        .unwrap()
        .remove("tekton.dev/pipeline");
    run["spec"]["status"] = json!("PipelineRunPending");
    run["status"] = json!({"conditions": condition("Unknown", "PipelineRunPending", "waits", 1)});
    let pending = tree(&run);
    assert_eq!(
        text(&pending.main, "cicd.pipeline.run.state"),
        Some("pending")
    );
    assert_eq!(pending.main.end, None);
    assert_eq!(child(&pending, "queue").end, None);
    assert!(!pending.may_annotate);

    run["status"]["startTime"] = json!(at(30));
    run["status"]["conditions"] = condition("Unknown", "Running", "Tasks Completed: 0", 31);
    let running = tree(&run);
    assert_eq!(
        text(&running.main, "cicd.pipeline.run.state"),
        Some("executing")
    );
    assert_eq!(child(&running, "queue").end, Some(time(30)));

    run["status"]["finallyStartTime"] = json!(at(40));
    let finalizing = tree(&run);
    assert_eq!(
        text(&finalizing.main, "cicd.pipeline.run.state"),
        Some("finalizing")
    );
    assert_eq!(text(&finalizing.main, "cicd.pipeline.result"), None);
}

#[test]
fn a_run_that_does_not_say_how_it_ended_has_an_unknown_result() {
    for conditions in [
        json!([]),
        condition("Unknown", "Running", "Tasks Completed: 1", 60),
    ] {
        let mut run = succeeded();
        run["status"]["conditions"] = conditions;
        let tree = tree(&run);
        assert!(tree.main.end.is_some());
        assert_eq!(text(&tree.main, "cicd.pipeline.result"), Some("unknown"));
        assert_eq!(tree.main.status, SpanStatus::Unset);
    }
}

#[test]
fn a_run_that_is_deleted_ends_when_it_was_last_heard_of() {
    let mut run = succeeded();
    run["status"]["completionTime"] = json!(null);
    run["status"]["conditions"] = condition("Unknown", "Running", "Tasks Completed: 1", 60);
    run["status"]["finallyStartTime"] = json!(null);
    let tree = tree_of(&run, &[event("Running", 65)], true);
    assert_eq!(tree.main.end, Some(time(65)));
    assert_eq!(
        text(&tree.main, "cicd.pipeline.result"),
        Some("cancellation")
    );
    assert_eq!(tree.main.status, SpanStatus::Unset);
}

#[test]
fn the_name_is_one_that_many_runs_share() {
    let mut run = succeeded();
    run["spec"]["pipelineRef"] = json!({"name": "build-and-test"});
    assert_eq!(tree(&run).main.name, "build-and-test");
    run["spec"]["pipelineRef"] =
        json!({"resolver": "hub", "params": [{"name": "name", "value": "golang"}]});
    assert_eq!(tree(&run).main.name, "golang");
    run["spec"]["pipelineRef"] = json!(null);
    run["metadata"]["annotations"] = json!({});
    run["metadata"]["labels"] = json!({"tekton.dev/pipeline": run["metadata"]["name"]});
    assert_eq!(tree(&run).main.name, "acme-shop-pr-12-pr");
    run["metadata"]["generateName"] = json!(null);
    assert_eq!(tree(&run).main.name, "PipelineRun");
}

#[test]
fn resolving_takes_its_time() {
    let run = succeeded();
    let events = [
        event("Started", 2),
        event("ResolvingPipelineRef", 3),
        event("Running", 7),
        event("Running", 20),
        event("Succeeded", 90),
    ];
    let tree = tree_of(&run, &events, false);
    assert_eq!(keys(&tree), ["queue", "resolve"]);
    let resolve = child(&tree, "resolve");
    assert_eq!((resolve.start, resolve.end), (time(3), Some(time(7))));
    assert_eq!(super::events(&tree.main, "Running").len(), 2);
}

#[test]
fn v1beta1_reads_the_same() {
    let mut run = succeeded();
    run["apiVersion"] = json!("tekton.dev/v1beta1");
    run["spec"]["serviceAccountName"] = json!("bot");
    run["spec"]["timeout"] = json!("1h0m0s");
    run["status"]["taskRuns"] = json!({"x-build": {"pipelineTaskName": "build"}});
    assert_eq!(tree(&run), tree(&succeeded()));
}

#[test]
fn missing_and_odd_fields_leave_the_rest() {
    let mut run = succeeded();
    run["spec"]["params"] = json!({"name": "no list"});
    run["status"]["skippedTasks"] = json!([7, {"name": ["x"]}]);
    run["status"]["finallyStartTime"] = json!("soon");
    run["metadata"]["ownerReferences"] = json!("nobody");
    let tree = tree(&run);
    assert_eq!(text(&tree.main, "cicd.pipeline.result"), Some("success"));
    assert_eq!(text(&tree.main, "vcs.ref.head.revision"), Some("bbbb"));
    let pointers: Vec<_> = tree
        .diagnostics
        .iter()
        .map(|diagnostic| diagnostic.pointer.as_str())
        .collect();
    for pointer in [
        "/spec/params",
        "/status/finallyStartTime",
        "/status/skippedTasks/0",
    ] {
        assert!(pointers.contains(&pointer), "{pointer} in {pointers:?}");
    }

    let bare = super::tree(&json!({"kind": "PipelineRun"}));
    assert_eq!(bare.main.name, "PipelineRun");
    assert_eq!(bare.main.end, None);
}
