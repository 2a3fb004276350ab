//! TaskRuns: the *task run* of the OpenTelemetry CI/CD conventions.

use span_mapper_sdk::read::{self, Text};
use span_mapper_sdk::{Error, Object, Outcome, Span, SpanEvent, SpanTree};

use crate::ending::{Ending, RunResult};
use crate::resource::{Pod, TaskRun, TaskRunStatus};
use crate::{attempts, describe, events, phases, run, steps};

/// The spans of a TaskRun.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (run, diagnostics) = read::parse::<TaskRun<'_>>(&object.json)?;
    let run = read::keep(run);
    let events = read::keep(events::of(object)?);
    let pods = pods(object)?;
    let (metadata, status) = (&run.metadata, &run.status);
    let first_start = attempts::first_start(status);

    let known = run::latest(metadata, times(status), &status.conditions, events);
    let ending = Ending::of(
        &status.conditions,
        status.completed,
        object.deleted,
        known,
        RunResult::Error,
    )
    .map(|ending| refine(ending, status, pod(&pods, &status.pod)));
    let name = run::name(
        [
            metadata.labels.text("tekton.dev/pipelineTask"),
            run.spec.reference.name.get(),
            metadata.labels.text("tekton.dev/task"),
            metadata.labels.text("tekton.dev/clusterTask"),
        ],
        metadata,
        "TaskRun",
    );
    let mut main = Span::main(name, metadata.created_or_epoch())
        .about("TaskRun", metadata)
        .with("cicd.pipeline.task.name", name)
        .with("cicd.pipeline.task.run.id", &metadata.uid)
        .with(
            "cicd.pipeline.task.type",
            task_type(metadata.annotations.text("tekton.dev/categories")),
        )
        .with("tekton.task.name", run.spec.reference.name.get())
        .with(
            "tekton.member_of",
            metadata.labels.text("tekton.dev/memberOf"),
        )
        .with("k8s.pod.name", &status.pod);
    if let Some(ending) = ending {
        ending.apply(&mut main, "cicd.pipeline.task.run.result");
        main.set("tekton.reason", ending.reason);
    }
    if let Some(time) = first_start {
        main.record(SpanEvent::new("Start", time));
    }
    events::record(&mut main, &status.conditions, events);

    let mut tree = SpanTree::new("Tekton.TaskRun", main)
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    tree.parents = run::parents(metadata);
    // Its labels are set before its status is: an annotation any earlier would fail that update.
    tree.may_annotate = first_start.is_some();
    phases::add_queue(&mut tree, first_start);
    phases::add_waits(&mut tree, &status.conditions, events);
    let created = tree.main.start;
    attempts::add(
        &mut tree,
        status,
        run.spec.retries.get(),
        RunResult::Error,
        |tree, attempt, place| {
            let pod = pod(&pods, &attempt.pod);
            steps::add(tree, attempt, status, pod, place, created);
        },
    );
    steps::add_sidecars(&mut tree, status);
    tree.clamp();
    Ok(tree.into())
}

/// The Pods that came along.
fn pods(object: &Object) -> Result<Vec<Pod<'_>>, Error> {
    events::of_attachment(object, describe::PODS)
        .map(|attached| Ok(read::parse(&attached.json)?.0))
        .collect()
}

fn pod<'s, 'a>(pods: &'s [Pod<'a>], name: &Text<'_>) -> Option<&'s Pod<'a>> {
    pods.iter()
        .find(|pod| !name.is_empty() && pod.metadata.name == *name)
}

/// All times in a status.
fn times<'s>(status: &'s TaskRunStatus<'_>) -> impl IntoIterator<Item = read::Time> + use<'s> {
    let each = |status: &'s TaskRunStatus<'_>| {
        let containers = status.steps.iter().chain(&status.sidecars);
        let states = containers.flat_map(|state| {
            [
                state.terminated.started,
                state.terminated.finished,
                state.running.started,
            ]
        });
        [status.started, status.completed].into_iter().chain(states)
    };
    status.retries.iter().chain([status]).flat_map(each)
}

/// Older versions of Tekton say `Failed` whatever happened; newer ones say what, in these words.
fn refine<'s>(
    mut ending: Ending<'s>,
    status: &TaskRunStatus<'_>,
    pod: Option<&Pod<'_>>,
) -> Ending<'s> {
    if ending.reason != "Failed" {
        return ending;
    }
    let reason = if pod.is_some_and(|pod| pod.status.reason == "Evicted") {
        "PodEvicted"
    } else if status.steps.iter().any(steps::is_out_of_memory) {
        "StepOOM"
    } else {
        return ending;
    };
    ending.reason = reason;
    ending.result = RunResult::Error;
    ending
}

/// The type of a task from the catalogue: its Task's annotation is copied to its TaskRuns.
fn task_type(categories: Option<&str>) -> Option<&'static str> {
    categories?
        .split(',')
        .find_map(|category| match category.trim() {
            "Build Tools" | "Image Build" => Some("build"),
            "Testing" => Some("test"),
            "Deployment" => Some("deploy"),
            _ => None,
        })
}
