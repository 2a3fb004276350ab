"""What Tekton writes: PipelineRuns and TaskRuns, and how the Pod of a TaskRun goes."""

from kubernetes import Pod, event
from writing import BASE, BRANCH, HEAD, LINK, NUMBER, OWNER, REPOSITORY
from writing import apply, at, condition, merge, new, second, suffix


class TaskRun:
    """A TaskRun and its Pod. `steps` are (name, image, seconds, exit code)."""

    def __init__(self, run, seconds, task, node, steps, schedule=0.045, unschedulable=None, observer=None):
        self.run, self.task, self.observer = run, task, observer or (lambda *_: None)
        name = f"{run.thing['metadata']['name']}-{task}"
        labels = {
            **run.labels(),
            "app.kubernetes.io/managed-by": "tekton-pipelines",
            "tekton.dev/memberOf": "tasks",
            "tekton.dev/pipelineRun": run.thing["metadata"]["name"],
            "tekton.dev/pipelineRunUID": run.thing["metadata"]["uid"],
            "tekton.dev/pipelineTask": task,
        }
        self.thing = new(seconds, "tekton.dev/v1", "TaskRun", name, run.thing, labels=labels, annotations=run.annotations())
        self.thing["spec"] = {
            "serviceAccountName": "tekton-bot",
            "timeout": "1h0m0s",
            "taskSpec": {"steps": [{"name": step, "image": image.name} for step, image, _, _ in steps]},
        }
        apply(seconds, self.thing)
        self.started = seconds + 0.09
        self.write(self.started, condition(self.started, "Unknown", "Started", "Not all Steps in the Task have finished executing"))
        event(self.started, self.thing, "Started", "", "Tekton")
        self.pod = Pod(seconds + 0.24, self.thing, node, [(step, image) for step, image, _, _ in steps])
        pending = "pod status \"Initialized\":\"False\"; message: \"containers with incomplete status: [prepare place-scripts]\""
        self.write(seconds + 0.33, condition(seconds + 0.33, "Unknown", "Pending", pending), podName=self.pod.thing["metadata"]["name"])
        event(seconds + 0.34, self.thing, "Pending", pending, "Tekton")
        failures = []
        if unschedulable:
            failures = [(seconds + 0.31, unschedulable)]
        self.pod.schedule(seconds + 0.24 + schedule, failures)
        self.observer("Pending", seconds)
        clock = self.pod.start()
        self.ran(clock, steps)

    def write(self, seconds, conditions, **status):
        self.conditions = conditions
        merge(seconds, self.thing, status={"conditions": conditions, "startTime": second(self.started), **status})

    def ran(self, clock, steps):
        running = condition(clock, "Unknown", "Running", "Not all Steps in the Task have finished executing")
        self.write(clock + 0.1, running, steps=[self.step(container, clock) for container in self.pod.steps])
        event(clock + 0.11, self.thing, "Running", running[0]["message"], "Tekton")
        self.observer("Running", clock)
        failed = None
        for container, (_, _, seconds, exit_code) in zip(self.pod.steps, steps):
            container.ran = clock + 0.02
            if failed:
                # The entrypoint skips what comes after a failed step.
                container.finished, container.exit_code, container.reason = clock, 1, "Error"
                continue
            self.observer("step", clock)
            clock = container.ran + seconds
            container.finished = clock
            if exit_code:
                failed, container.exit_code, container.reason = container, exit_code, "Error"
                continue
            if container is not self.pod.steps[-1]:
                self.pod.step_finished(clock)
                self.write(clock + 0.55, running, steps=[self.step(container, clock) for container in self.pod.steps])
                clock += 0.06
        self.finish(clock, failed)

    def finish(self, clock, failed):
        self.pod.end(clock)
        self.finished = clock + 1.04
        if failed:
            message = f"\"{failed.name}\" exited with code {failed.exit_code}: Error"
            done = condition(self.finished, "False", "Failed", message)
        else:
            done = condition(self.finished, "True", "Succeeded", "All Steps have completed executing")
        self.failed = failed
        self.write(
            self.finished,
            done,
            completionTime=second(self.finished),
            steps=[self.step(container, self.finished) for container in self.pod.steps],
        )
        kind = "Warning" if failed else "Normal"
        event(self.finished + 0.02, self.thing, done[0]["reason"], done[0]["message"], "Tekton", kind=kind)
        self.observer("end", self.finished)

    def step(self, container, seconds):
        entry = {"name": container.name.removeprefix("step-"), "container": container.name, "imageID": container.image.id}
        if container.finished is not None and seconds >= container.finished:
            skipped = self.skipped(container)
            terminated = {**container.terminated(message=False), "startedAt": second(container.ran)}
            return {**entry, "terminated": terminated, "terminationReason": "Skipped" if skipped else container.reason}
        return {**entry, "running": {"startedAt": second(container.started)}}

    def skipped(self, container):
        before = self.pod.steps[: container.position]
        return any(earlier.exit_code for earlier in before)


