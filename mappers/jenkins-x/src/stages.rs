//! The stages, steps, previews and promotions of a PipelineActivity.
//!
//! Their order is that of a Go map and may change from one update to the next, so that their keys are names. A step
//! that was never reached is written down as a failed one that ended when it started.

use span_mapper_sdk::{Span, SpanEvent, SpanTree, Timestamp, time};

use crate::resource::{Core, Entry, Preview, Promote, Stage, Status};

/// Adds a span for each entry that has begun, and for each of its parts.
pub fn add<'a>(tree: &mut SpanTree<'a>, entries: &'a [Entry<'a>]) {
    let parts = entries.iter().map(|entry| 1 + entry.stage.steps.len());
    tree.children.reserve(parts.sum());
    for entry in entries {
        match entry.kind.as_str() {
            "Promote" => add_promote(tree, &entry.promote),
            "Preview" => add_preview(tree, &entry.preview),
            _ => add_stage(tree, &entry.stage),
        }
    }
}

/// Marks a span by the status of what it stands for.
pub fn set_status<'a>(span: &mut Span<'a>, status: Status, text: &'a str, description: &'a str) {
    if status == Status::Failed {
        let description = if description.is_empty() {
            text
        } else {
            description
        };
        span.fail(text, description);
    }
}

fn add_stage<'a>(tree: &mut SpanTree<'a>, stage: &'a Stage<'a>) {
    let core = begun_with_its_steps(stage);
    let key = ["stage/", core.name].concat();
    let Some(place) = add_core(tree, None, key, "stage", &core) else {
        return;
    };
    let key = key_of(tree, place);
    let mut stopped = false;
    for step in &stage.steps {
        let step = step.core();
        if stopped && was_not_reached(&step) {
            record_skipped(tree, Some(place), &step);
            continue;
        }
        stopped |= matches!(step.status, Status::Failed | Status::Cancelled);
        let key = [&key, "/step/", step.name].concat();
        add_core(tree, Some(place), key, "step", &step);
    }
}

/// A stage has begun when one of its steps has, whatever is written of the stage itself.
fn begun_with_its_steps<'s>(stage: &'s Stage<'_>) -> Core<'s> {
    let mut core = stage.core();
    let first = time::earliest(
        stage
            .steps
            .iter()
            .filter(|step| Status::of(step.status.as_str()) != Status::Pending)
            .map(|step| step.started.get()),
    );
    if core.status == Status::Pending && first.is_some() {
        core.status = Status::Running;
    }
    core.started = core.started.or(first);
    core
}

/// Whether a step after one that stopped the stage looks like one that was not reached: it took no time, or was
/// ended together with the one that ran.
fn was_not_reached(step: &Core<'_>) -> bool {
    match step.status {
        Status::Failed | Status::Cancelled => {
            step.started == step.completed
                || matches!(step.status_text, "TimedOut" | "Cancelled" | "Aborted")
        }
        _ => false,
    }
}

fn add_promote<'a>(tree: &mut SpanTree<'a>, promote: &'a Promote<'a>) {
    let core = promote.core();
    let label = promote.environment.get().unwrap_or(core.name);
    let key = ["promote/", label].concat();
    let Some(place) = add_core(tree, None, key, "promote", &core) else {
        return;
    };
    let key = key_of(tree, place);
    if let Some(child) = tree.children.get_mut(place as usize) {
        let span = &mut child.span;
        span.set("jenkins_x.environment", &promote.environment);
        span.set("jenkins_x.application.url", &promote.application_url);
    }
    let pull_request = &promote.pull_request;
    let part = [&key, "/pull-request"].concat();
    let added = add_core(
        tree,
        Some(place),
        part,
        "pull request",
        &pull_request.core(),
    );
    if let Some(part) = added
        && let Some(child) = tree.children.get_mut(part as usize)
    {
        let span = &mut child.span;
        span.set("jenkins_x.pull_request.url", &pull_request.url);
        span.set("jenkins_x.merge_commit", &pull_request.merge_commit);
    }
    let part = [&key, "/update"].concat();
    add_core(tree, Some(place), part, "update", &promote.update.core());
}

fn add_preview<'a>(tree: &mut SpanTree<'a>, preview: &'a Preview<'a>) {
    let core = preview.core();
    let label = preview.environment.get().unwrap_or(core.name);
    let key = ["preview/", label].concat();
    let added = add_core(tree, None, key, "preview", &core);
    if let Some(place) = added
        && let Some(child) = tree.children.get_mut(place as usize)
    {
        let span = &mut child.span;
        span.set("jenkins_x.environment", &preview.environment);
        span.set("jenkins_x.application.url", &preview.application_url);
        span.set("jenkins_x.pull_request.url", &preview.pull_request_url);
    }
}

/// Adds a span for something that has begun, and gives its place. What has not begun has none; what never
/// will is told as an event.
fn add_core<'a>(
    tree: &mut SpanTree<'a>,
    under: Option<u32>,
    key: String,
    kind: &'static str,
    core: &Core<'a>,
) -> Option<u32> {
    if core.status == Status::NotExecuted {
        record_skipped(tree, under, core);
        return None;
    }
    let start = core.started?;
    if core.status == Status::Pending {
        return None;
    }
    let above = end_of(tree, under);
    let end = match core.status {
        Status::Running => None,
        _ => core.completed.or(above.is_none().then_some(start)),
    };
    let key = tree.unused_key(key);
    let mut span = Span::new(
        key,
        if core.name.is_empty() {
            kind
        } else {
            core.name
        },
        start,
    )
    .until_or_parent(end, above)
    .and("jenkins_x.kind", kind)
    .and("jenkins_x.status", core.status_text);
    set_status(&mut span, core.status, core.status_text, core.description);
    Some(tree.add_under(under, span))
}

/// The key of a span that was added.
fn key_of(tree: &SpanTree<'_>, place: u32) -> String {
    let child = tree.children.get(place as usize);
    child.map_or_else(String::new, |child| child.span.key.to_string())
}

fn end_of(tree: &SpanTree<'_>, place: Option<u32>) -> Option<Timestamp> {
    match place.and_then(|place| tree.children.get(place as usize)) {
        Some(child) => child.span.end,
        None => tree.main.end,
    }
}

fn record_skipped<'a>(tree: &mut SpanTree<'a>, place: Option<u32>, core: &Core<'a>) {
    let above = match place.and_then(|place| tree.children.get_mut(place as usize)) {
        Some(child) => &mut child.span,
        None => &mut tree.main,
    };
    let time = core.started.or(above.end).unwrap_or(above.start);
    above.record(
        SpanEvent::new("Step skipped", time)
            .with("jenkins_x.step", core.name)
            .with("jenkins_x.status", core.status_text),
    );
}
