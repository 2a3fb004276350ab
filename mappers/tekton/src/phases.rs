//! The times in which a run waits: for its start, for the definition of what it shall run, for its Pod.
//!
//! A condition says only what is now, so that what was is read from the Events: Tekton writes one whenever the
//! condition changes, with the condition's reason (tektoncd/pipeline `pkg/reconciler/events/k8sevent/event.go`).

use span_mapper_sdk::event::Event;
use span_mapper_sdk::object::{Condition, condition};
use span_mapper_sdk::{Span, SpanTree, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The definition is looked for.
    Resolve,
    /// The Pod does not run yet, or must not be created.
    Pending,
    /// Anything else.
    Other,
}

/// The phase that a reason begins; none if it begins none.
fn phase(reason: &str) -> Option<Phase> {
    match reason {
        "ResolvingPipelineRef" | "ResolvingTaskRef" | "ResolvingStepActionRef" => {
            Some(Phase::Resolve)
        }
        "Pending"
        | "TaskRunPending"
        | "ExceededResourceQuota"
        | "ExceededNodeResources"
        | "PullImageFailed" => Some(Phase::Pending),
        "Started"
        | "Running"
        | "Succeeded"
        | "Completed"
        | "Failed"
        | "ToBeRetried"
        | "PipelineRunPending"
        | "PipelineRunStopping"
        | "CancelledRunningFinally"
        | "StoppedRunningFinally"
        | "Cancelled"
        | "TaskRunCancelled" => Some(Phase::Other),
        _ => None,
    }
}

/// Adds the span `queue`: from the creation to the start, or to the end of a run that never started.
pub fn add_queue(tree: &mut SpanTree<'_>, started: Option<Timestamp>) {
    let created = tree.main.start;
    let until = started.or(tree.main.end);
    // To the second, most runs start when they are created: such a span would say nothing.
    if until.is_none_or(|until| until.nanoseconds > created.nanoseconds) {
        let end = tree.main.end;
        tree.add(Span::new("queue", "queue", created).until_or_parent(started, end));
    }
}

/// Adds a span for each time in which the run waited after its start.
pub fn add_waits<'a>(
    tree: &mut SpanTree<'a>,
    conditions: &'a [Condition<'a>],
    events: &'a [(Timestamp, Event<'a>)],
) {
    let succeeded = condition(conditions, "Succeeded");
    let now = succeeded
        .and_then(|condition| Some((condition.changed.get()?, phase(condition.reason.as_str()))));
    let mut changes: Vec<(Timestamp, Phase, &str)> = Vec::new();
    let told = events.iter().filter_map(|(time, event)| {
        let reason = event.reason.as_str();
        Some((*time, phase(reason)?, reason))
    });
    let current = now.map(|(time, phase)| {
        let reason = succeeded.map_or("", |condition| condition.reason.as_str());
        (time, phase.unwrap_or(Phase::Other), reason)
    });
    for change in told.chain(current) {
        // A condition changes with each message, too: only another phase ends a phase.
        if changes.last().is_none_or(|(_, last, _)| *last != change.1) {
            changes.push(change);
        }
    }
    let (mut resolves, mut waits) = (0_u32, 0_u32);
    for (place, (start, phase, reason)) in changes.iter().enumerate() {
        let (name, count) = match phase {
            Phase::Resolve => ("resolve", &mut resolves),
            Phase::Pending => ("pending", &mut waits),
            Phase::Other => continue,
        };
        *count += 1;
        let key = match *count {
            1 => name.to_owned(),
            number => format!("{name}/{number}"),
        };
        let next = changes.get(place + 1).map(|(next, _, _)| *next);
        let end = tree.main.end;
        tree.add(
            Span::new(key, name, *start)
                .until_or_parent(next, end)
                .with("tekton.reason", *reason),
        );
    }
}
