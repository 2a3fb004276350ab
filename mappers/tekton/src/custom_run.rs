//! CustomRuns: tasks of a pipeline that a controller outside Tekton carries out.

use span_mapper_sdk::read;
use span_mapper_sdk::{Error, Object, Outcome, Span, SpanEvent, SpanTree};

use crate::ending::{Ending, RunResult};
use crate::resource::CustomRun;
use crate::{attempts, events, phases, run};

/// The spans of a CustomRun.
pub fn map(object: &Object) -> Result<Outcome<'_>, Error> {
    let (run, diagnostics) = read::parse::<CustomRun<'_>>(&object.json)?;
    let run = read::keep(run);
    let events = read::keep(events::of(object)?);
    let (metadata, spec, status) = (&run.metadata, &run.spec, &run.status);
    let first_start = attempts::first_start(status);

    let ending = Ending::of(
        &status.conditions,
        status.completed,
        object.deleted,
        run::latest(metadata, [status.started], &status.conditions, events),
        // Whoever carries it out chooses the reasons: an approval that is refused is no error.
        RunResult::Failure,
    );
    let kind = spec.reference.kind.get().or(spec.spec.kind.get());
    let name = run::name(
        [
            metadata.labels.text("tekton.dev/pipelineTask"),
            spec.reference.name.get(),
            kind,
        ],
        metadata,
        "CustomRun",
    );
    let mut main = Span::main(name, metadata.created_or_epoch())
        .about("CustomRun", metadata)
        .with("cicd.pipeline.task.name", name)
        .with("cicd.pipeline.task.run.id", &metadata.uid)
        .with("tekton.custom_task.kind", kind)
        .with(
            "tekton.member_of",
            metadata.labels.text("tekton.dev/memberOf"),
        );
    if let Some(ending) = ending {
        ending.apply(&mut main, "cicd.pipeline.task.run.result");
        main.set("tekton.reason", ending.reason);
    }
    if let Some(time) = first_start {
        main.record(SpanEvent::new("Start", time));
    }
    events::record(&mut main, &status.conditions, events);

    let mut tree = SpanTree::new("Tekton.CustomRun", main)
        .with_resource("service.namespace", &metadata.namespace)
        .with_diagnostics(diagnostics);
    tree.parents = run::parents(metadata);
    tree.may_annotate = first_start.is_some();
    phases::add_queue(&mut tree, first_start);
    attempts::add(
        &mut tree,
        status,
        spec.retries.get(),
        RunResult::Failure,
        |_, _, _| {},
    );
    tree.clamp();
    Ok(tree.into())
}
