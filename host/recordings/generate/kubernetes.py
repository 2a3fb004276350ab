"""What Kubernetes writes: Events of the scheduler and the kubelet, and Pods of Tekton on their way."""

import json

from writing import HEAD, NAMESPACE, NODES, NUMBER, OWNER, REPOSITORY
from writing import apply, draw, hexadecimal, merge, micro, milli, nanoseconds, new, second, suffix

ENTRYPOINT = "ghcr.io/tektoncd/pipeline/entrypoint-bff0a22da108bc2f16c818c97641a296:v1.0.0"
SHELL = "cgr.dev/chainguard/busybox@sha256:19f02276bf8dbdd62f069b922f10c65262cc34b710eea26ff928129a736be791"


def event(seconds, about, reason, message, component, host=None, field_path=None, kind="Normal"):
    """As client-go's old recorder writes it: times to the second, nanoseconds in the name."""
    involved = {
        "kind": about["kind"],
        "namespace": NAMESPACE,
        "name": about["metadata"]["name"],
        "uid": about["metadata"]["uid"],
        "apiVersion": about["apiVersion"],
        "resourceVersion": str(71_400_000 + int(seconds * 211)),
    }
    if field_path:
        involved["fieldPath"] = field_path
    thing = new(seconds, "v1", "Event", f"{about['metadata']['name']}.{nanoseconds(seconds):x}")
    del thing["metadata"]["generation"]
    apply(
        seconds + 0.012,
        {
            **thing,
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": {"component": component, **({"host": host} if host else {})},
            "firstTimestamp": second(seconds),
            "lastTimestamp": second(seconds),
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": host or "",
        },
    )


def scheduler_event(seconds, pod, reason, message, kind="Normal"):
    """As the new recorder of the scheduler writes it: `eventTime`, and neither first nor last."""
    thing = new(seconds, "v1", "Event", f"{pod['metadata']['name']}.{nanoseconds(seconds):x}")
    del thing["metadata"]["generation"]
    apply(
        seconds + 0.009,
        {
            **thing,
            "involvedObject": {
                "kind": "Pod",
                "namespace": NAMESPACE,
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
                "apiVersion": "v1",
                "resourceVersion": str(71_400_000 + int(seconds * 211)),
            },
            "reason": reason,
            "message": message,
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "type": kind,
            "eventTime": micro(seconds),
            "action": "Binding" if reason == "Scheduled" else "Scheduling",
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler-control-plane-0",
        },
    )


class Image:
    """An image; `pull` seconds if the node does not have it yet, `waiting` seconds behind other pulls before."""

    def __init__(self, name, size, pull=None, waiting=0.0):
        self.name, self.size, self.pull, self.waiting = name, size, pull, waiting
        self.id = f"{name.split(':')[0].split('@')[0]}@sha256:{hexadecimal(64)}"

    def pulled(self):
        if self.pull is None:
            return f'Container image "{self.name}" already present on machine'
        both = self.pull + self.waiting
        return (
            f'Successfully pulled image "{self.name}" in {go_duration(self.pull)} '
            f"({go_duration(both)} including waiting). Image size: {self.size} bytes."
        )


def go_duration(seconds):
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}".rstrip("0") + "s"


