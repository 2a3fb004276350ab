//! What a cluster tells of pipelines: one LighthouseJob, one PipelineRun, four TaskRuns, their Pods of seven containers,
//! one PipelineActivity and 160 Events each. As large as the real ones after projection, with as many labels.

use serde_json::{Value, json};

/// Tasks of a pipeline.
pub const TASKS: usize = 4;
/// Objects of a pipeline, without Events.
pub const OBJECTS: usize = 3 + 2 * TASKS;
/// Containers of a Pod: two that prepare, and the steps.
pub const CONTAINERS: [&str; 7] = [
    "prepare",
    "place-scripts",
    "step-git-clone",
    "step-git-merge",
    "step-jx-variables",
    "step-build-make-linux",
    "step-build-container-build",
];
/// Of these so many are init containers.
pub const INIT: usize = 2;
/// Events of a Pod, of a TaskRun and of a PipelineRun.
const EVENTS: [usize; 3] = [36, 3, 4];

const NODE: &str = "gke-jx-default-pool-3f2a9c1b-x2v7";

/// One pipeline of many.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline(pub usize);

/// The uid of an object of a pipeline, as the API server draws them: no two begin alike.
pub fn uid(pipeline: usize, place: usize) -> String {
    let mut state = (pipeline as u64) << 20 | place as u64;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let (high, low) = (draw(), draw());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff,
    )
}

fn at(second: usize) -> String {
    format!("2026-03-02T09:{:02}:{:02}Z", second / 60 % 60, second % 60)
}

impl Pipeline {
    fn name(self) -> String {
        format!("acme-shop-pr-{}-from-build-pack-x7k2p", self.0)
    }

    /// The provider's id of the delivery that triggered it.
    pub fn guid(self) -> String {
        uid(self.0, 1)
    }

    pub fn job_uid(self) -> String {
        uid(self.0, 2)
    }

    pub fn run_uid(self) -> String {
        uid(self.0, 3)
    }

    pub fn task_uid(self, task: usize) -> String {
        uid(self.0, 10 + task)
    }

    pub fn pod_uid(self, task: usize) -> String {
        uid(self.0, 1000 + task)
    }

    fn task_name(self, task: usize) -> String {
        format!("{}-task-{task}", self.name())
    }

    /// The labels that Lighthouse and Jenkins X set, which Tekton hands down.
    fn labels(self) -> Value {
        let build = self.0.to_string();
        json!({
            "created-by-lighthouse": "true",
            "event-GUID": self.guid(),
            "branch": format!("PR-{}", self.0),
            "build": build,
            "context": "from-build-pack",
            "owner": "acme",
            "repository": "shop",
            "lighthouse.jenkins-x.io/baseSHA": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
            "lighthouse.jenkins-x.io/branch": format!("PR-{}", self.0),
            "lighthouse.jenkins-x.io/buildNum": build,
            "lighthouse.jenkins-x.io/context": "from-build-pack",
            "lighthouse.jenkins-x.io/id": self.name(),
            "lighthouse.jenkins-x.io/job": "from-build-pack",
            "lighthouse.jenkins-x.io/lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
            "lighthouse.jenkins-x.io/refs.org": "acme",
            "lighthouse.jenkins-x.io/refs.pull": build,
            "lighthouse.jenkins-x.io/refs.repo": "shop",
            "lighthouse.jenkins-x.io/type": "presubmit",
        })
    }

    fn tekton_labels(self, task: Option<usize>) -> Value {
        let mut labels = self.labels();
        labels["tekton.dev/pipeline"] = self.name().into();
        if let Some(task) = task {
            labels["app.kubernetes.io/managed-by"] = "tekton-pipelines".into();
            labels["tekton.dev/memberOf"] = "tasks".into();
            labels["tekton.dev/pipelineRun"] = self.name().into();
            labels["tekton.dev/pipelineRunUID"] = self.run_uid().into();
            labels["tekton.dev/pipelineTask"] = format!("task-{task}").into();
        }
        labels
    }

