//! PipelineRuns: the *pipeline run* of the OpenTelemetry CI/CD conventions.

use span_mapper_sdk::event::Event;
use span_mapper_sdk::object::condition;
use span_mapper_sdk::read::{self, Time};
use span_mapper_sdk::{
    Error, LinkTarget, Object, Outcome, Owner, Parent, Span, SpanEvent, SpanKind, SpanTree, Target,
    Timestamp,
};

use crate::ending::{Ending, RunResult};
use crate::resource::PipelineRun;
use crate::{change, describe, events, param, phases, run};

const LIGHTHOUSE: &str = "lighthouse.jenkins.io";
const JOB: &str = "LighthouseJob";
const ID: &str = "lighthouse.jenkins-x.io/id";
const RERUN_OF: &str = "dashboard.tekton.dev/rerunOf";

/// The spans of a PipelineRun.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (run, diagnostics) = read::parse::<PipelineRun<'_>>(&object.json)?;
    let run = read::keep(run);
    let events = read::keep(events::of(object)?);
    let (metadata, status) = (&run.metadata, &run.status);

    let ending = Ending::of(
        &status.conditions,
        status.completed,
        object.deleted,
        latest(run, events),
        RunResult::Error,
    );
    let name = pipeline_name(run);
    let mut main = Span::main(name, metadata.created_or_epoch())
        .of_kind(SpanKind::Server)
        .about("PipelineRun", metadata)
        .with("cicd.pipeline.name", name)
        .with("cicd.pipeline.run.id", &metadata.uid);
    change::describe(run, &mut main);
    match ending {
        Some(ending) => {
            ending.apply(&mut main, "cicd.pipeline.result");
            main.set("tekton.reason", ending.reason);
        }
        None => main.set("cicd.pipeline.run.state", state(run)),
    }
    if let Some(time) = status.started.get() {
        main.record(SpanEvent::new("Start", time));
    }
    if let Some(time) = status.finally_started.get() {
        main.record(SpanEvent::new("Finally", time));
    }
    record_skipped(run, &mut main);
    events::record(&mut main, &status.conditions, events);

    let mut tree = SpanTree::new("Tekton.PipelineRun", main)
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    link_and_place(run, &mut tree);
    tree.may_annotate = metadata.labels.get("tekton.dev/pipeline").is_some();
    phases::add_queue(&mut tree, status.started.get());
    phases::add_waits(&mut tree, &status.conditions, events);
    tree.clamp();
    Ok(tree.into())
}

fn latest(run: &PipelineRun<'_>, events: &[(Timestamp, Event<'_>)]) -> Timestamp {
    let times: [Time; 2] = [run.status.started, run.status.finally_started];
    run::latest(&run.metadata, times, &run.status.conditions, events)
}

/// The name of the pipeline. The label `tekton.dev/pipeline` of a run that brings its pipeline along is the run's
/// own name, of which there are as many as runs.
fn pipeline_name<'s>(run: &'s PipelineRun<'_>) -> &'s str {
    let (metadata, reference) = (&run.metadata, &run.spec.reference);
    let own = metadata.name.as_str();
    run::name(
        [
            reference.name.get(),
            param::text(&reference.params, "name"),
            metadata.annotations.text("lighthouse.jenkins-x.io/job"),
            metadata.labels.text("lighthouse.jenkins-x.io/job"),
            metadata.labels.text("lighthouse.jenkins-x.io/context"),
            metadata.labels.text("context"),
            metadata
                .labels
                .text("tekton.dev/pipeline")
                .filter(|name| *name != own),
        ],
        metadata,
        "PipelineRun",
    )
}

/// `cicd.pipeline.run.state` of a run that has not ended.
fn state(run: &PipelineRun<'_>) -> &'static str {
    let reason = condition(&run.status.conditions, "Succeeded")
        .map_or("", |condition| condition.reason.as_str());
    if run.status.started.get().is_none() {
        "pending"
    } else if run.status.finally_started.get().is_some() || reason.ends_with("RunningFinally") {
        "finalizing"
    } else {
        "executing"
    }
}

/// Tasks are skipped at times that nobody writes down: they are told where the run ends, or has come so far.
fn record_skipped<'a>(run: &'a PipelineRun<'a>, main: &mut Span<'a>) {
    let time = main.end.or(run.status.started.get()).unwrap_or(main.start);
    for task in &run.status.skipped {
        main.record(
            SpanEvent::new("Task skipped", time)
                .with("cicd.pipeline.task.name", &task.name)
                .with("cicd.pipeline.task.run.result", RunResult::Skip.as_str())
                .with("reason", &task.reason),
        );
    }
}

fn link_and_place<'a>(run: &'a PipelineRun<'a>, tree: &mut SpanTree<'a>) {
    let metadata = &run.metadata;
    let owner = metadata.controller();
    let nested = owner.is_some_and(|owner| owner.group() == describe::GROUP);
    let job = metadata.labels.text(ID);
    let by_lighthouse = owner.is_some_and(|owner| owner.group() == LIGHTHOUSE);
    // A nested run has inherited the label: its parent is the rerun, not it.
    if !nested && let Some(first) = metadata.labels.text(RERUN_OF) {
        tree.main.link(
            LinkTarget::Target(Target {
                group: describe::GROUP.to_owned(),
                kind: "PipelineRun".to_owned(),
                namespace: None,
                name: first.to_owned(),
                uid: None,
                span: String::new(),
            }),
            Vec::new(),
        );
        tree.main.set("tekton.rerun_of", first);
        if !by_lighthouse {
            // Lighthouse makes a job of the same name for the copy of a run of its own, and then owns the copy; the
            // label still names the job of the first run.
            if job.is_some() {
                tree.parents.push(job_called(metadata.name.as_str()));
            }
            tree.parents.push(Parent::own_root());
            return;
        }
    }
    if by_lighthouse {
        tree.parents
            .push(Parent::Owner(Owner::of(LIGHTHOUSE, JOB, "")));
    } else if nested || job.is_none() {
        tree.parents.extend(run::parents(metadata));
    }
    if let Some(job) = job.filter(|_| metadata.labels.text(RERUN_OF).is_none() || nested) {
        tree.parents.push(job_called(job));
    }
}

/// The LighthouseJob of this name.
fn job_called(name: &str) -> Parent {
    Parent::Target(Target {
        group: LIGHTHOUSE.to_owned(),
        kind: JOB.to_owned(),
        namespace: None,
        name: name.to_owned(),
        uid: None,
        span: String::new(),
    })
}
