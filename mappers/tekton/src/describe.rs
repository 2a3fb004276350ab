//! What the mapper wants watched, and which fields it reads.

use span_mapper_sdk::{Description, ObjectSource, Relation, Watch, event};

/// Place of the watch on PipelineRuns.
pub const PIPELINE_RUN: u32 = 0;
/// Place of the watch on TaskRuns.
pub const TASK_RUN: u32 = 1;
/// Place of the watch on CustomRuns.
pub const CUSTOM_RUN: u32 = 2;

/// Place of the attachment that every watch has first.
pub const EVENTS: u32 = 0;
/// Place of a TaskRun's Pods.
pub const PODS: u32 = 1;

/// Group of all that Tekton runs.
pub const GROUP: &str = "tekton.dev";

/// Prefix of the annotations that hold a context.
const CONTEXT: &str = "lighthouse.jenkins-x.io";

/// What every kind has, and is read of every kind.
const RUN: [&str; 10] = [
    "/metadata/generateName",
    "/metadata/ownerReferences",
    "/metadata/labels/tekton.dev~1pipeline",
    "/metadata/labels/tekton.dev~1pipelineRun",
    "/metadata/labels/tekton.dev~1pipelineTask",
    "/metadata/labels/tekton.dev~1memberOf",
    "/status/startTime",
    "/status/completionTime",
    "/status/conditions",
    "/spec/statusMessage",
];

/// What only a PipelineRun has.
const PIPELINE: [&str; 27] = [
    "/metadata/annotations/lighthouse.jenkins-x.io~1cloneURI",
    "/metadata/annotations/lighthouse.jenkins-x.io~1job",
    "/metadata/labels/branch",
    "/metadata/labels/build",
    "/metadata/labels/context",
    "/metadata/labels/dashboard.tekton.dev~1rerunOf",
    "/metadata/labels/event-GUID",
    "/metadata/labels/lighthouse.jenkins-x.io~1baseSHA",
    "/metadata/labels/lighthouse.jenkins-x.io~1branch",
    "/metadata/labels/lighthouse.jenkins-x.io~1buildNum",
    "/metadata/labels/lighthouse.jenkins-x.io~1context",
    "/metadata/labels/lighthouse.jenkins-x.io~1id",
    "/metadata/labels/lighthouse.jenkins-x.io~1job",
    "/metadata/labels/lighthouse.jenkins-x.io~1lastCommitSHA",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.org",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.pull",
    "/metadata/labels/lighthouse.jenkins-x.io~1refs.repo",
    "/metadata/labels/owner",
    "/metadata/labels/repository",
    "/spec/params/*/name",
    "/spec/params/*/value",
    "/spec/pipelineRef/name",
    "/spec/pipelineRef/params/*/name",
    "/spec/pipelineRef/params/*/value",
    "/status/finallyStartTime",
    "/status/skippedTasks/*/name",
    "/status/skippedTasks/*/reason",
];

/// What only a TaskRun has. The termination messages of its steps are left out: they hold the task's results.
const TASK: [&str; 32] = [
    "/metadata/annotations/tekton.dev~1categories",
    "/metadata/labels/tekton.dev~1clusterTask",
    "/metadata/labels/tekton.dev~1task",
    "/spec/retries",
    "/spec/taskRef/name",
    "/status/podName",
    "/status/retriesStatus/*/completionTime",
    "/status/retriesStatus/*/conditions",
    "/status/retriesStatus/*/podName",
    "/status/retriesStatus/*/startTime",
    "/status/retriesStatus/*/steps/*/container",
    "/status/retriesStatus/*/steps/*/imageID",
    "/status/retriesStatus/*/steps/*/name",
    "/status/retriesStatus/*/steps/*/terminated/exitCode",
    "/status/retriesStatus/*/steps/*/terminated/finishedAt",
    "/status/retriesStatus/*/steps/*/terminated/reason",
    "/status/retriesStatus/*/steps/*/terminated/startedAt",
    "/status/retriesStatus/*/steps/*/terminationReason",
    "/status/sidecars/*/container",
    "/status/sidecars/*/imageID",
    "/status/sidecars/*/name",
    "/status/sidecars/*/running/startedAt",
    "/status/sidecars/*/terminated/exitCode",
    "/status/sidecars/*/terminated/finishedAt",
    "/status/sidecars/*/terminated/reason",
    "/status/sidecars/*/terminated/startedAt",
    "/status/steps/*/container",
    "/status/steps/*/imageID",
    "/status/steps/*/name",
    "/status/steps/*/running/startedAt",
    "/status/steps/*/terminationReason",
    "/status/taskSpec/steps/*/name",
];

/// What only a TaskRun has, continued.
const TASK_STEPS: [&str; 5] = [
    "/status/steps/*/terminated/exitCode",
    "/status/steps/*/terminated/finishedAt",
    "/status/steps/*/terminated/reason",
    "/status/steps/*/terminated/startedAt",
    "/status/taskSpec/steps/*/onError",
];

/// What is read of a TaskRun's Pod: the messages hold the true starts of the steps.
const POD: [&str; 4] = [
    "/metadata/name",
    "/status/containerStatuses/*/name",
    "/status/containerStatuses/*/state/terminated/message",
    "/status/reason",
];

/// What only a CustomRun has.
const CUSTOM: [&str; 8] = [
    "/spec/customRef/kind",
    "/spec/customRef/name",
    "/spec/customSpec/kind",
    "/spec/retries",
    "/status/retriesStatus/*/completionTime",
    "/status/retriesStatus/*/conditions",
    "/status/retriesStatus/*/podName",
    "/status/retriesStatus/*/startTime",
];

/// What the mapper declares.
pub fn description() -> Description {
    let run = |versions: &[&str], kind| {
        Watch::objects(ObjectSource::new(GROUP, versions.iter().copied(), kind))
            .fields(RUN)
            .attach(event::about(kind), Relation::Involved, event::FIELDS)
            .annotate_context(CONTEXT)
    };
    // Without a selector it is the watch that the mapper of Pods has anyway.
    let pods = ObjectSource::new("", ["v1"], "Pod");
    Description::new(env!("CARGO_PKG_VERSION"))
        .watch(run(&["v1", "v1beta1"], "PipelineRun").fields(PIPELINE))
        .watch(
            run(&["v1", "v1beta1"], "TaskRun")
                .fields(TASK)
                .fields(TASK_STEPS)
                .attach(pods, Relation::Owned, POD),
        )
        .watch(run(&["v1beta1"], "CustomRun").fields(CUSTOM))
}
