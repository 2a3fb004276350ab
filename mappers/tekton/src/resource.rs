//! Tekton's resources, as far as the mapper reads them. The fields are those of `tekton.dev/v1` and, where they
//! are the same, of `v1beta1`: tektoncd/pipeline `pkg/apis/pipeline/v1/{pipelinerun,taskrun}_types.go`,
//! `pkg/apis/run/v1beta1/customrunstatus_types.go`.

use span_mapper_sdk::Timestamp;
use span_mapper_sdk::object::{Condition, Metadata};
use span_mapper_sdk::read::{Integer, List, Text, Time};
use span_mapper_sdk::record;

use crate::param::{Param, TextIfAny};

record! {
    /// A PipelineRun.
    pub struct PipelineRun<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: PipelineRunSpec<'a> = "spec",
        pub status: PipelineRunStatus<'a> = "status",
    }

    pub struct PipelineRunSpec<'a> {
        pub reference: PipelineReference<'a> = "pipelineRef",
        pub params: List<Param<'a>> = "params",
    }

    pub struct PipelineReference<'a> {
        pub name: Text<'a> = "name",
        /// Of a resolver.
        pub params: List<Param<'a>> = "params",
    }

    pub struct PipelineRunStatus<'a> {
        pub started: Time = "startTime",
        pub completed: Time = "completionTime",
        pub finally_started: Time = "finallyStartTime",
        pub conditions: List<Condition<'a>> = "conditions",
        pub skipped: List<SkippedTask<'a>> = "skippedTasks",
    }

    /// A task of a pipeline that will not run. There is no time at which this was decided.
    pub struct SkippedTask<'a> {
        pub name: Text<'a> = "name",
        /// For people.
        pub reason: Text<'a> = "reason",
    }

    /// A TaskRun.
    pub struct TaskRun<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: TaskRunSpec<'a> = "spec",
        pub status: TaskRunStatus<'a> = "status",
    }

    pub struct TaskRunSpec<'a> {
        pub reference: Named<'a> = "taskRef",
        pub retries: Integer = "retries",
    }

    pub struct Named<'a> {
        pub name: Text<'a> = "name",
    }

    /// Status of a TaskRun, and of each earlier attempt at it.
    pub struct TaskRunStatus<'a> {
        pub pod: Text<'a> = "podName",
        pub started: Time = "startTime",
        pub completed: Time = "completionTime",
        pub conditions: List<Condition<'a>> = "conditions",
        pub steps: List<ContainerState<'a>> = "steps",
        pub sidecars: List<ContainerState<'a>> = "sidecars",
        /// Earlier attempts, the first one first.
        pub retries: List<TaskRunStatus<'a>> = "retriesStatus",
        pub spec: TaskSpec<'a> = "taskSpec",
    }

    /// The task as it was resolved.
    pub struct TaskSpec<'a> {
        pub steps: List<StepSpec<'a>> = "steps",
    }

    pub struct StepSpec<'a> {
        pub name: Text<'a> = "name",
        /// `continue`: the steps after it run even if it fails.
        pub on_error: Text<'a> = "onError",
    }

    /// State of a step or of a sidecar.
    pub struct ContainerState<'a> {
        pub name: Text<'a> = "name",
        pub container: Text<'a> = "container",
        pub image: Text<'a> = "imageID",
        /// Of its container alone: all containers of steps start together, not each with its step.
        pub running: Running = "running",
        pub terminated: Terminated<'a> = "terminated",
        /// Completed, Continued, Error, TimeoutExceeded, Skipped or Cancelled; not in older versions.
        pub termination_reason: Text<'a> = "terminationReason",
    }

    pub struct Running {
        pub started: Time = "startedAt",
    }

    pub struct Terminated<'a> {
        pub exit_code: Integer = "exitCode",
        /// `Completed`, `Error`, `OOMKilled`, or why Tekton ended the step.
        pub reason: Text<'a> = "reason",
        /// When the step itself started, cut to the second.
        pub started: Time = "startedAt",
        pub finished: Time = "finishedAt",
    }

    /// A CustomRun.
    pub struct CustomRun<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: CustomRunSpec<'a> = "spec",
        pub status: TaskRunStatus<'a> = "status",
    }

    pub struct CustomRunSpec<'a> {
        pub reference: CustomReference<'a> = "customRef",
        pub spec: CustomReference<'a> = "customSpec",
        pub retries: Integer = "retries",
    }

    pub struct CustomReference<'a> {
        pub kind: Text<'a> = "kind",
        pub name: Text<'a> = "name",
    }

    /// A Pod of a TaskRun.
    pub struct Pod<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub status: PodStatus<'a> = "status",
    }

    pub struct PodStatus<'a> {
        /// `Evicted`, if it was.
        pub reason: Text<'a> = "reason",
        pub containers: List<ContainerStatus<'a>> = "containerStatuses",
    }

    pub struct ContainerStatus<'a> {
        pub name: Text<'a> = "name",
        pub state: PodContainerState<'a> = "state",
    }

    pub struct PodContainerState<'a> {
        pub terminated: PodTerminated<'a> = "terminated",
    }

    pub struct PodTerminated<'a> {
        /// JSON of Tekton's entrypoint.
        pub message: Text<'a> = "message",
    }

    /// An entry of a termination message: tektoncd/pipeline `pkg/result/result.go`.
    pub struct Entry<'a> {
        pub key: Text<'a> = "key",
        pub value: TextIfAny<'a> = "value",
    }
}

impl ContainerState<'_> {
    /// When its container started, if it runs.
    pub fn running_since(&self) -> Option<Timestamp> {
        self.running.started.get()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.terminated.finished.get().is_some()
            || self.terminated.exit_code.get().is_some()
            || !self.terminated.reason.is_empty()
    }

    /// Its name; of a nameless one, that of its container.
    pub fn label(&self) -> &str {
        self.name.get().unwrap_or(self.container.as_str())
    }
}