class Container:
    def __init__(self, pod, name, image, position, init=False):
        self.pod, self.name, self.image, self.position, self.init = pod, name, image, position, init
        self.started = self.ran = self.finished = None
        self.exit_code, self.reason = 0, "Completed"
        self.container_id = f"containerd://{hexadecimal(64)}"

    def path(self):
        return f"spec.{'initContainers' if self.init else 'containers'}{{{self.name}}}"

    def start(self, seconds):
        """Pulls, creates and starts; returns when it runs."""
        pod, host = self.pod.thing, self.pod.node

        def say(when, reason, message):
            event(when, pod, reason, message, "kubelet", host, self.path())

        if self.image.pull is not None:
            say(seconds, "Pulling", f'Pulling image "{self.image.name}"')
            seconds += self.image.pull + self.image.waiting
        say(seconds, "Pulled", self.image.pulled())
        say(seconds + 0.061 + draw.random() * 0.05, "Created", f"Created container: {self.name}")
        self.started = seconds + 0.214 + draw.random() * 0.12
        say(self.started, "Started", f"Started container {self.name}")
        return self.started

    def spec(self):
        if self.init:
            command = {"command": ["/ko-app/entrypoint", "init"] if self.name == "prepare" else ["sh"]}
        else:
            step = self.position
            wait = "/tekton/downward/ready" if step == 0 else f"/tekton/run/{step - 1}/out"
            command = {
                "command": ["/tekton/bin/entrypoint"],
                "args": [
                    "-wait_file", wait, *(["-wait_file_content"] if step == 0 else []),
                    "-post_file", f"/tekton/run/{step}/out",
                    "-termination_path", "/tekton/termination",
                    "-step_metadata_dir", f"/tekton/run/{step}/status",
                    "-entrypoint", f"/tekton/scripts/script-{step}-{suffix()}", "--",
                ],
                "workingDir": "/workspace/source",
                "env": [
                    {"name": "HOME", "value": "/tekton/home"},
                    {"name": "PULL_NUMBER", "value": str(NUMBER)},
                    {"name": "PULL_PULL_SHA", "value": HEAD},
                    {"name": "REPO_NAME", "value": REPOSITORY},
                    {"name": "REPO_OWNER", "value": OWNER},
                ],
                "terminationMessagePath": "/tekton/termination",
            }
        mounts = ["workspace-volume", "tekton-internal-bin", "tekton-internal-steps", f"tekton-internal-run-{max(self.position, 0)}"]
        return {
            "name": self.name,
            "image": self.image.name,
            **command,
            "resources": {"requests": {"cpu": "400m", "memory": "512Mi"}} if self.position == 0 else {},
            "volumeMounts": [{"name": name, "mountPath": f"/tekton/{name.removeprefix('tekton-internal-')}"} for name in mounts],
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
        }

    def terminated(self, message=True):
        state = {
            "exitCode": self.exit_code,
            "reason": self.reason,
            "startedAt": second(self.started),
            "finishedAt": second(self.finished),
            "containerID": self.container_id,
        }
        if message and not self.init:
            told = [{"key": "StartedAt", "value": milli(self.ran), "type": 3}]
            state["message"] = json.dumps(told, separators=(",", ":"))
        return state

    def status(self, seconds):
        """An entry of containerStatuses as it is at a time."""
        entry = {
            "name": self.name,
            "image": self.image.name,
            "imageID": "",
            "lastState": {},
            "ready": False,
            "restartCount": 0,
            "started": False,
        }
        if self.started is None or seconds < self.started:
            return {**entry, "state": {"waiting": {"reason": "PodInitializing"}}}
        entry.update(imageID=self.image.id, containerID=self.container_id)
        if self.finished is not None and seconds >= self.finished:
            return {**entry, "ready": self.init, "state": {"terminated": self.terminated()}}
        return {**entry, "ready": not self.init, "started": True, "state": {"running": {"startedAt": second(self.started)}}}


