//! Objects as a cluster holds them, of the size that they have there.

use std::sync::Arc;

use anyhow::Context;
use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::mapping::{Attached, ObjectSubject, Subject};
use lighthouse_telemetry_core::object::SourceId;
use lighthouse_telemetry_engine::Mapper;
use serde_json::{Value, json};

/// An object and what comes along with it.
pub struct Case {
    /// The object first.
    objects: Vec<Value>,
    /// The same, as they come over the wire.
    pub json: Vec<String>,
}

impl Case {
    fn new(objects: Vec<Value>) -> anyhow::Result<Self> {
        let json = objects.iter().map(serde_json::to_string);
        let json = json.collect::<Result<_, _>>()?;
        Ok(Self { objects, json })
    }

    /// Length of the JSON.
    pub fn bytes(&self) -> usize {
        self.json.iter().map(String::len).sum()
    }

    /// What a mapper gets: the projections that the host keeps.
    pub fn subject(&self, mapper: &Mapper) -> anyhow::Result<Subject> {
        let described = (mapper.name().to_owned(), mapper.description().clone());
        let catalog = Catalog::new([described])?;
        let source = |object: &Value| -> anyhow::Result<SourceId> {
            let kind = object.get("kind").and_then(Value::as_str);
            let mut sources = catalog.sources();
            let found = sources.find(|(_, source)| Some(source.kind.as_str()) == kind);
            let (id, _) = found.with_context(|| format!("nobody watches {kind:?}"))?;
            Ok(id)
        };
        let (first, rest) = self.objects.split_first().context("a case has an object")?;
        let object = catalog.object(source(first)?, first)?;
        let (watch, json) = object
            .subject_of
            .first()
            .context("it is nobody's subject")?;
        let mut attached = Vec::new();
        for object in rest {
            let object = catalog.object(source(object)?, object)?;
            let to = object
                .attached_to
                .first()
                .context("it is attached to nothing")?;
            attached.push(Attached {
                attachment: to.attachment,
                json: Arc::clone(&to.json),
            });
        }
        Ok(Subject::Object(ObjectSubject {
            watch: watch.watch,
            json: Arc::clone(json),
            deleted: false,
            attached,
            omitted: 0,
        }))
    }
}

const NAMES: [&str; 7] = [
    "prepare",
    "place-scripts",
    "git-clone",
    "build-make-linux",
    "check-registry",
    "build-container-build",
    "promote-jx-preview",
];

/// A time in the run: minute and second.
fn at(second: usize) -> String {
    format!("2026-03-04T05:{:02}:{:02}Z", 6 + second / 60, second % 60)
}

fn labels() -> Value {
    json!({
        "app.kubernetes.io/managed-by": "tekton-pipelines",
        "created-by-lighthouse": "true",
        "event-GUID": "7c8a3a1e-8f7e-11ef-9f4d-7f0c4f3a5b6d",
        "lighthouse.jenkins-x.io/baseSHA": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "lighthouse.jenkins-x.io/branch": "PR-42",
        "lighthouse.jenkins-x.io/buildNum": "1764",
        "lighthouse.jenkins-x.io/context": "pr",
        "lighthouse.jenkins-x.io/id": "acme-shop-pr-42-pr-x7k2p",
        "lighthouse.jenkins-x.io/job": "pr",
        "lighthouse.jenkins-x.io/lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
        "lighthouse.jenkins-x.io/refs.org": "acme",
        "lighthouse.jenkins-x.io/refs.pull": "42",
        "lighthouse.jenkins-x.io/refs.repo": "shop",
        "lighthouse.jenkins-x.io/type": "presubmit",
        "tekton.dev/memberOf": "tasks",
        "tekton.dev/pipeline": "acme-shop-pr-42-pr-x7k2p",
        "tekton.dev/pipelineRun": "acme-shop-pr-42-pr-x7k2p",
        "tekton.dev/pipelineTask": "from-build-pack",
        "tekton.dev/taskRun": "acme-shop-pr-42-pr-x7k2p-from-build-pack",
    })
}