class PipelineRun:
    """A PipelineRun that Lighthouse made for a job."""

    def __init__(self, job, seconds, tasks):
        self.job, self.created, self.children = job, seconds, []
        self.build = str(int(at(seconds).timestamp() * 1000))
        labels = {
            **job.labels,
            "lighthouse.jenkins-x.io/id": job.thing["metadata"]["name"],
            "lighthouse.jenkins-x.io/buildNum": self.build,
        }
        name = f"{OWNER}-{REPOSITORY}-{BRANCH.lower()}-{job.name}-{suffix()}"
        prefix = name[:-5]
        self.thing = new(
            seconds, "tekton.dev/v1", "PipelineRun", name, job.thing,
            generateName=prefix, labels=labels, annotations=dict(job.annotations),
        )
        self.thing["spec"] = {
            "params": [
                {"name": key, "value": value}
                for key, value in [
                    ("BUILD_ID", self.build), ("JOB_NAME", job.name), ("JOB_TYPE", "presubmit"),
                    ("PULL_BASE_REF", "main"), ("PULL_BASE_SHA", BASE), ("PULL_NUMBER", str(NUMBER)),
                    ("PULL_PULL_REF", f"refs/pull/{NUMBER}/head"), ("PULL_PULL_SHA", HEAD),
                    ("REPO_NAME", REPOSITORY), ("REPO_OWNER", OWNER), ("REPO_URL", f"{LINK}.git"),
                ]
            ],
            "pipelineSpec": {"tasks": tasks},
            "taskRunTemplate": {"serviceAccountName": "tekton-bot"},
            "timeouts": {"pipeline": "24h0m0s"},
        }
        apply(seconds, self.thing)
        self.started = seconds + 0.11
        started = condition(self.started, "Unknown", "Started", "")
        self.write(self.started, started)
        event(self.started, self.thing, "Started", "", "Tekton")
        merge(seconds + 0.19, self.thing, metadata={"labels": {"tekton.dev/pipeline": name}})
        self.incomplete = len(tasks)

    def labels(self):
        return {**self.thing["metadata"]["labels"], "tekton.dev/pipeline": self.thing["metadata"]["name"]}

    def annotations(self):
        return dict(self.thing["metadata"]["annotations"])

    def write(self, seconds, conditions, **status):
        merge(seconds, self.thing, status={"conditions": conditions, "startTime": second(self.started), **status})

    def progress(self, seconds, completed, failed=0, skipped=0, skipped_tasks=()):
        """The tasks known so far, as Tekton writes them when something changed."""
        incomplete = self.incomplete - completed - failed - skipped
        children = [
            {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": child.thing["metadata"]["name"], "pipelineTaskName": child.task}
            for child in self.children
        ]
        tasks = f"Tasks Completed: {completed + failed} (Failed: {failed}, Cancelled 0)"
        status = {"childReferences": children}
        if skipped_tasks:
            status["skippedTasks"] = list(skipped_tasks)
        if incomplete:
            message = f"{tasks}, Incomplete: {incomplete}, Skipped: {skipped}"
            self.write(seconds, condition(seconds, "Unknown", "Running", message), **status)
            if completed + failed == 0:
                event(seconds + 0.01, self.thing, "Running", message, "Tekton")
            return
        message = f"{tasks}, Skipped: {skipped}"
        done = condition(seconds, "False", "Failed", message) if failed else condition(seconds, "True", "Succeeded", message)
        self.write(seconds, done, completionTime=second(seconds), **status)
        kind = "Warning" if failed else "Normal"
        event(seconds + 0.02, self.thing, done[0]["reason"], message, "Tekton", kind=kind)
        self.finished = seconds
