//! A Pod of Tekton's with an init container and two steps, and the Events of its life.

use serde_json::{Value, json};
use span_mapper_sdk::read;
use span_mapper_sdk::testing;
use span_mapper_sdk::{Mapper, Outcome, Span, SpanTree, Subject, Timestamp};

use crate::Kubernetes;

/// 2023-11-14T22:13:20Z, when the Pod is created.
pub const ORIGIN: u64 = 1_700_000_000;

/// A Pod with its Events, ready to be mapped.
#[derive(Clone, Debug)]
pub struct Case {
    pub pod: Value,
    pub events: Vec<Value>,
    pub deleted: bool,
}

impl Case {
    pub fn new(pod: Value) -> Self {
        Self {
            pod,
            events: events(),
            deleted: false,
        }
    }

    pub fn without_events(mut self) -> Self {
        self.events.clear();
        self
    }

    pub fn without_event(mut self, reason: &str, container: &str) -> Self {
        let before = self.events.len();
        let path = format!("{{{container}}}");
        self.events.retain(|event| {
            event["reason"] != reason
                || !event["involvedObject"]["fieldPath"]
                    .as_str()
                    .unwrap_or("{}")
                    .ends_with(&path)
        });
        assert!(self.events.len() < before);
        self
    }

    pub fn deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    pub fn outcome(&self) -> Outcome<'static> {
        let description = Kubernetes::configure(&testing::configuration()).unwrap();
        let attached: Vec<_> = self.events.iter().map(|event| (0, event.clone())).collect();
        let mut object = testing::subject(&description, 0, &self.pod, &attached);
        object.deleted = self.deleted;
        Kubernetes::map(read::keep(Subject::Object(object))).unwrap()
    }

    pub fn tree(&self) -> SpanTree<'static> {
        match self.outcome() {
            Outcome::Spans(mut trees) => {
                let tree = trees.remove(0);
                assert_eq!(testing::fault(&tree), None);
                tree
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Seconds and milliseconds after the Pod's creation, which is how the tests write times.
pub fn after(time: Timestamp) -> f64 {
    let milliseconds = (time.nanoseconds - ORIGIN * 1_000_000_000) / 1_000_000;
    f64::from(u32::try_from(milliseconds).unwrap()) / 1000.0
}

/// Key, start and end of each child span.
pub fn times<'t>(tree: &'t SpanTree<'t>) -> Vec<(&'t str, f64, Option<f64>)> {
    tree.children
        .iter()
        .map(|child| &child.span)
        .map(|span| (&*span.key, after(span.start), span.end.map(after)))
        .collect()
}

pub fn child<'t>(tree: &'t SpanTree<'t>, key: &str) -> &'t Span<'t> {
    let mut spans = tree.children.iter().map(|child| &child.span);
    spans
        .find(|span| span.key == key)
        .unwrap_or_else(|| panic!("no span '{key}' in {:?}", times(tree)))
}

/// RFC 3339, so many seconds after the Pod's creation.
pub fn at(second: u64) -> String {
    assert!(second < 40);
    format!("2023-11-14T22:13:{:02}Z", 20 + second)
}

fn terminated(started: u64, finished: u64) -> Value {
    json!({"terminated": {
        "exitCode": 0, "reason": "Completed", "startedAt": at(started), "finishedAt": at(finished),
        "containerID": "containerd://c0ffee",
        "message": "[{\"key\":\"StartedAt\",\"value\":\"…\",\"type\":3}]",
    }})
}

pub fn status(name: &str, state: Value) -> Value {
    json!({
        "name": name, "image": "example/tool:1", "imageID": "example/tool@sha256:00", "ready": false,
        "containerID": "containerd://c0ffee", "restartCount": 0, "state": state, "lastState": {},
    })
}

/// The Pod when it has succeeded.
pub fn pod() -> Value {
    let condition = |kind: &str, second: u64| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": at(second)});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "build-pod", "namespace": "jx", "uid": "u", "creationTimestamp": at(0),
            "labels": {"tekton.dev/taskRun": "build"},
            "ownerReferences": [{"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": "build", "uid": "t",
                "controller": true}],
        },
        "spec": {
            "nodeName": "node-1", "restartPolicy": "Never",
            "initContainers": [{"name": "prepare", "image": "example/entrypoint:1", "command": ["prepare"]}],
            "containers": [
                {"name": "step-build", "image": "example/tool:1", "env": []},
                {"name": "step-test", "image": "example/tool:1", "env": []},
            ],
        },
        "status": {
            "phase": "Succeeded", "startTime": at(1), "podIP": "10.0.0.1", "qosClass": "BestEffort",
            "conditions": [condition("PodScheduled", 1), condition("Initialized", 6)],
            "initContainerStatuses": [status("prepare", terminated(5, 6))],
            "containerStatuses": [
                status("step-build", terminated(10, 20)),
                status("step-test", terminated(11, 30)),
            ],
        },
    })
}

/// An Event of the kubelet so many milliseconds after the Pod's creation.
pub fn event(milliseconds: u64, reason: &str, field: &str, message: &str) -> Value {
    let nanoseconds = (ORIGIN * 1000 + milliseconds) * 1_000_000;
    let second = at(milliseconds / 1000);
    json!({
        "kind": "Event",
        "metadata": {"name": format!("build-pod.{nanoseconds:x}"), "uid": format!("{reason}-{milliseconds}"),
            "namespace": "jx", "creationTimestamp": second},
        "involvedObject": {"kind": "Pod", "name": "build-pod", "uid": "u", "fieldPath": field},
        "reason": reason, "message": message, "type": "Normal", "count": 1,
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": second, "lastTimestamp": second, "eventTime": null,
    })
}

/// The Events of a Pod that succeeds.
pub fn events() -> Vec<Value> {
    let init = "spec.initContainers{prepare}";
    let (build, test) = ("spec.containers{step-build}", "spec.containers{step-test}");
    let mut scheduled = event(
        1250,
        "Scheduled",
        "",
        "Successfully assigned jx/build-pod to node-1",
    );
    scheduled["eventTime"] = json!("2023-11-14T22:13:21.250000Z");
    scheduled["firstTimestamp"] = Value::Null;
    scheduled["lastTimestamp"] = Value::Null;
    scheduled["source"] = json!({});
    scheduled["reportingComponent"] = json!("default-scheduler");
    let pulled = |image: &str, took: &str| {
        format!("Successfully pulled image \"{image}\" in {took}. Image size: 2048 bytes.")
    };
    vec![
        scheduled,
        event(
            2500,
            "Pulling",
            init,
            "Pulling image \"example/entrypoint:1\"",
        ),
        event(
            4500,
            "Pulled",
            init,
            &pulled("example/entrypoint:1", "1.5s (2s including waiting)"),
        ),
        event(4750, "Created", init, "Created container prepare"),
        event(5250, "Started", init, "Started container prepare"),
        event(6500, "Pulling", build, "Pulling image \"example/tool:1\""),
        event(
            9500,
            "Pulled",
            build,
            &pulled("example/tool:1", "3s (3s including waiting)"),
        ),
        event(9750, "Created", build, "Created container step-build"),
        event(10_250, "Started", build, "Started container step-build"),
        event(
            10_500,
            "Pulled",
            test,
            "Container image \"example/tool:1\" already present on machine",
        ),
        event(10_750, "Created", test, "Container created"),
        event(11_250, "Started", test, "Container started"),
    ]
}