fn metadata(name: &str, uid: &str, owner: Option<Value>) -> Value {
    json!({
        "name": name,
        "namespace": "jx",
        "uid": uid,
        "resourceVersion": "183472913",
        "generation": 1,
        "creationTimestamp": at(0),
        "labels": labels(),
        "annotations": {
            "lighthouse.jenkins-x.io/cloneURI": "https://github.com/acme/shop.git",
            "lighthouse.jenkins-x.io/traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "pipeline.tekton.dev/release": "v0.65.1",
            "tekton.dev/ready": "READY",
        },
        "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
    })
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn environment() -> Value {
    let variables = [
        "BUILD_ID",
        "JOB_NAME",
        "JOB_SPEC",
        "JOB_TYPE",
        "PULL_BASE_REF",
        "PULL_BASE_SHA",
        "PULL_NUMBER",
        "PULL_PULL_REF",
        "PULL_PULL_SHA",
        "PULL_REFS",
        "REPO_NAME",
        "REPO_OWNER",
        "REPO_URL",
        "PIPELINE_KIND",
        "VERSION",
        "HOME",
    ];
    let variables =
        variables.map(|name| json!({"name": name, "value": format!("value of {name}")}));
    Value::from(variables.to_vec())
}

fn container(name: &str) -> Value {
    let mounts = [
        "tools",
        "run",
        "workspace",
        "downward",
        "steps",
        "home",
        "results",
        "token",
    ];
    let mounts = mounts.map(|mount| {
        json!({"name": format!("tekton-internal-{mount}"), "mountPath": format!("/tekton/{mount}")})
    });
    json!({
        "name": format!("step-{name}"),
        "image": format!("ghcr.io/jenkins-x/jx-boot:3.10.{}", name.len()),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/tekton/bin/entrypoint"],
        "args": [
            "-wait_file", "/tekton/run/0/out", "-post_file", "/tekton/run/1/out",
            "-termination_path", "/tekton/termination", "-step_metadata_dir", "/tekton/run/1/status",
            "-entrypoint", "/tekton/scripts/script-1-x7k2p", "--",
        ],
        "env": environment(),
        "resources": {"requests": {"cpu": "400m", "memory": "600Mi"}},
        "terminationMessagePath": "/tekton/termination",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
        "workingDir": "/workspace/source",
    })
}

fn container_status(place: usize, name: &str) -> Value {
    let message = json!([{"key": "StartedAt", "value": at(20 + place * 8), "type": 3}]);
    json!({
        "name": format!("step-{name}"),
        "image": format!("ghcr.io/jenkins-x/jx-boot:3.10.{}", name.len()),
        "imageID": "ghcr.io/jenkins-x/jx-boot@sha256:6b3a55e0261b0304143f805a24924d0c1c44524821305f31d9277843b8a10f4e",
        "containerID": format!("containerd://{place}c0ffee5e6b3a55e0261b0304143f805a24924d0c1c44524821305f31d92778"),
        "ready": false,
        "restartCount": 0,
        "started": false,
        "state": {"terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": at(16),
            "finishedAt": at(24 + place * 8),
            "message": message.to_string(),
            "containerID": format!("containerd://{place}c0ffee5e6b3a55e0261b0304143f805a24924d0c1c44524821305f31d92778"),
        }},
        "lastState": {},
    })
}

fn condition(kind: &str, second: usize) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Succeeded",
        "lastProbeTime": null, "lastTransitionTime": at(second),
    })
}