    pub fn metadata(self, name: &str, uid: String, labels: Value, owner: Option<Value>) -> Value {
        json!({
            "name": name,
            "namespace": "jx",
            "uid": uid,
            "resourceVersion": (183_472_900 + self.0).to_string(),
            "creationTimestamp": at(0),
            "labels": labels,
            "ownerReferences": owner.into_iter().collect::<Value>(),
        })
    }

    /// The body of the webhook.
    pub fn webhook(self) -> Value {
        json!({
            "GUID": self.guid(),
            "Action": "opened",
            "Repo": {"FullName": "acme/shop", "Link": "https://github.com/acme/shop"},
            "Sender": {"Login": "octocat"},
            "PullRequest": {
                "Number": self.0, "Title": "Faster checkout", "Source": "basket", "Target": "main",
                "Sha": "89abcdef0123456789abcdef0123456789abcdef",
                "Link": format!("https://github.com/acme/shop/pull/{}", self.0),
                "Author": {"Login": "octocat"},
                "Base": {"Ref": "main", "Sha": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"},
            },
        })
    }

    /// The job. `over`: it has ended, like all below.
    pub fn job(self, over: bool) -> Value {
        json!({
            "apiVersion": "lighthouse.jenkins.io/v1alpha1",
            "kind": "LighthouseJob",
            "metadata": self.metadata(&self.name(), self.job_uid(), self.labels(), None),
            "spec": {
                "type": "presubmit", "agent": "tekton-pipeline",
                "job": "from-build-pack", "context": "from-build-pack",
                "refs": {
                    "org": "acme", "repo": "shop", "repo_link": "https://github.com/acme/shop",
                    "clone_uri": "https://github.com/acme/shop.git",
                    "base_ref": "main", "base_sha": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
                    "pulls": [{
                        "number": self.0, "author": "octocat", "ref": format!("refs/pull/{}/head", self.0),
                        "sha": "89abcdef0123456789abcdef0123456789abcdef", "title": "Faster checkout",
                        "link": format!("https://github.com/acme/shop/pull/{}", self.0),
                    }],
                },
            },
            "status": {
                "state": if over { "success" } else { "running" },
                "activityName": format!("acme-shop-pr-{}-1", self.0),
                "description": "Pipeline running",
                "reportURL": format!("https://dashboard.example.com/acme/shop/PR-{}/1", self.0),
                "lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
                "startTime": at(2),
                "completionTime": over.then(|| at(600)),
            },
        })
    }

    pub fn run(self, over: bool) -> Value {
        let owner = owner(
            "lighthouse.jenkins.io/v1alpha1",
            "LighthouseJob",
            &self.name(),
            self.job_uid(),
        );
        let parameters: Value = (0..8)
            .map(|place| json!({"name": format!("PARAMETER_{place}"), "value": format!("acme/shop at {place}")}))
            .collect();
        json!({
            "apiVersion": "tekton.dev/v1",
            "kind": "PipelineRun",
            "metadata": self.metadata(&self.name(), self.run_uid(), self.tekton_labels(None), Some(owner)),
            "spec": {"params": parameters},
            "status": {
                "startTime": at(3),
                "completionTime": over.then(|| at(599)),
                "conditions": [succeeded(over)],
            },
        })
    }

    pub fn task(self, task: usize, over: bool) -> Value {
        let owner = owner("tekton.dev/v1", "PipelineRun", &self.name(), self.run_uid());
        let name = self.task_name(task);
        let steps = CONTAINERS.iter().enumerate().skip(INIT);
        let states: Value = steps
            .clone()
            .map(|(place, container)| {
                let mut step = json!({
                    "name": container.trim_start_matches("step-"),
                    "container": container,
                    "imageID": format!("ghcr.io/jenkins-x/jx-boot@sha256:6b3a55e0261b0304143f805a24924d0c1c44524821305f31d9277843b8a10f{place:02}"),
                });
                state(&mut step, place, over);
                step
            })
            .collect();
        let specs: Value = steps
            .map(|(_, container)| json!({"name": container.trim_start_matches("step-")}))
            .collect();
        json!({
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "metadata": self.metadata(&name, self.task_uid(task), self.tekton_labels(Some(task)), Some(owner)),
            "spec": {"retries": 1, "taskRef": {"name": "from-build-pack"}},
            "status": {
                "podName": format!("{name}-pod"),
                "startTime": at(4),
                "completionTime": over.then(|| at(500)),
                "conditions": [succeeded(over)],
                "steps": states,
                "taskSpec": {"steps": specs},
            },
        })
    }

    pub fn pod(self, task: usize, over: bool) -> Value {
        self.pod_of(
            self.pod_uid(task),
            task,
            &self.task_name(task),
            self.task_uid(task),
            over,
        )
    }

    /// A Pod of any TaskRun.
    pub fn pod_of(
        self,
        uid: String,
        task: usize,
        task_name: &str,
        task_uid: String,
        over: bool,
    ) -> Value {
        let owner = owner("tekton.dev/v1", "TaskRun", task_name, task_uid);
        let mut labels = self.tekton_labels(Some(task));
        labels["tekton.dev/taskRun"] = task_name.into();
        let image = |place: usize| format!("ghcr.io/jenkins-x/jx-boot:3.10.{place}");
        let all = || CONTAINERS.iter().enumerate();
        let specs = |init: bool| -> Value {
            all()
                .filter(|(place, _)| (*place < INIT) == init)
                .map(|(place, name)| json!({"name": name, "image": image(place)}))
                .collect()
        };
        let statuses = |init: bool| -> Value {
            all()
                .filter(|(place, _)| (*place < INIT) == init)
                .map(|(place, name)| {
                    let mut inner = json!({});
                    state(&mut inner, place, over);
                    json!({
                        "name": name, "restartCount": 0, "state": inner,
                        "containerID": format!("containerd://{place}c0ffee5e6b3a55e0261b0304143f805a24924d0c1c44524821305f31d92778"),
                    })
                })
                .collect()
        };
        let conditions: Value = [
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled",
        ]
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": at(6)}))
        .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.metadata(&format!("{task_name}-pod"), uid, labels, Some(owner)),
            "spec": {
                "nodeName": NODE, "restartPolicy": "Never",
                "initContainers": specs(true), "containers": specs(false),
            },
            "status": {
                "phase": if over { "Succeeded" } else { "Running" },
                "startTime": at(5),
                "conditions": conditions,
                "initContainerStatuses": statuses(true),
                "containerStatuses": statuses(false),
            },
        })
    }

    pub fn activity(self, over: bool) -> Value {
        let stages: Value = (0..2)
            .map(|stage| {
                let steps: Value = CONTAINERS
                    .iter()
                    .take(5)
                    .enumerate()
                    .map(|(place, name)| {
                        json!({
                            "name": name, "status": "Succeeded",
                            "startedTimestamp": at(16 + place * 8), "completedTimestamp": at(24 + place * 8),
                        })
                    })
                    .collect();
                json!({"kind": "Stage", "stage": {
                    "name": format!("stage {stage}"), "status": "Running",
                    "startedTimestamp": at(10 + stage), "steps": steps,
                }})
            })
            .collect();
        json!({
            "apiVersion": "jenkins.io/v1",
            "kind": "PipelineActivity",
            "metadata": self.metadata(&format!("acme-shop-pr-{}-1", self.0), uid(self.0, 4), self.labels(), None),
            "spec": {
                "baseSHA": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "build": "1",
                "context": "from-build-pack", "gitBranch": format!("PR-{}", self.0),
                "gitOwner": "acme", "gitRepository": "shop", "gitUrl": "https://github.com/acme/shop.git",
                "lastCommitSHA": "89abcdef0123456789abcdef0123456789abcdef",
                "status": if over { "Succeeded" } else { "Running" },
                "startedTimestamp": at(4),
                "completedTimestamp": over.then(|| at(598)),
                "steps": stages,
            },
        })
    }

    /// All objects, parents first.
    pub fn objects(self, over: bool) -> Vec<Value> {
        let mut objects = vec![self.job(over), self.run(over)];
        objects.extend((0..TASKS).map(|task| self.task(task, over)));
        objects.extend((0..TASKS).map(|task| self.pod(task, over)));
        objects.push(self.activity(over));
        objects
    }

    /// All Events.
    pub fn events(self) -> Vec<Value> {
        let [of_pod, of_task, of_run] = EVENTS;
        let mut involved = Vec::new();
        for task in 0..TASKS {
            involved.push((of_pod, self.pod(task, false)));
            involved.push((of_task, self.task(task, false)));
        }
        involved.push((of_run, self.run(false)));
        let places = involved
            .iter()
            .flat_map(|(count, involved)| (0..*count).map(move |place| (place, involved)));
        (0..)
            .zip(places)
            .map(|(number, (place, involved))| self.event(number, place, involved))
            .collect()
    }

    /// An Event on an object: which of all of the pipeline, and which of the object.
    pub fn event(self, number: usize, place: usize, involved: &Value) -> Value {
        let text = |pointer| {
            let text = involved.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default()
        };
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let container = CONTAINERS
            .iter()
            .cycle()
            .nth(place / 4)
            .copied()
            .unwrap_or_default();
        let (reason, message) = match place % 4 {
            _ if kind != "Pod" => (
                "Running",
                "Tasks Completed: 1 (Failed: 0, Cancelled 0), Incomplete: 3, Skipped: 0".to_owned(),
            ),
            0 => (
                "Pulling",
                format!("Pulling image \"ghcr.io/jenkins-x/jx-boot:3.10.{place}\""),
            ),
            1 => (
                "Pulled",
                format!(
                    "Successfully pulled image \"ghcr.io/jenkins-x/jx-boot:3.10.{place}\" in 796ms (1.594s including waiting). Image size: 182736451 bytes."
                ),
            ),
            2 => ("Created", format!("Created container: {container}")),
            _ => ("Started", format!("Started container {container}")),
        };
        let list = if place / 4 < INIT {
            "initContainers"
        } else {
            "containers"
        };
        let suffix = (self.0 % 1000) * 1000 + number;
        let mut metadata = self.metadata(
            &format!("{name}.18a9c2d1e0{suffix:06x}"),
            uid(self.0, 100_000 + number),
            Value::Null,
            None,
        );
        metadata["creationTimestamp"] = at(6 + place).into();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": metadata,
            "involvedObject": {
                "apiVersion": "v1", "kind": kind, "name": name, "namespace": "jx", "uid": text("/metadata/uid"),
                "fieldPath": format!("spec.{list}{{{container}}}"),
            },
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": NODE},
            "firstTimestamp": at(6 + place),
            "lastTimestamp": at(6 + place),
            "count": 1,
            "type": "Normal",
            "eventTime": null,
            "reportingComponent": "kubelet",
            "reportingInstance": NODE,
        })
    }
}

fn owner(api_version: &str, kind: &str, name: &str, uid: String) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn succeeded(over: bool) -> Value {
    json!({
        "type": "Succeeded",
        "status": if over { "True" } else { "Unknown" },
        "reason": if over { "Succeeded" } else { "Running" },
        "message": "Tasks Completed: 1 (Failed: 0, Cancelled 0), Incomplete: 3, Skipped: 0",
        "lastTransitionTime": at(100),
    })
}

/// All containers have ended but the last, which ends with the pipeline.
fn state(value: &mut Value, place: usize, over: bool) {
    let started = at(16 + place * 8);
    if place + 1 < CONTAINERS.len() || over {
        value["terminated"] = json!({
            "exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": at(24 + place * 8),
            "containerID": format!("containerd://{place}c0ffee5e6b3a55e0261b0304143f805a24924d0c1c44524821305f31d92778"),
        });
    } else {
        value["running"] = json!({"startedAt": started});
    }
}
