//! The steps and sidecars of a TaskRun.
//!
//! The containers of all steps start together and wait for their turn; Tekton's entrypoint notes when a step
//! really starts. A status gives that time cut to the second, the Pod's termination message to the millisecond.
//! A step that was never reached looks like a failed one: its container ends with code 1.

use span_mapper_sdk::read::{self, List};
use span_mapper_sdk::{Span, SpanEvent, SpanTree, Timestamp};

use crate::ending::RunResult;
use crate::resource::{ContainerState, Entry, Pod, TaskRunStatus};

/// Where steps are put: below the main span, or below an attempt of this number.
pub type Place = Option<(u32, usize)>;

/// Adds the steps of a status. `created` is when the TaskRun was.
pub fn add<'a>(
    tree: &mut SpanTree<'a>,
    status: &'a TaskRunStatus<'a>,
    task: &TaskRunStatus<'_>,
    pod: Option<&Pod<'_>>,
    place: Place,
    created: Timestamp,
) {
    let mut stopped = false;
    let mut free = None;
    for step in &status.steps {
        if !step.has_ended() {
            if !stopped && let Some(since) = step.running_since() {
                let start = free.map_or(since, |free| since.latest(free));
                let end = end_above(tree, place);
                let span = span(tree, step, "step", place, start).until_or_parent(None, end);
                tree.add_under(place.map(|(under, _)| under), span);
            }
            // The steps after it wait for it.
            stopped = true;
            continue;
        }
        let terminated = &step.terminated;
        if never_ran(step, stopped, created) {
            record_skipped(tree, step, place);
            stopped = true;
            continue;
        }
        let given = terminated.started.get();
        let start = if ended_by_tekton(step) {
            // What is given here is the start of the container.
            free.into_iter().chain(given).reduce(Timestamp::latest)
        } else {
            exact_start(step, pod, given).or(given)
        };
        let finished = terminated.finished.get();
        let above = end_above(tree, place);
        let end = finished.or(above);
        let start = start.or(free).or(end).unwrap_or(created);
        let mut span = span(tree, step, "step", place, start).until_or_parent(finished, above);
        let succeeded = terminated.exit_code.get().unwrap_or(0) == 0 && !is_out_of_memory(step);
        if !succeeded {
            fail(&mut span, step);
        }
        tree.add_under(place.map(|(under, _)| under), span);
        stopped |= ended_by_tekton(step) || (!succeeded && !goes_on_after(step, task));
        free = end;
    }
}

/// Adds the sidecars of a TaskRun. One that ends is not asked how: Tekton stops them all.
pub fn add_sidecars<'a>(tree: &mut SpanTree<'a>, status: &'a TaskRunStatus<'a>) {
    for sidecar in &status.sidecars {
        let terminated = &sidecar.terminated;
        let start = terminated.started.get().or(sidecar.running_since());
        let Some(start) = start else {
            continue;
        };
        let mut span = span(tree, sidecar, "sidecar", None, start)
            .until_or_parent(terminated.finished.get(), tree.main.end);
        if is_out_of_memory(sidecar) {
            fail(&mut span, sidecar);
        }
        tree.add(span);
    }
}

/// Whether a step that ran has used more memory than it may.
pub fn is_out_of_memory(step: &ContainerState<'_>) -> bool {
    step.terminated.reason == "OOMKilled"
}

fn span<'a>(
    tree: &SpanTree<'a>,
    state: &'a ContainerState<'a>,
    kind: &'static str,
    place: Place,
    start: Timestamp,
) -> Span<'a> {
    let name = state.label();
    let key = match place {
        Some((_, number)) => format!("attempt/{number}/{kind}/{name}"),
        None => [kind, "/", name].concat(),
    };
    let terminated = &state.terminated;
    Span::new(
        tree.unused_key(key),
        if name.is_empty() { kind } else { name },
        start,
    )
    .with(["tekton.", kind, ".name"].concat(), name)
    .with("k8s.container.name", &state.container)
    .with("container.image.name", image_name(state.image.as_str()))
    .with("process.exit.code", terminated.exit_code)
    .with("tekton.reason", &terminated.reason)
    .with("tekton.termination_reason", &state.termination_reason)
}

