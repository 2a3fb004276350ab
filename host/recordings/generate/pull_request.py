#!/usr/bin/env python3
"""Writes pull-request.ndjson: a new commit on a pull request, seen through Lighthouse and Tekton.

Two pipelines run: `pr` builds, makes an image and a preview, and succeeds; `checks` waits for its turn, pulls a big
image for two of its minutes, and fails in a step. Repository, people, nodes and images are made up. The shapes are
those of the controllers: Lighthouse 1.19, Tekton Pipelines 1.0, Kubernetes 1.33, jx-build-controller 0.6; each object
is written as often as its controller writes it, whole at first and as a merge patch later.

    python3 host/recordings/generate/pull_request.py > host/recordings/pull-request.ndjson

The output is a function of these files alone: ids come from a seeded generator, times from the tables below.
"""

from jenkins_x import Activity, Job
from kubernetes import Image
from tekton import PipelineRun, TaskRun
from writing import BASE, GUID, HEAD, LINK, NODES, NUMBER, OWNER, REPOSITORY
from writing import second, webhook, write


def task(name, steps, after=()):
    """A task of an embedded pipeline, as it stands in the PipelineRun."""
    return {
        "name": name,
        **({"runAfter": list(after)} if after else {}),
        "taskSpec": {"metadata": {}, "spec": None, "steps": [{"name": step[0], "image": step[1].name, "script": f"make {step[0]}\n"} for step in steps]},
    }


def user(login):
    return {
        "ID": 4_100_000 + len(login), "Login": login, "Name": "", "Email": "", "Avatar": "",
        "Link": f"https://github.com/{login}", "IsAdmin": False, "Created": "0001-01-01T00:00:00Z", "Updated": "0001-01-01T00:00:00Z",
    }


def repository():
    return {
        "ID": "512880017", "Namespace": OWNER, "Name": REPOSITORY, "FullName": f"{OWNER}/{REPOSITORY}", "Perm": None,
        "Branch": "main", "Private": True, "Archived": False, "Clone": f"{LINK}.git",
        "CloneSSH": f"git@github.com:{OWNER}/{REPOSITORY}.git", "Link": LINK,
        "Created": "2024-06-11T07:20:44Z", "Updated": "2026-03-02T08:51:19Z",
    }


def pull_request_hook():
    """go-scm's PullRequestHook, as Lighthouse forwards it: Go's field names, null for what is empty."""

    def branch(ref, sha):
        return {"Ref": ref, "Sha": sha, "Repo": repository()}

    return {
        "Action": "synchronized",
        "Repo": repository(),
        "Label": {"ID": 0, "URL": "", "Name": "", "Description": "", "Color": ""},
        "PullRequest": {
            "Number": NUMBER, "Title": "Redeem vouchers at the checkout", "Body": "Vouchers can be redeemed before payment.",
            "Labels": None, "Sha": HEAD, "Ref": f"refs/pull/{NUMBER}/head", "Source": "vouchers", "Target": "main",
            "Base": branch("main", BASE), "Head": branch("vouchers", HEAD), "Fork": f"{OWNER}/{REPOSITORY}", "State": "open",
            "Closed": False, "Draft": False, "Merged": False, "Mergeable": True, "Rebaseable": True, "MergeableState": "unstable",
            "MergeSha": "", "Author": user("robin-example"), "Assignees": None, "Reviewers": None, "Milestone": {"Number": 0, "ID": 0, "Title": "", "Description": "", "Link": "", "State": "", "DueDate": None},
            "Created": "2026-02-27T15:40:12Z", "Updated": second(0), "Link": f"{LINK}/pull/{NUMBER}", "DiffLink": f"{LINK}/pull/{NUMBER}.diff",
        },
        "Sender": user("robin-example"),
        "Changes": {"Base": {"Ref": {"From": ""}, "Sha": {"From": ""}, "Repo": repository()}},
        "GUID": GUID,
        "Installation": {"ID": 20_118_443, "NodeID": ""},
    }


def stages(activity):
    return [
        {"name": child.task, "status": "failure" if child.failed else "success", "startTime": second(child.started), "completionTime": second(child.finished)}
        for child in activity.run.children
    ]


def run_tasks(job, seconds, tasks, runs):
    """Starts a job's PipelineRun and runs its tasks. `runs` are (task, steps, node, after, options)."""
    run = PipelineRun(job, seconds, tasks)
    activity = Activity(seconds + 0.7, run)
    job.started(seconds + 0.13, run)
    ended, begun = {}, False
    for name, steps, node, after, options in runs:
        created = max([run.started + 0.12, *(ended[task] + 0.21 for task in after)]) + 0.04 * len(run.children)
        seen = []
        child = TaskRun(run, created, name, node, steps, observer=lambda what, when: seen.append((what, when)), **options)
        run.children.append(child)
        ended[name] = child.finished
        child.seen = [when for _, when in seen]
    return run, activity