/// A finished Pod of Tekton's with seven containers, and so many Events.
pub fn pod(events: usize) -> anyhow::Result<Case> {
    let (name, uid) = (
        "acme-shop-pr-42-pr-x7k2p-from-build-pack-pod",
        "5f0c9a52-1111-4222-8333-444455556666",
    );
    let owner = owner(
        "tekton.dev/v1",
        "TaskRun",
        "acme-shop-pr-42-pr-x7k2p-from-build-pack",
        "aaaa9a52-1111-4222-8333-444455556666",
    );
    let (init, steps) = NAMES.split_at(2);
    let volumes = [
        "tools",
        "run",
        "workspace",
        "downward",
        "steps",
        "home",
        "results",
        "token",
    ];
    let statuses = |names: &[&str], from: usize| {
        let names = names.iter().zip(from..);
        Value::from_iter(names.map(|(name, place)| container_status(place, name)))
    };
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, uid, Some(owner)),
        "spec": {
            "nodeName": "gke-jx-default-pool-3f2a9c1b-x2v7",
            "restartPolicy": "Never",
            "serviceAccountName": "tekton-bot",
            "priorityClassName": "pipelines",
            "schedulerName": "default-scheduler",
            "initContainers": init.iter().map(|name| container(name)).collect::<Value>(),
            "containers": steps.iter().map(|name| container(name)).collect::<Value>(),
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            "volumes": volumes.map(|volume| json!({"name": format!("tekton-internal-{volume}"), "emptyDir": {}})),
        },
        "status": {
            "phase": "Succeeded",
            "qosClass": "Burstable",
            "hostIP": "10.1.2.3",
            "podIP": "10.96.4.17",
            "podIPs": [{"ip": "10.96.4.17"}],
            "startTime": at(1),
            "conditions": [
                condition("PodReadyToStartContainers", 4),
                condition("Initialized", 12),
                condition("Ready", 80),
                condition("ContainersReady", 80),
                condition("PodScheduled", 1),
            ],
            "initContainerStatuses": statuses(init, 0),
            "containerStatuses": statuses(steps, 2),
        },
    });
    let mut objects = vec![pod];
    objects.extend((0..events).map(|place| event(place, name, uid)));
    Case::new(objects)
}

/// The Events of a Pod's life: scheduled, then what happens to each container, again and again.
fn event(place: usize, pod: &str, uid: &str) -> Value {
    let container = NAMES.into_iter().cycle().nth(place / 4).unwrap_or_default();
    let image = format!("ghcr.io/jenkins-x/jx-boot:3.10.{}", container.len());
    let (reason, message) = match (place, place % 4) {
        (0, _) => (
            "Scheduled",
            format!("Successfully assigned jx/{pod} to gke-jx-default-pool-3f2a9c1b-x2v7"),
        ),
        (_, 0) => ("Pulling", format!("Pulling image \"{image}\"")),
        (_, 1) => (
            "Pulled",
            format!(
                "Successfully pulled image \"{image}\" in 796ms (1.594s including waiting). Image size: 182736451 bytes."
            ),
        ),
        (_, 2) => ("Created", format!("Created container: step-{container}")),
        _ => ("Started", format!("Started container step-{container}")),
    };
    let list = if (place / 4) % NAMES.len() < 2 {
        "initContainers"
    } else {
        "containers"
    };
    let of_container = (place > 0).then(|| format!("spec.{list}{{step-{container}}}"));
    let involved = json!({
        "apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": "jx", "uid": uid,
        "resourceVersion": "183472901", "fieldPath": of_container,
    });
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{pod}.18a9c2d1e0f{place:05x}"),
            "namespace": "jx",
            "uid": format!("eeee9a52-1111-4222-8333-{place:012}"),
            "resourceVersion": "183472902",
            "creationTimestamp": at(2 + place),
        },
        "involvedObject": involved,
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": "gke-jx-default-pool-3f2a9c1b-x2v7"},
        "firstTimestamp": at(2 + place),
        "lastTimestamp": at(2 + place),
        "count": 1,
        "type": "Normal",
        "eventTime": null,
        "reportingComponent": "kubelet",
        "reportingInstance": "gke-jx-default-pool-3f2a9c1b-x2v7",
    })
}