/// The name in an `imageID`; one that was built on the node has a digest alone.
fn image_name(id: &str) -> Option<&str> {
    let image = id.strip_prefix("docker-pullable://").unwrap_or(id);
    match image.split_once('@') {
        Some((name, _digest)) => Some(name),
        None => Some(image).filter(|image| !image.starts_with("sha256:")),
    }
}

fn fail<'a>(span: &mut Span<'a>, step: &'a ContainerState<'a>) {
    let reason = match step.termination_reason.get() {
        Some(reason @ ("TimeoutExceeded" | "Cancelled")) => reason,
        _ => step.terminated.reason.get().unwrap_or("Error"),
    };
    if RunResult::of_reason(reason, RunResult::Failure) == RunResult::Cancellation {
        return;
    }
    let description = match step.terminated.exit_code.get() {
        Some(code) => format!("{reason}: exit code {code}"),
        None => reason.to_owned(),
    };
    span.fail(reason, description);
}

/// Whether Tekton ended the step, rather than the step itself: the reason is then the TaskRun's.
fn ended_by_tekton(step: &ContainerState<'_>) -> bool {
    step.terminated.reason.as_str().starts_with("TaskRun")
}

/// Whether a step that has ended was never reached. `stopped`: an earlier one kept it from running.
fn never_ran(step: &ContainerState<'_>, stopped: bool, created: Timestamp) -> bool {
    let terminated = &step.terminated;
    if step.termination_reason == "Skipped" || terminated.reason == "TaskRunImagePullFailed" {
        return true;
    }
    if ended_by_tekton(step) {
        // One whose container still waited is given the time at which the TaskRun was created.
        let started = terminated.started.get();
        return stopped || started.is_none_or(|time| time.nanoseconds <= created.nanoseconds);
    }
    // Older versions give no reason.
    stopped && step.termination_reason.is_empty() && terminated.exit_code.get() != Some(0)
}

/// Whether the steps after this one run although it failed.
fn goes_on_after(step: &ContainerState<'_>, task: &TaskRunStatus<'_>) -> bool {
    step.termination_reason == "Continued"
        || task
            .spec
            .steps
            .iter()
            .any(|spec| spec.name.as_str() == step.label() && spec.on_error == "continue")
}

/// When the step started, to the millisecond, if its Pod tells, and if that is the start that the status means.
fn exact_start(
    step: &ContainerState<'_>,
    pod: Option<&Pod<'_>>,
    given: Option<Timestamp>,
) -> Option<Timestamp> {
    let container = pod?
        .status
        .containers
        .iter()
        .find(|status| status.name == step.container)?;
    let message = container.state.terminated.message.get()?;
    // What is no JSON was written by the step itself.
    let (entries, _) = read::parse::<List<Entry<'_>>>(message).ok()?;
    let entry = entries.iter().find(|entry| entry.key == "StartedAt")?;
    let exact = Timestamp::parse(entry.value.get()?)?;
    given
        .is_none_or(|given| given.covers(exact))
        .then_some(exact)
}

/// The end of the span that steps are put below.
fn end_above(tree: &SpanTree<'_>, place: Place) -> Option<Timestamp> {
    match place.and_then(|(under, _)| tree.children.get(under as usize)) {
        Some(attempt) => attempt.span.end,
        None => tree.main.end,
    }
}

fn record_skipped<'a>(tree: &mut SpanTree<'a>, step: &'a ContainerState<'a>, place: Place) {
    let end = end_above(tree, place);
    let above = match place.and_then(|(under, _)| tree.children.get_mut(under as usize)) {
        Some(attempt) => &mut attempt.span,
        None => &mut tree.main,
    };
    let time = step
        .terminated
        .finished
        .get()
        .or(end)
        .unwrap_or(above.start);
    above.record(
        SpanEvent::new("Step skipped", time)
            .with("tekton.step.name", step.label())
            .with("k8s.container.name", &step.container)
            .with("reason", &step.terminated.reason),
    );
}
