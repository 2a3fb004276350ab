//! A Pod, as far as the mapper reads it: kubernetes `api/core/v1/types.go`.

use span_mapper_sdk::Timestamp;
use span_mapper_sdk::object::Condition;
use span_mapper_sdk::read::{Boolean, Integer, List, Text, Time};
use span_mapper_sdk::record;

record! {
    /// A Pod.
    pub struct Pod<'a> {
        pub metadata: Metadata<'a> = "metadata",
        pub spec: Spec<'a> = "spec",
        pub status: Status<'a> = "status",
    }

    pub struct Metadata<'a> {
        pub created: Time = "creationTimestamp",
        pub grace_seconds: Integer = "deletionGracePeriodSeconds",
        /// When it was asked to be deleted, and the seconds of grace after that.
        pub deleted: Time = "deletionTimestamp",
        pub name: Text<'a> = "name",
        pub namespace: Text<'a> = "namespace",
        pub owners: List<Owner> = "ownerReferences",
        pub uid: Text<'a> = "uid",
    }

    pub struct Owner {
        pub controller: Boolean = "controller",
    }

    pub struct Spec<'a> {
        pub containers: List<ContainerSpec<'a>> = "containers",
        pub init_containers: List<ContainerSpec<'a>> = "initContainers",
        pub node: Text<'a> = "nodeName",
        /// `Always` unless said otherwise.
        pub restart_policy: Text<'a> = "restartPolicy",
    }

    pub struct ContainerSpec<'a> {
        pub image: Text<'a> = "image",
        pub name: Text<'a> = "name",
        /// `Always` makes a sidecar of an init container.
        pub restart_policy: Text<'a> = "restartPolicy",
    }

    pub struct Status<'a> {
        pub conditions: List<Condition<'a>> = "conditions",
        pub containers: List<ContainerStatus<'a>> = "containerStatuses",
        pub init_containers: List<ContainerStatus<'a>> = "initContainerStatuses",
        pub message: Text<'a> = "message",
        /// Pending, Running, Succeeded, Failed or Unknown.
        pub phase: Text<'a> = "phase",
        /// Why the Pod as a whole failed, such as `Evicted`.
        pub reason: Text<'a> = "reason",
        /// When the kubelet took the Pod over.
        pub started: Time = "startTime",
    }

    pub struct ContainerStatus<'a> {
        /// `containerd://…`: of the newest instance.
        pub id: Text<'a> = "containerID",
        /// How the instance before ended.
        pub last: State<'a> = "lastState",
        pub name: Text<'a> = "name",
        pub restarts: Integer = "restartCount",
        pub state: State<'a> = "state",
    }

    pub struct State<'a> {
        pub running: Running = "running",
        pub terminated: Terminated<'a> = "terminated",
        pub waiting: Waiting<'a> = "waiting",
    }

    pub struct Waiting<'a> {
        pub message: Text<'a> = "message",
        pub reason: Text<'a> = "reason",
    }

    pub struct Running {
        pub started: Time = "startedAt",
    }

    pub struct Terminated<'a> {
        pub id: Text<'a> = "containerID",
        pub exit_code: Integer = "exitCode",
        pub finished: Time = "finishedAt",
        /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`, …
        pub reason: Text<'a> = "reason",
        pub signal: Integer = "signal",
        pub started: Time = "startedAt",
    }
}

impl Terminated<'_> {
    /// When the instance started; none if it never did: the kubelet then writes the epoch.
    pub fn started(&self) -> Option<Timestamp> {
        self.started.get().filter(|time| time.nanoseconds > 0)
    }

    /// When the instance ended.
    pub fn finished(&self) -> Option<Timestamp> {
        self.finished.get().filter(|time| time.nanoseconds > 0)
    }

    /// Whether the instance ended badly.
    pub fn has_failed(&self) -> bool {
        match self.exit_code.get() {
            Some(code) if code != 0 => true,
            _ => !matches!(self.reason.as_str(), "" | "Completed"),
        }
    }
}

impl<'a> State<'a> {
    /// How the container ended, if it did.
    pub fn ended(&self) -> Option<&Terminated<'a>> {
        let terminated = &self.terminated;
        let there = terminated.exit_code.get().is_some()
            || terminated.finished().is_some()
            || !terminated.reason.is_empty();
        there.then_some(terminated)
    }
}
