"""What Lighthouse and jx-build-controller write: LighthouseJobs and PipelineActivities."""

from writing import BASE, BRANCH, GUID, HEAD, LINK, NAMESPACE, NUMBER, OWNER, REPOSITORY
from writing import apply, merge, new, second, uuid_1


class Job:
    """A LighthouseJob."""

    def __init__(self, seconds, name, tasks):
        self.name, self.created = name, seconds
        self.labels = {
            "created-by-lighthouse": "true",
            "event-GUID": GUID,
            "lighthouse.jenkins-x.io/baseSHA": BASE,
            "lighthouse.jenkins-x.io/branch": BRANCH,
            "lighthouse.jenkins-x.io/context": name,
            "lighthouse.jenkins-x.io/job": name,
            "lighthouse.jenkins-x.io/lastCommitSHA": HEAD,
            "lighthouse.jenkins-x.io/refs.org": OWNER,
            "lighthouse.jenkins-x.io/refs.pull": str(NUMBER),
            "lighthouse.jenkins-x.io/refs.repo": REPOSITORY,
            "lighthouse.jenkins-x.io/type": "presubmit",
        }
        self.annotations = {
            "lighthouse.jenkins-x.io/cloneURI": f"{LINK}.git",
            "lighthouse.jenkins-x.io/job": name,
        }
        self.thing = new(
            seconds, "lighthouse.jenkins.io/v1alpha1", "LighthouseJob", uuid_1(),
            labels=dict(self.labels), annotations=dict(self.annotations),
        )
        self.thing["spec"] = {
            "agent": "tekton-pipeline",
            "context": name,
            "job": name,
            "max_concurrency": 1 if name == "checks" else 0,
            "namespace": NAMESPACE,
            "refs": {
                "org": OWNER, "repo": REPOSITORY, "repo_link": LINK,
                "base_ref": "main", "base_sha": BASE, "base_link": f"{LINK}/commit/{BASE}", "clone_uri": f"{LINK}.git",
                "pulls": [
                    {
                        "number": NUMBER, "author": "robin-example", "sha": HEAD, "ref": f"refs/pull/{NUMBER}/head",
                        "link": f"{LINK}/pull/{NUMBER}", "commit_link": f"{LINK}/pull/{NUMBER}/commits/{HEAD}",
                        "author_link": "https://github.com/robin-example",
                    }
                ],
            },
            "rerun_command": f"/test {name}",
            "type": "presubmit",
            "pipeline_run_spec": {"pipelineSpec": {"tasks": tasks}},
        }
        apply(seconds, self.thing)
        merge(seconds + 0.07, self.thing, status={"state": "triggered"})

    def started(self, seconds, run):
        self.run, self.start = run, seconds
        self.status = {"state": "pending", "startTime": second(seconds), "activityName": run.thing["metadata"]["name"]}
        merge(seconds, self.thing, status=self.status)
        merge(seconds + 0.06, self.thing, metadata={"labels": {"lighthouse.jenkins-x.io/buildNum": run.build}})

    def report(self, seconds, state, description, finished=None, stages=()):
        record = {
            "name": f"{OWNER}-{REPOSITORY}-{BRANCH.lower()}-{self.name}-1", "jobId": self.thing["metadata"]["name"],
            "owner": OWNER, "repo": REPOSITORY, "branch": BRANCH, "buildId": "1", "context": self.name,
            "gitURL": f"{LINK}.git", "linkURL": self.url(), "baseSHA": BASE, "lastCommitSHA": HEAD, "status": state,
            "startTime": second(self.start), "stages": list(stages),
        }
        status = {"state": state, "description": description, "lastReportState": state, "reportURL": self.url(), "lastCommitSHA": HEAD}
        if finished:
            status["completionTime"] = record["completionTime"] = second(finished)
        merge(seconds, self.thing, status={**status, "activity": record})

    def url(self):
        return f"https://dashboard.ci.acme.example/{OWNER}/{REPOSITORY}/{BRANCH}/1"


class Activity:
    """The PipelineActivity that jx-build-controller keeps beside a PipelineRun: a stage a TaskRun."""

    def __init__(self, seconds, run):
        self.run, self.stages = run, {}
        job = run.job
        labels = {
            **run.labels(),
            "branch": BRANCH, "build": "1", "context": job.name, "lastCommitSha": HEAD,
            "owner": OWNER, "provider": "github", "repository": REPOSITORY,
        }
        name = f"{OWNER}-{REPOSITORY}-{BRANCH.lower()}-{job.name}-1"
        self.thing = new(seconds, "jenkins.io/v1", "PipelineActivity", name, labels=labels, annotations=run.annotations())
        self.thing["spec"] = {
            "author": "robin-example", "baseSHA": BASE, "build": "1", "context": job.name, "gitBranch": BRANCH,
            "gitOwner": OWNER, "gitRepository": REPOSITORY, "gitUrl": f"{LINK}.git", "lastCommitSHA": HEAD,
            "pipeline": f"{OWNER}/{REPOSITORY}/{BRANCH}", "pullTitle": "Redeem vouchers at the checkout",
            "startedTimestamp": second(run.started), "status": "Pending", "steps": [],
        }
        apply(seconds, self.thing)

    def write(self, seconds, **spec):
        """A stage a TaskRun, with the steps as they are at a time."""
        stages = []
        for task_run in self.run.children:
            if task_run.started > seconds:
                continue
            steps = [self.step(container, seconds) for container in task_run.pod.steps]
            begun = [step for step in steps if "startedTimestamp" in step]
            finished = getattr(task_run, "finished", None)
            if finished is not None and finished <= seconds:
                status = "Failed" if task_run.failed else "Succeeded"
            else:
                status = "Running" if begun else "Pending"
            stage = {"name": task_run.task.replace("-", " "), "status": status, "startedTimestamp": second(task_run.started), "steps": steps}
            if finished is not None and finished <= seconds:
                stage["completedTimestamp"] = second(finished)
            stages.append({"kind": "Stage", "stage": stage})
        merge(seconds, self.thing, spec={"steps": stages, **spec})

    @staticmethod
    def step(container, seconds):
        named = {"name": container.name.removeprefix("step-").replace("-", " ").title()}
        if container.ran is None or container.ran > seconds:
            return {**named, "status": "Pending"}
        named["startedTimestamp"] = second(container.ran)
        if container.finished is None or container.finished > seconds:
            return {**named, "status": "Running"}
        skipped = container.exit_code and container.ran >= container.finished
        status = "NotExecuted" if skipped else "Failed" if container.exit_code else "Succeeded"
        return {**named, "status": status, "completedTimestamp": second(container.finished)}