def record():
    git = Image("ghcr.io/jenkins-x/jx-boot:3.11.7", 167_220_410, pull=2.184)
    cached_git = Image("ghcr.io/jenkins-x/jx-boot:3.11.7", 167_220_410)
    node = Image("docker.io/library/node:22.14-bookworm", 408_811_960, pull=11.402)
    cached_node = Image("docker.io/library/node:22.14-bookworm", 408_811_960)
    builder = Image("gcr.io/kaniko-project/executor:v1.23.2", 74_004_112, pull=3.918)
    helm = Image("docker.io/alpine/helm:3.17.1", 61_305_770, pull=1.604, waiting=0.83)
    cached_helm = Image("docker.io/alpine/helm:3.17.1", 61_305_770)
    curl = Image("docker.io/curlimages/curl:8.12.1", 8_411_202, pull=0.796)
    browser = Image("registry.acme.example/ci/browser-tests:5.2.0", 1_284_112_093, pull=47.318, waiting=3.92)

    build = [
        ("git-clone", git, 4.2, 0), ("git-merge", cached_git, 1.9, 0), ("install", node, 30.7, 0),
        ("compile", cached_node, 21.5, 0), ("package", cached_node, 5.8, 0),
    ]
    image = [("context", cached_git, 2.3, 0), ("build-image", builder, 83.6, 0), ("push-image", cached_git, 11.4, 0)]
    preview = [("template", helm, 5.1, 0), ("deploy", cached_helm, 40.9, 0), ("smoke-test", curl, 13.2, 0)]
    lint = [("git-clone", git, 3.8, 0), ("install", cached_node, 28.1, 0), ("lint", cached_node, 17.4, 0)]
    tests = [
        ("git-clone", cached_git, 4.0, 0), ("install", cached_node, 33.0, 0), ("seed-database", cached_node, 9.6, 0),
        ("unit-tests", browser, 71.3, 1), ("coverage", cached_node, 0.0, 0),
    ]
    report = [("publish-report", cached_git, 0.0, 0)]

    first_tasks = [task("build", build), task("image", image, ["build"]), task("preview", preview, ["image"])]
    second_tasks = [task("lint", lint), task("unit-tests", tests), task("report", report, ["lint", "unit-tests"])]

    # Lighthouse's own handlers run before it calls external plugins: the first job is there before the webhook.
    first = Job(1.204, "pr", first_tasks)
    webhook(1.377, "pull_request", pull_request_hook())
    second_job = Job(1.431, "checks", second_tasks)

    crowded = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    run, activity = run_tasks(first, 1.902, first_tasks, [
        ("build", build, NODES[0], [], {}),
        ("image", image, NODES[1], ["build"], {"schedule": 8.62, "unschedulable": crowded}),
        ("preview", preview, NODES[0], ["image"], {}),
    ])
    # `checks` may run once at a time, and the one of the commit before is still running.
    other, other_activity = run_tasks(second_job, 26.318, second_tasks, [
        ("lint", lint, NODES[1], [], {}),
        ("unit-tests", tests, NODES[2], [], {}),
    ])
    settle_run(first, run, activity)
    settle_run(second_job, other, other_activity, skipped=[{"name": "report", "reason": "PipelineRun was stopping"}])


def settle_run(job, run, activity, skipped=()):
    """What the controllers above write as the TaskRuns go on."""
    children = list(run.children)
    first = min(child.started for child in children)
    job.report(first + 0.4, "running", "Pipeline running")
    moments = sorted({when for child in children for when in child.seen})
    for when in moments:
        run.children = [child for child in children if child.started <= when + 0.2]
        activity.write(when + 0.62, status="Running")
    for moment in sorted({child.started for child in children} | {child.finished for child in children}):
        run.children = [child for child in children if child.started <= moment + 0.3]
        ended = [child for child in children if child.finished <= moment]
        failed = sum(1 for child in ended if child.failed)
        last = len(ended) == len(children)
        run.progress(moment + 0.17, len(ended) - failed, failed, len(skipped) if last else 0, skipped if last else ())
    run.children = children
    state = "Failed" if any(child.failed for child in children) else "Succeeded"
    activity.write(run.finished + 0.58, status=state, completedTimestamp=second(run.finished))
    reported = "failure" if state == "Failed" else "success"
    description = "Pipeline failed" if state == "Failed" else "Pipeline successful"
    job.report(run.finished + 0.94, reported, description, run.finished, stages(activity))


if __name__ == "__main__":
    record()
    write()
