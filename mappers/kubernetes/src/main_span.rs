//! The main span of a Pod: when it ends and how.

use span_mapper_sdk::object::condition;
use span_mapper_sdk::{Timestamp, time};

use crate::container::{Container, Role};
use crate::events::Seen;
use crate::phases::how;
use crate::resource::Pod;
use crate::waiting;

/// Whether the Pod says that it is over: in its phase, or by the end of all that it was made for.
pub fn is_over(pod: &Pod<'_>, containers: &[Container<'_>]) -> bool {
    let phase = pod.status.phase.as_str();
    matches!(phase, "Succeeded" | "Failed")
        || (pod.spec.restart_policy == "Never"
            && !containers.is_empty()
            && containers
                .iter()
                .all(|container| container.ended().is_some()))
}

/// When a Pod that is over ended: with the last of its containers if each has said when, else at the latest time
/// that is known of it. `None` if none is.
pub fn end(pod: &Pod<'_>, containers: &[Container<'_>], seen: &[Seen<'_>]) -> Option<Timestamp> {
    let finished = |container: &Container<'_>| container.ended().and_then(|ended| ended.finished());
    let mut apps = containers
        .iter()
        .filter(|container| container.role == Role::App)
        .peekable();
    if apps.peek().is_some() && apps.all(|container| finished(container).is_some()) {
        return time::latest(containers.iter().map(finished));
    }
    let instances = containers
        .iter()
        .flat_map(Container::instances)
        .flat_map(|instance| {
            [
                instance.started,
                instance.ended.and_then(|ended| ended.finished()),
            ]
        });
    let conditions = pod
        .status
        .conditions
        .iter()
        .map(|condition| condition.changed.get());
    let events = seen.iter().map(|seen| Some(seen.last()));
    time::latest(
        instances
            .chain(conditions)
            .chain(events)
            .chain([pod.status.started.get(), deletion_requested(pod)]),
    )
}

/// When somebody asked to delete the Pod: the deletion timestamp lies as much after it as there is grace.
pub fn deletion_requested(pod: &Pod<'_>) -> Option<Timestamp> {
    let grace = pod.metadata.grace_seconds.get().unwrap_or_default();
    let grace = u64::try_from(grace).unwrap_or_default();
    Some(
        pod.metadata
            .deleted
            .get()?
            .minus(grace.saturating_mul(1_000_000_000)),
    )
}

/// Why the Pod failed, or is about to: the class of the error and a description for people.
pub fn failure(
    pod: &Pod<'_>,
    containers: &[Container<'_>],
    over: bool,
) -> Option<(String, String)> {
    let status = &pod.status;
    if status.phase == "Succeeded" {
        return None;
    }
    let failed = status.phase == "Failed";
    if failed && let Some(reason) = status.reason.get() {
        let message = status.message.get().unwrap_or(reason);
        return Some((reason.to_owned(), message.to_owned()));
    }
    let ended = containers.iter().filter_map(|container| {
        let ended = container.ended()?;
        let reason = container.failure(ended)?;
        let how = how(reason, ended.exit_code.get());
        Some((reason.to_owned(), [container.name, ": ", &how].concat()))
    });
    let stuck = containers.iter().filter_map(|container| {
        let reason = container.waiting();
        waiting::trouble(reason)?;
        let message = container
            .status
            .and_then(|status| status.state.waiting.message.get())
            .unwrap_or(reason);
        Some((reason.to_owned(), [container.name, ": ", message].concat()))
    });
    let mut failures: Vec<_> = ended.chain(stuck).collect();
    // Who ran out of memory often takes others down, which then say less about the cause.
    failures.sort_by_key(|(reason, _)| reason != "OOMKilled");
    if let Some(failure) = failures.into_iter().next() {
        return Some(failure);
    }
    if failed {
        let message = status.message.get().unwrap_or("the Pod failed");
        return Some(("_OTHER".to_owned(), message.to_owned()));
    }
    condition(&status.conditions, "PodScheduled")
        .filter(|scheduled| over && scheduled.is_false())
        .map(|scheduled| {
            let reason = scheduled.reason.get().unwrap_or("Unschedulable");
            let message = scheduled.message.get().unwrap_or(reason);
            (reason.to_owned(), message.to_owned())
        })
}