class Pod:
    """A Pod of a TaskRun: scheduled, two init containers, then all steps started one after the other."""

    def __init__(self, seconds, task_run, node, steps):
        self.node, self.created = node, seconds
        labels = {
            **task_run["metadata"]["labels"],
            "tekton.dev/taskRun": task_run["metadata"]["name"],
            "tekton.dev/taskRunUID": task_run["metadata"]["uid"],
        }
        annotations = {
            **{k: v for k, v in task_run["metadata"]["annotations"].items() if k != "app.kubernetes.io/managed-by"},
            "pipeline.tekton.dev/release": "v1.0.0",
        }
        name = f"{task_run['metadata']['name']}-pod"
        self.thing = new(seconds, "v1", "Pod", name, task_run, labels=labels, annotations=annotations)
        del self.thing["metadata"]["generation"]
        small = Image(ENTRYPOINT, 46_231_840)
        shell = Image(SHELL, 783_152)
        self.init = [Container(self, "prepare", small, -1, True), Container(self, "place-scripts", shell, -2, True)]
        self.steps = [Container(self, f"step-{step}", image, number) for number, (step, image) in enumerate(steps)]
        self.thing["spec"] = {
            "initContainers": [container.spec() for container in self.init],
            "containers": [container.spec() for container in self.steps],
            "volumes": [{"name": name, "emptyDir": {}} for name in ["workspace-volume", "tekton-internal-bin", "tekton-internal-steps"]],
            "restartPolicy": "Never",
            "serviceAccountName": "tekton-bot",
            "schedulerName": "default-scheduler",
            "priority": 0,
            "activeDeadlineSeconds": 5400,
        }
        apply(seconds, {**self.thing, "status": {"phase": "Pending", "qosClass": "Burstable"}})

    def conditions(self, seconds, **true_since):
        kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        return [
            {
                "type": kind,
                "status": "True" if kind in true_since else "False",
                "lastProbeTime": None,
                "lastTransitionTime": second(true_since.get(kind, seconds)),
                **({"reason": "PodCompleted"} if kind in ["Ready", "ContainersReady"] and "done" in true_since else {}),
            }
            for kind in kinds
        ]

    def write(self, seconds, phase, conditions, **more):
        merge(
            seconds,
            self.thing,
            status={
                "phase": phase,
                "hostIP": f"10.0.0.{11 + NODES.index(self.node)}",
                "podIP": f"10.4.{NODES.index(self.node)}.{40 + int(self.created) % 200}",
                "startTime": second(self.scheduled),
                "initContainerStatuses": [container.status(seconds) for container in self.init],
                "containerStatuses": [container.status(seconds) for container in self.steps],
                "conditions": conditions,
                "qosClass": "Burstable",
                **more,
            },
        )

    def schedule(self, seconds, failures=()):
        """Returns when it is bound to a node."""
        for when, message in failures:
            scheduler_event(when, self.thing, "FailedScheduling", message, "Warning")
            merge(
                when + 0.02,
                self.thing,
                status={
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": message,
                            "lastProbeTime": None,
                            "lastTransitionTime": second(when),
                        }
                    ]
                },
            )
        self.scheduled = seconds
        name = self.thing["metadata"]["name"]
        scheduler_event(seconds, self.thing, "Scheduled", f"Successfully assigned {NAMESPACE}/{name} to {self.node}")
        merge(
            seconds + 0.006,
            self.thing,
            spec={"nodeName": self.node},
            status={"conditions": [{"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": second(seconds)}]},
        )

    def start(self):
        """Runs the init containers and starts the steps; returns when the last one has started."""
        clock = self.scheduled + 0.83
        scheduled = {"PodScheduled": self.scheduled}
        for container in self.init:
            container.start(clock)
            container.finished = container.started + 0.31 + draw.random() * 0.2
            self.write(container.started + 0.15, "Pending", self.conditions(self.scheduled, **scheduled, PodReadyToStartContainers=clock))
            clock = container.finished + 0.72
        for container in self.steps:
            clock = container.start(clock) + 0.19
        self.ready = clock
        self.since = {**scheduled, "PodReadyToStartContainers": self.scheduled + 0.83, "Initialized": self.init[-1].finished}
        running = self.conditions(self.ready, **self.since, Ready=self.ready, ContainersReady=self.ready)
        self.write(self.ready + 0.2, "Running", running)
        merge(self.ready + 0.31, self.thing, metadata={"annotations": {"tekton.dev/ready": "READY"}})
        return self.ready + 0.35

    def step_finished(self, seconds):
        unready = self.conditions(seconds, **self.since)
        self.write(seconds + 0.4, "Running", unready)

    def end(self, seconds):
        failed = any(container.exit_code for container in self.steps)
        self.since["done"] = seconds
        self.write(seconds + 0.9, "Failed" if failed else "Succeeded", self.conditions(seconds, **self.since))