fn succeeded() -> Value {
    json!([{
        "type": "Succeeded", "status": "True", "reason": "Succeeded",
        "message": "Tasks Completed: 4 (Failed: 0, Cancelled 0), Skipped: 0",
        "lastTransitionTime": at(100),
    }])
}

fn step(name: &&str) -> Value {
    json!({
        "name": name,
        "image": format!("ghcr.io/jenkins-x/jx-boot:3.10.{}", name.len()),
        "env": environment(),
        "workingDir": "/workspace/source",
        "script": "#!/usr/bin/env bash\nset -euo pipefail\njx gitops variables\nmake linux\n",
    })
}

fn parameters() -> Value {
    let names = [
        "BUILD_ID",
        "JOB_NAME",
        "PULL_NUMBER",
        "REPO_NAME",
        "REPO_OWNER",
        "REPO_URL",
    ];
    Value::from(
        names
            .map(|name| json!({"name": name, "value": format!("value of {name}")}))
            .to_vec(),
    )
}

/// A finished PipelineRun of four tasks.
pub fn pipeline_run() -> anyhow::Result<Case> {
    let owner = owner(
        "lighthouse.jenkins.io/v1alpha1",
        "LighthouseJob",
        "acme-shop-pr-42-pr-x7k2p",
        "bbbb9a52-1111-4222-8333-444455556666",
    );
    let tasks: Value = (0..4)
        .map(|place| {
            json!({
                "name": format!("task-{place}"),
                "params": parameters(),
                "taskSpec": {"steps": NAMES.iter().take(3).map(step).collect::<Value>()},
            })
        })
        .collect();
    let children: Value = (0..4)
        .map(|place| {
            json!({
                "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
                "name": format!("acme-shop-pr-42-pr-x7k2p-task-{place}"),
                "pipelineTaskName": format!("task-{place}"),
            })
        })
        .collect();
    Case::new(vec![json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": metadata("acme-shop-pr-42-pr-x7k2p", "cccc9a52-1111-4222-8333-444455556666", Some(owner)),
        "spec": {
            "params": parameters(),
            "pipelineSpec": {"tasks": tasks},
            "taskRunTemplate": {"serviceAccountName": "tekton-bot"},
            "timeouts": {"pipeline": "12h0m0s"},
        },
        "status": {
            "startTime": at(1),
            "completionTime": at(100),
            "conditions": succeeded(),
            "childReferences": children,
            "pipelineSpec": {"tasks": tasks},
        },
    })])
}

/// A finished TaskRun of seven steps.
pub fn task_run() -> anyhow::Result<Case> {
    let owner = owner(
        "tekton.dev/v1",
        "PipelineRun",
        "acme-shop-pr-42-pr-x7k2p",
        "cccc9a52-1111-4222-8333-444455556666",
    );
    let steps: Value = NAMES.iter().map(step).collect();
    let states: Value = NAMES
        .iter()
        .enumerate()
        .map(|(place, name)| json!({
            "name": name,
            "container": format!("step-{name}"),
            "imageID": "ghcr.io/jenkins-x/jx-boot@sha256:6b3a55e0261b0304143f805a24924d0c1c44524821305f31d9277843b8a10f4e",
            "terminationReason": "Completed",
            "terminated": {
                "exitCode": 0, "reason": "Completed",
                "startedAt": at(16 + place * 8), "finishedAt": at(24 + place * 8),
                "containerID": format!("containerd://{place}c0ffee5e6b3a55e0261b0304143f805a24924d0c1c44524821305f31d92778"),
            },
        }))
        .collect();
    Case::new(vec![json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": metadata("acme-shop-pr-42-pr-x7k2p-from-build-pack", "aaaa9a52-1111-4222-8333-444455556666", Some(owner)),
        "spec": {
            "params": parameters(),
            "serviceAccountName": "tekton-bot",
            "taskSpec": {"steps": steps},
            "timeout": "12h0m0s",
        },
        "status": {
            "podName": "acme-shop-pr-42-pr-x7k2p-from-build-pack-pod",
            "startTime": at(1),
            "completionTime": at(90),
            "conditions": succeeded(),
            "steps": states,
            "taskSpec": {"steps": steps},
        },
    })])
}

/// A finished LighthouseJob of a pull request.
pub fn lighthouse_job() -> anyhow::Result<Case> {
    let metadata = metadata(
        "acme-shop-pr-42-pr-x7k2p",
        "bbbb9a52-1111-4222-8333-444455556666",
        None,
    );
    Case::new(vec![json!({
        "apiVersion": "lighthouse.jenkins.io/v1alpha1",
        "kind": "LighthouseJob",
        "metadata": metadata,
        "spec": {
            "agent": "tekton-pipeline",
            "context": "pr",
            "job": "pr",
            "namespace": "jx",
            "maxConcurrency": 1,
            "rerun_command": "/test pr",
            "type": "presubmit",
            "pipeline_run_params": parameters(),
            "pipeline_run_spec": {"pipelineSpec": {"tasks": [
                {"name": "from-build-pack", "taskSpec": {"steps": NAMES.iter().map(step).collect::<Value>()}},
            ]}},
            "refs": {
                "org": "acme", "repo": "shop", "repo_link": "https://github.com/acme/shop",
                "base_ref": "main", "base_sha": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
                "clone_uri": "https://github.com/acme/shop.git",
                "pulls": [{
                    "number": 42, "author": "octocat", "ref": "refs/pull/42/head",
                    "sha": "89abcdef0123456789abcdef0123456789abcdef",
                    "title": "Faster checkout", "link": "https://github.com/acme/shop/pull/42",
                }],
            },
        },
        "status": {
            "state": "success",
            "activityName": "acme-shop-pr-42-1764",
            "description": "Pipeline successful",
            "reportURL": "https://dashboard.example.com/acme/shop/PR-42/1764",
            "lastReportState": "success",
            "lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
            "startTime": at(2),
            "completionTime": at(100),
        },
    })])
}

/// A finished PipelineActivity of three stages.
pub fn pipeline_activity() -> anyhow::Result<Case> {
    let metadata = metadata(
        "acme-shop-pr-42-1764",
        "dddd9a52-1111-4222-8333-444455556666",
        None,
    );
    let stages: Value = (0..3)
        .map(|stage| {
            let steps: Value = NAMES
                .iter()
                .enumerate()
                .map(|(place, name)| json!({
                    "name": name, "status": "Succeeded",
                    "startedTimestamp": at(16 + place * 8), "completedTimestamp": at(24 + place * 8),
                }))
                .collect();
            json!({"kind": "Stage", "stage": {
                "name": format!("stage {stage}"), "status": "Succeeded",
                "startedTimestamp": at(10 + stage), "completedTimestamp": at(90 + stage),
                "steps": steps,
            }})
        })
        .collect();
    Case::new(vec![json!({
        "apiVersion": "jenkins.io/v1",
        "kind": "PipelineActivity",
        "metadata": metadata,
        "spec": {
            "pipeline": "acme/shop/PR-42",
            "build": "1764",
            "context": "pr",
            "status": "Succeeded",
            "gitUrl": "https://github.com/acme/shop.git",
            "gitOwner": "acme",
            "gitRepository": "shop",
            "gitBranch": "PR-42",
            "baseSHA": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
            "lastCommitMessage": "feat: faster checkout",
            "author": "octocat",
            "pullTitle": "Faster checkout",
            "buildLogsUrl": "gs://acme-logs/jenkins-x/logs/acme/shop/PR-42/1764.log",
            "startedTimestamp": at(2),
            "completedTimestamp": at(100),
            "steps": stages,
        },
        "status": {},
    })])
}
